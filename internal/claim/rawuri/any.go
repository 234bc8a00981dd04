package rawuri

import "strings"

// A link may be damaged: encoded once more, with its name in capitals, with another
// separator in front, or as a part of another link. This request isn't authenticated
// by the token in it, but the token may still be valid, and must not get into a log
// or to an upstream. So the functions below find a parameter of a given name in
// every form that may be meant: the name in any case, each of its letters encoded
// any number of times, behind any separator, and followed by an equals sign.

// Place is where a text is found. It decides which characters end a value.
type Place uint8

// The places.
const (
	Query  Place = iota // of a request's target
	Path                // of a request's target
	Field               // the value of a header field
	Cookie              // the value of the field Cookie, whose pairs aren't parameters
)

// minBareValue is the least length of a value that counts in a header field where
// no URI with a query precedes it. Fields have parameters of their own, such as
// q=0.9, whose values are shorter than tokens.
const minBareValue = 7

// Has reports whether a text has a parameter of one of the names. Its memory comes
// from a pool.
func Has(text string, at Place, names []string) bool {
	if !mayHave(text) {
		return false
	}
	p := newPlain(text)
	defer p.free()
	_, ok := (&finder{plain: p, at: at, names: names}).next()
	return ok
}

// mayHave reports whether a text can contain a parameter at all.
func mayHave(text string) bool {
	return strings.IndexByte(text, '=') >= 0 || strings.IndexByte(text, '%') >= 0 ||
		strings.IndexByte(text, '\\') >= 0 || strings.IndexByte(text, '&') >= 0
}

// Cut takes all parameters with the names out of a text, each with one separator
// next to it. The rest is returned byte for byte.
func Cut(text string, at Place, names []string) string {
	if !mayHave(text) {
		return text
	}
	p := newPlain(text)
	defer p.free()
	f := finder{plain: p, at: at, names: names}
	found, ok := f.next()
	if !ok {
		return text
	}
	kept := make([]byte, 0, len(text))
	from := 0      // the text before this index is in kept, or cut
	separator := 0 // how many bytes of a separator kept ends with
	for ; ok; found, ok = f.next() {
		if between := text[from:p.offset(found.name)]; between != "" {
			kept = append(kept, between...)
			separator = 0
			if isDropped(p.at(found.name-1), at) {
				separator = p.width(found.name - 1)
			}
		}
		if f.isClosed(found) {
			found.end++
			f.goOn(found.end)
		}
		if f.isFollowed(found) {
			f.goOn(found.end + 1)
		} else {
			kept = kept[:len(kept)-separator]
			separator = 0
		}
		from = p.offset(f.from)
	}
	return string(append(kept, text[from:]...))
}

// isFollowed reports whether another parameter of the same link follows, so that
// the separator behind this one is cut, and the one in front stays.
func (f *finder) isFollowed(found parameter) bool {
	p, width := f.plain, 1
	if found.name > 0 {
		width = p.width(found.name - 1)
		if !isDropped(p.at(found.name-1), f.at) {
			return false
		}
	}
	if found.end == p.len() || p.width(found.end) != width {
		return false
	}
	switch p.at(found.end) {
	case '?', '&':
		return true
	case ';':
		return f.at != Cookie
	}
	return false
}

// isDropped reports whether a separator is cut with the parameter behind it.
func isDropped(c byte, at Place) bool {
	return isSeparator(c) || at == Query && (c == '+' || c == ' ')
}

// Redact replaces the values of all parameters of the names.
func Redact(text string, at Place, names []string) string {
	return replaceValues(text, at, names, Redacted)
}

// Values returns the values of all parameters of the names.
func Values(text string, at Place, names []string) (values []string) {
	if !mayHave(text) {
		return nil
	}
	p := newPlain(text)
	defer p.free()
	f := finder{plain: p, at: at, names: names}
	for found, ok := f.next(); ok; found, ok = f.next() {
		values = append(values, text[p.offset(found.value):p.offset(found.end)])
	}
	return values
}

// Blank removes the values of all parameters of the names, and leaves the names, so
// that a path keeps its segments, and gets no new dot segment.
func Blank(text string, at Place, names []string) string {
	return replaceValues(text, at, names, "")
}

