package scope

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxParameters is how many parameters a query may have. PHP and Node's qs drop
// all beyond 1000, and hardened PHPs those beyond 200.
const maxParameters = 200

// separators end a parameter for some server: the ampersand for all, the
// question mark for code that splits a URL at it.
const separators = "&?"

// readParameter returns the decoded value of a query parameter. The error is a
// *Rejection unless Go, PHP, Python, Node and Ruby all read exactly one value,
// the same one, or none (found is false).
//
// It accepts what is known to be unambiguous, rather than rejecting what is
// known to be ambiguous: the literal name occurs once, its value has no
// character that any server splits at, and nothing else in the query resembles
// the name.
func readParameter(query, name string) (value string, found bool, err error) {
	if err := checkWellFormed(query); err != nil {
		return "", false, err
	}
	for p := range parameters(query) {
		if !p.resembles(name) {
			continue
		}
		if found || p.name != name || !p.isWhole {
			return "", false, reject("the query parameter " + name + " is there more than once, or in a form that not all read")
		}
		if value, found = decodeValue(p.value); !found {
			return "", false, reject("the query parameter " + name + " is empty, or not all decode it to the same value")
		}
	}
	return value, found, nil
}

// checkAllParameters rejects a query in which two parameters could be read as
// the same one.
func checkAllParameters(query string) error {
	if query == "" {
		return nil
	}
	if err := checkWellFormed(query); err != nil {
		return err
	}
	seen := make(map[string]struct{})
	for p := range parameters(query) {
		if p.name == "" && p.value == "" {
			continue
		}
		whole, first := foldName(p.name)
		_, wholeAgain := seen[whole]
		_, firstAgain := seen[first]
		if wholeAgain || firstAgain {
			return reject("a query parameter is there more than once, and the scope comes from a placeholder that may read it")
		}
		seen[whole], seen[first] = struct{}{}, struct{}{}
	}
	return nil
}

// checkWellFormed rejects a query that some servers reject, truncate, or drop
// parameters of.
func checkWellFormed(query string) error {
	isASCII, inName, number := true, true, 1
	for i := 0; i < len(query); {
		c, size, ok := decodeByte(query[i:])
		i += size
		switch {
		case !ok:
			return reject("the query has an invalid percent-escape")
		case c == 0, (c < ' ' || c == 0x7f) && (size == 1 || inName):
			return reject("the query has a control character")
		case size == 1 && (c == '#' || c == ' '):
			return reject("the query has a number sign or space, at which some servers end it")
		case size == 1 && c == ';':
			// Old versions of Go, Python and Rack read it as a separator; new
			// versions of Go reject the query.
			return reject("the query has a semicolon, which separates parameters for some servers")
		case size == 1 && strings.IndexByte(separators, c) >= 0:
			inName = true
			number++
		case size == 1 && c == '=':
			inName = false
		}
		isASCII = isASCII && c < utf8.RuneSelf
	}
	if number > maxParameters {
		return reject("the query has too many parameters")
	}
	if !isASCII && !utf8.ValidString(decode(query)) {
		return reject("the query is not UTF-8")
	}
	return nil
}

// parameter is a part of a query that some server may read as a parameter.
type parameter struct {
	name, value string // raw
	isWhole     bool   // between ampersands, and with an equals sign
}

// parameters yields the parts between separators.
func parameters(query string) func(yield func(parameter) bool) {
	return func(yield func(parameter) bool) {
		before := byte('&')
		for {
			end := strings.IndexAny(query, separators)
			after := byte('&')
			text := query
			if end >= 0 {
				text, after = query[:end], query[end]
			}
			name, value, hasValue := strings.Cut(text, "=")
			if !yield(parameter{name, value, hasValue && before == '&' && after == '&'}) || end < 0 {
				return
			}
			query, before = query[end+1:], after
		}
	}
}

// resembles reports whether some server may read the parameter as the one with
// the given plain name.
func (p parameter) resembles(name string) bool {
	if isPlainName(p.name) {
		return strings.EqualFold(p.name, name)
	}
	want, _ := foldName(name)
	whole, first := foldName(p.name)
	return whole == want || first == want
}

// foldName maps names that some server reads as the same name to the same
// text: the whole name, and the name up to a bracket or dot, which begins a
// path into a structure for PHP, Rack and Node's qs.
//
// PHP trims spaces in front, and writes an underscore for dots, spaces and an
// open bracket. Rack drops brackets in front. Some frameworks ignore case, and
// some decode twice.
func foldName(raw string) (whole, first string) {
	name := raw
	for range 3 {
		decoded := decode(name)
		if decoded == name {
			break
		}
		name = decoded
	}
	name = strings.TrimFunc(name, func(c rune) bool {
		return unicode.IsSpace(c) || unicode.IsControl(c) || c == '\ufeff' || c == '\u200b'
	})
	name = strings.ToLower(strings.TrimLeft(name, "[]"))
	first = name
	if i := strings.IndexAny(name, "[].\x00"); i >= 0 {
		first = name[:i]
	}
	return toUnderscore.Replace(name), toUnderscore.Replace(strings.TrimSpace(first))
}

// toUnderscore replaces characters of names as PHP does.
var toUnderscore = strings.NewReplacer(".", "_", " ", "_", "[", "_")

// decode decodes a part of a query. Invalid escapes are kept.
func decode(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	decoded := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c, size, ok := decodeByte(s[i:])
		if !ok || size == 1 && c == '+' {
			c, size = s[i], 1
			if c == '+' {
				c = ' '
			}
		}
		decoded = append(decoded, c)
		i += size
	}
	return string(decoded)
}

// decodeValue decodes a value that all servers decode in the same way. ok is
// false for others, and for an empty value, which some servers drop.
func decodeValue(raw string) (value string, ok bool) {
	for i := 0; i < len(raw); {
		c, size, _ := decodeByte(raw[i:])
		i += size
		if size == 1 && !isPlain(c) && strings.IndexByte(".~!$'()*+,:@/=", c) < 0 || c < ' ' || c == 0x7f {
			return "", false
		}
	}
	return decode(raw), raw != ""
}
