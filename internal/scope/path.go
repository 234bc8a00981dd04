package scope

import (
	"strings"
	"unicode/utf8"
)

// splitTarget splits a request target as the client sent it (RFC 9112, section
// 3.2) into path and query. In the absolute form, the path follows the host.
func splitTarget(target string) (path, query string, err error) {
	path, query, _ = strings.Cut(target, "?")
	if strings.HasPrefix(path, "/") {
		return path, query, nil
	}
	for _, scheme := range []string{"http://", "https://"} {
		if len(path) < len(scheme) || !strings.EqualFold(path[:len(scheme)], scheme) {
			continue
		}
		slash := strings.IndexByte(path[len(scheme):], '/')
		if slash > 0 && isHost(path[len(scheme):len(scheme)+slash]) {
			return path[len(scheme)+slash:], query, nil
		}
	}
	return "", "", reject("it is neither a path nor a URL with a host")
}

// isHost reports whether all parsers agree where the host ends, with or
// without a port: it has no user name and no unusual character.
func isHost(host string) bool {
	for i := range len(host) {
		if c := host[i]; !isPlain(c) && !strings.ContainsRune(".:[]", rune(c)) {
			return false
		}
	}
	return true
}

// checkPath rejects a path, percent-encoded as in a request target, that
// servers read in different ways: what it names, where its segments end, or
// where the path ends.
func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return reject("it is not a path")
	}
	for rest, isLast := path[1:], false; !isLast; {
		var segment string
		var found bool
		segment, rest, found = strings.Cut(rest, "/")
		isLast = !found
		if segment == "" && isLast {
			return nil // a slash at the end
		}
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// checkSegment rejects a segment of a path that is empty, is a dot segment for
// some server, or has a character that is a separator for some server.
func checkSegment(segment string) error {
	if segment == "" {
		return reject("the path has an empty segment")
	}
	onlyDots, isASCII := true, true
	for i := 0; i < len(segment); {
		c, size, ok := decodeByte(segment[i:])
		if !ok {
			return reject("the path has an invalid percent-escape")
		}
		i += size
		if c >= utf8.RuneSelf {
			isASCII = false
			continue
		}
		if why := separates(c, size > 1); why != "" {
			return reject(why)
		}
		// Windows ignores dots and spaces at the end of a name, and some
		// servers decode a plus sign as a space.
		onlyDots = onlyDots && (c == '.' || c == ' ' || c == '+')
	}
	if isASCII {
		if onlyDots {
			return reject("the path has a dot segment")
		}
		return nil
	}
	return checkUnicode(segment)
}

// separates returns why a decoded character ends a segment or the path for
// some servers, or "".
func separates(c byte, isEncoded bool) string {
	switch {
	case c < ' ' || c == 0x7f:
		return "the path has a control character"
	case c == '/':
		return "the path has an encoded slash" // literal slashes are not in segments
	case c == '\\':
		return "the path has a backslash"
	case c == ';':
		return "the path has a semicolon, which begins a parameter for some servers"
	case c == '?', c == '#':
		return "the path has a question mark or number sign, at which some servers end it"
	case c == '%':
		return "the path has an encoded percent sign, which some servers decode twice"
	case c == ' ' && !isEncoded:
		return "the path has a space"
	}
	return ""
}

// checkUnicode rejects a segment that is not UTF-8 (RFC 3629 forbids the long
// forms of ASCII characters, which some decoders accept), and one that Unicode
// normalization (NFKC) or the best-fit conversion of Windows turns into other
// segments.
func checkUnicode(segment string) error {
	decoded := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); {
		c, size, _ := decodeByte(segment[i:])
		decoded = append(decoded, c)
		i += size
	}
	if !utf8.Valid(decoded) {
		return reject("the path is not UTF-8")
	}
	onlyDots := true
	for _, c := range string(decoded) {
		switch c {
		case '\u2044', '\u2215', '\u29f8', '\uff0f', // slashes
			'\u2216', '\u29f5', '\ufe68', '\uff3c', // backslashes
			'\u037e', '\ufe54', '\uff1b', // semicolons
			'\ufe56', '\uff1f', '\ufe5f', '\uff03', '\ufe6a', '\uff05': // ? # %
			return reject("the path has a character that becomes a separator by Unicode normalization")
		case '.', ' ', '+', '\u00a0', '\u3000', '\u2024', '\u2025', '\u2026', '\ufe52', '\uff0e', '\u3002', '\uff61':
		default:
			onlyDots = false
		}
	}
	if onlyDots {
		return reject("the path has a dot segment")
	}
	return nil
}

// decodeByte decodes the first byte of s, which isn't empty, and returns how
// many bytes of s it took. ok is false for a percent sign that begins no escape.
func decodeByte(s string) (c byte, size int, ok bool) {
	if s[0] != '%' {
		return s[0], 1, true
	}
	if len(s) < 3 {
		return 0, 1, false
	}
	high, isHigh := fromHex(s[1])
	low, isLow := fromHex(s[2])
	return high<<4 | low, 3, isHigh && isLow
}

// fromHex returns the value of a hexadecimal digit.
func fromHex(c byte) (value byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
