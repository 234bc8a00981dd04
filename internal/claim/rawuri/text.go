package rawuri

import "strings"

// A header field may hold URIs, alone as in Referer, in brackets as in If, or
// in the middle of a text as in User-Agent. So parameters are looked for in any
// text: what stands behind a question mark or a hash, up to what no parameter
// has in it.

// IsInText reports, without allocating, whether a text has a parameter of the
// name in the query or the fragment of a URI.
func IsInText(text, name string) bool {
	_, ok := findInText(text, name, 0)
	return ok
}

// CutFromText takes all parameters of the name out of a text, each with a
// separator beside it. The one in front stays if a text follows: without a
// question mark, what comes behind wouldn't be looked at.
func CutFromText(text, name string) string {
	found, ok := findInText(text, name, 0)
	if !ok {
		return text
	}
	kept := make([]byte, 0, len(text))
	from := 0 // what is before it is dealt with
	for ok {
		kept = append(kept, text[from:found.start]...)
		from = found.end
		switch isLast := found.end == len(text); {
		case isLast, text[found.end] == '#':
			kept = kept[:len(kept)-1] // the separator in front
		case isSeparator(text[found.end]):
			from++
		}
		found, ok = findInText(text, name, from)
	}
	return string(append(kept, text[from:]...))
}

// RedactInText replaces the values of the parameters of the name.
func RedactInText(text, name string) string {
	found, ok := findInText(text, name, 0)
	if !ok {
		return text
	}
	redacted := make([]byte, 0, len(text)+len(Redacted))
	from := 0 // what is before it is dealt with
	for ok {
		redacted = append(redacted, text[from:found.value]...)
		if found.value < found.end {
			redacted = append(redacted, Redacted...)
		}
		from = found.end
		found, ok = findInText(text, name, from)
	}
	return string(append(redacted, text[from:]...))
}

// textParameter is where a parameter is in a text. Its value is behind its
// equals sign; where it has none, that is its end.
type textParameter struct{ start, value, end int }

// findInText finds the first parameter of the name whose name doesn't begin
// before from.
func findInText(text, name string, from int) (found textParameter, ok bool) {
	// Most fields have no URI with a query in them.
	open := strings.IndexByte(text, '?')
	if hash := strings.IndexByte(text, '#'); open < 0 || hash >= 0 && hash < open {
		open = hash
	}
	if open < 0 {
		return found, false
	}
	for i := max(open, from-1); i < len(text); i++ {
		if !isSeparator(text[i]) {
			continue
		}
		start := i + 1
		end := start
		for end < len(text) && text[end] != '=' && !endsParameter(text[end]) {
			end++
		}
		if !isEncoded(text[start:end], name) {
			continue
		}
		found = textParameter{start, end, end}
		if end < len(text) && text[end] == '=' {
			found.value = end + 1
			for end = found.value; end < len(text) && !endsParameter(text[end]); {
				end++
			}
			found.end = end
		}
		return found, true
	}
	return found, false
}

// isSeparator reports whether a parameter may begin behind a byte.
func isSeparator(c byte) bool { return c == '?' || c == '&' || c == ';' || c == '#' }

// endsParameter reports whether a byte ends a parameter in a text: one that
// separates it from the next, one that a URI doesn't have in it, or one that is
// taken to be the text's, as the bracket around it or a comma behind.
func endsParameter(c byte) bool {
	return isSeparator(c) || c <= ' ' || c >= 0x7f || strings.IndexByte("\"'()<>,[]{}|\\^`", c) >= 0
}