func replaceValues(text string, at Place, names []string, by string) string {
	if !mayHave(text) {
		return text
	}
	p := newPlain(text)
	defer p.free()
	f := finder{plain: p, at: at, names: names}
	found, ok := f.next()
	if !ok {
		return text
	}
	replaced := make([]byte, 0, len(text)+len(by))
	from := 0 // the text before this index is in replaced
	for ; ok; found, ok = f.next() {
		replaced = append(replaced, text[from:p.offset(found.value)]...)
		replaced = append(replaced, by...)
		from = p.offset(found.end)
	}
	return string(append(replaced, text[from:]...))
}

// finder finds parameters, one after the other.
type finder struct {
	plain *plain
	at    Place
	names []string

	// Indexes of the plain:
	from   int // the search continues here
	found  int // the last parameter ends here, with a separator that was cut behind it
	looked int // no name is looked for before this index again
	opened int // no URI with a query begins before this index, unless isOpen
	isOpen bool
}

// parameter is where a parameter is in a plain. Its value isn't empty.
type parameter struct{ name, value, end int }

// next finds the next parameter.
func (f *finder) next() (found parameter, ok bool) {
	p := f.plain
	for {
		equals := p.next(f.from)
		if equals < 0 {
			f.from = p.len()
			return parameter{}, false
		}
		name, ok := f.nameBefore(equals)
		f.from, f.looked = equals+1, equals+1
		if !ok {
			continue
		}
		if f.isOwnPair(name) {
			continue
		}
		value := f.behindOpening(equals + 1)
		found = parameter{name: name, value: value, end: f.endOf(name, value)}
		if found.end == found.value || !f.isParameter(found) {
			continue
		}
		found.name = max(found.name, f.found) // the value before it may end with the name
		f.goOn(found.end)
		return found, true
	}
}

// goOn continues the search at an index: the next parameter and its name begin there
// or later.
func (f *finder) goOn(i int) { f.from, f.found = i, i }

// maxLooks is how many bytes in front of finder.looked nameBefore may look at again.
// It keeps the work linear in the text's length.
const maxLooks = 64

// nameBefore returns the start of one of the names in front of the index end, where
// an equals sign is. White space and quotes may stand between them, and an index in
// brackets, as PHP writes lists: sesame[0]. The name itself may be such an index:
// form[sesame].
func (f *finder) nameBefore(end int) (start int, ok bool) {
	p := f.plain
	end = f.beforeClosing(end)
	if end == 0 || p.at(end-1) != ']' {
		return f.nameEndingAt(end)
	}
	closed := end - 1
	for i := closed - 1; i >= 0 && i >= min(f.looked, end-maxLooks); i-- {
		if p.at(i) != '[' {
			continue
		}
		if start, ok := f.nameEndingAt(f.beforeClosing(closed)); ok && start > i {
			return start, true
		}
		if i == 0 || p.at(i-1) != ']' {
			return f.nameEndingAt(i)
		}
		closed = i - 1
	}
	return 0, false
}

// beforeClosing returns the end of a name without the white space and quotes behind
// it.
func (f *finder) beforeClosing(end int) int {
	for end > f.looked && isClosing(f.plain.at(end-1)) {
		end--
	}
	return end
}

// nameEndingAt returns the start of one of the names, if it ends at end.
func (f *finder) nameEndingAt(end int) (start int, ok bool) {
	for _, name := range f.names {
		start := end - len(name)
		if start < 0 || !f.isName(start, name) {
			continue
		}
		if start == 0 || !isNameByte(f.plain.at(start-1)) || f.isEntity(start) {
			return start, true
		}
	}
	return 0, false
}

// isEntity reports whether the text in front of a name is an HTML ampersand without
// its semicolon.
func (f *finder) isEntity(start int) bool {
	const entity = "amp"
	start -= len(entity)
	if start < 0 {
		return false
	}
	for i := range len(entity) {
		if lower(f.plain.at(start+i)) != entity[i] {
			return false
		}
	}
	return start == 0 || !isNameByte(f.plain.at(start-1))
}

// isName reports whether a name stands at start, in any case. PHP turns characters
// that a variable can't have in its name into underscores.
func (f *finder) isName(start int, name string) bool {
	for i := range len(name) {
		c := f.plain.at(start + i)
		isSame := lower(c) == lower(name[i]) || name[i] == '_' && (c == '.' || c == ' ' || c == '+' || c == '[')
		if !isSame {
			return false
		}
	}
	return true
}

// endOf returns the end of the value that begins at value. A separator that is
// encoded more often than the one in front of the name is part of the value.
func (f *finder) endOf(name, value int) int {
	p := f.plain
	width := 1
	if name > 0 {
		width = p.width(name - 1)
	}
	end := value
	for end < p.len() && !(f.ends(p.at(end)) && p.width(end) <= width) {
		end++
	}
	return end
}

// behindOpening returns the start of a value without the white space, quote or
// bracket in front of it, which header fields may have.
func (f *finder) behindOpening(value int) int {
	if f.at == Query || f.at == Path {
		return value
	}
	p := f.plain
	i := value
	for i < p.len() && isOpening(p.at(i)) {
		i++
	}
	return i
}

// isClosed reports whether a value stands between two quotes or brackets that
// belong together.
func (f *finder) isClosed(found parameter) bool {
	p := f.plain
	if found.end == p.len() {
		return false
	}
	pair := string([]byte{p.at(found.value - 1), p.at(found.end)})
	switch pair {
	case `""`, "''", "<>", "()", "[]", "{}":
		return true
	}
	return false
}

// ends reports whether a byte ends a value.
func (f *finder) ends(c byte) bool {
	switch f.at {
	case Query:
		return c == '&' || c == ';' || c == '#'
	case Path:
		return c == '/' || isSeparator(c)
	default:
		return endsParameter(c)
	}
}

// isParameter reports whether a match is a link's parameter. In a header field, it may
// be one of the field's own.
func (f *finder) isParameter(found parameter) bool {
	p := f.plain
	if f.at == Query || f.at == Path {
		return true
	}
	if found.name > 0 && (p.width(found.name-1) > 1 || p.at(found.name-1) == '&') {
		return true
	}
	if f.at == Cookie {
		if found.name > 0 && (p.at(found.name-1) == '?' || p.at(found.name-1) == '#') {
			return true
		}
		return !f.isPair(found.name) && found.end-found.value >= minBareValue
	}
	return f.opensBefore(found.name) || found.end-found.value >= minBareValue
}

// isOwnPair reports whether a name is a cookie's, and can't be a link's parameter
// whatever its value is. Most sessions are such a cookie.
func (f *finder) isOwnPair(name int) bool {
	return f.at == Cookie && (name == 0 || f.plain.width(name-1) == 1) && f.isPair(name)
}

// isPair reports whether a name is a cookie's.
func (f *finder) isPair(name int) bool {
	p := f.plain
	for name > 0 && (p.at(name-1) == ' ' || p.at(name-1) == '\t') {
		name--
	}
	return name == 0 || p.at(name-1) == ';'
}

// opensBefore reports whether a question mark or a hash stands before index i.
func (f *finder) opensBefore(i int) bool {
	for ; !f.isOpen && f.opened < i; f.opened++ {
		c := f.plain.at(f.opened)
		f.isOpen = c == '?' || c == '#'
	}
	return f.isOpen
}

// isNameByte reports whether a byte in front of a name makes it another name.
func isNameByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-' || c == '.'
}

// isClosing reports whether a byte may stand between a name and its equals sign.
// Bytes that aren't ASCII may be part of a zero-width space.
func isClosing(c byte) bool {
	return c <= ' ' || c == '+' || c == '"' || c == '\'' || c == '\\' || c >= 0x80
}

// isOpening reports whether a byte may stand between an equals sign and a value.
func isOpening(c byte) bool {
	return c == ' ' || c == '\t' || c == '"' || c == '\'' || c == '\\' || c == '<' || c == '(' || c == '[' || c == '{'
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// isSeparator reports whether a parameter may begin behind a byte.
func isSeparator(c byte) bool { return c == '?' || c == '&' || c == ';' || c == '#' }

// endsParameter reports whether a byte ends a parameter in a text: a separator, a
// byte that no URI contains, or punctuation that more probably belongs to the text
// around the URI, such as a bracket or a comma.
func endsParameter(c byte) bool {
	return isSeparator(c) || c <= ' ' || c >= 0x7f || strings.IndexByte("\"'()<>,[]{}|\\^`", c) >= 0
}
