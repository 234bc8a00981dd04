// Package python reads what Python's json and base64 read, which is more than
// the standards allow: a reader that is stricter refuses what Django accepts.
package python

import (
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var errJSON = errors.New("not JSON that Python's json.loads reads")

const (
	maxDepth  = 500  // of nested values: about half of what Python reads
	maxDigits = 4300 // of an integer: what Python reads
)

// Member is a name and a value of an object, as they are written.
type Member struct{ Name, Value string }

// Object calls visit with each member of the object that the text is. It reads
// JSON like Python's json.loads, which knows NaN and Infinity, too. Of members
// with the same name, Python keeps the last. Bytes beyond ASCII are accepted
// in strings, in any encoding.
func Object(text string, visit func(Member)) error {
	s := scanner{text: text}
	return s.object(visit)
}

// List calls visit with each element of the list that the text is.
func List(text string, visit func(element string)) error {
	s := scanner{text: text}
	s.space()
	if !s.accept("[") {
		return errJSON
	}
	if err := s.elements(0, visit); err != nil {
		return err
	}
	return s.end()
}

// scanner is where Object has got to.
type scanner struct {
	text string
	at   int
}

func (s *scanner) object(visit func(Member)) error {
	s.space()
	if err := s.members(0, visit); err != nil {
		return err
	}
	return s.end()
}

// end checks that only white space follows.
func (s *scanner) end() error {
	if s.space(); s.at != len(s.text) {
		return errJSON
	}
	return nil
}

// members reads an object.
func (s *scanner) members(depth int, visit func(Member)) error {
	if !s.accept("{") {
		return errJSON
	}
	s.space()
	if s.accept("}") {
		return nil
	}
	for {
		name := s.at
		if err := s.str(); err != nil {
			return err
		}
		m := Member{Name: s.text[name:s.at]}
		s.space()
		if !s.accept(":") {
			return errJSON
		}
		s.space()
		value := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		m.Value = s.text[value:s.at]
		if visit != nil {
			visit(m)
		}
		s.space()
		if s.accept("}") {
			return nil
		}
		if !s.accept(",") {
			return errJSON
		}
		s.space()
	}
}

// value reads any value.
func (s *scanner) value(depth int) error {
	if depth > maxDepth || s.at == len(s.text) {
		return errJSON
	}
	switch c := s.text[s.at]; {
	case c == '"':
		return s.str()
	case c == '{':
		return s.members(depth, nil)
	case s.accept("["):
		return s.elements(depth, nil)
	case s.accept("null"), s.accept("true"), s.accept("false"),
		s.accept("NaN"), s.accept("Infinity"), s.accept("-Infinity"):
		return nil
	}
	return s.number()
}

// elements reads a list after its bracket.
func (s *scanner) elements(depth int, visit func(element string)) error {
	s.space()
	if s.accept("]") {
		return nil
	}
	for {
		element := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if visit != nil {
			visit(s.text[element:s.at])
		}
		s.space()
		if s.accept("]") {
			return nil
		}
		if !s.accept(",") {
			return errJSON
		}
		s.space()
	}
}

func (s *scanner) number() error {
	s.accept("-")
	whole := s.at
	if !s.accept("0") && s.digits() == 0 {
		return errJSON
	}
	isInteger := true
	wholeSize := s.at - whole
	if back := s.at; s.accept(".") {
		if isInteger = false; s.digits() == 0 {
			s.at, isInteger = back, true
		}
	}
	if back := s.at; s.accept("e") || s.accept("E") {
		if !s.accept("-") {
			s.accept("+")
		}
		if s.digits() == 0 {
			s.at = back
		} else {
			isInteger = false
		}
	}
	if isInteger && wholeSize > maxDigits {
		return errJSON
	}
	return nil
}

func (s *scanner) digits() int {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at - start
}

// str reads a string.
func (s *scanner) str() error {
	if !s.accept(`"`) {
		return errJSON
	}
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return nil
		case c < ' ':
			return errJSON
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return errJSON
}

func (s *scanner) escape() error {
	if s.at == len(s.text) {
		return errJSON
	}
	c := s.text[s.at]
	s.at++
	if c != 'u' {
		if strings.IndexByte(`"\/bfnrt`, c) < 0 {
			return errJSON
		}
		return nil
	}
	if _, ok := hexRune(s.text[s.at:]); !ok {
		return errJSON
	}
	s.at += 4
	return nil
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\n\r", s.text[s.at]) >= 0 {
		s.at++
	}
}

func (s *scanner) accept(text string) bool {
	if !strings.HasPrefix(s.text[s.at:], text) {
		return false
	}
	s.at += len(text)
	return true
}

// hexRune reads the four digits after \u.
func hexRune(text string) (r rune, ok bool) {
	if len(text) < 4 {
		return 0, false
	}
	for i := range 4 {
		c := text[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Encoding is what a JSON text is in.
type Encoding uint8

// Encodings of JSON texts.
const (
	UTF8   Encoding = iota
	Latin1          // ISO 8859-1: each byte is a character
)

// Unquote returns the text of a JSON string that Object has read. ok is false
// for another value, and for a string that UTF-8 can't hold: with half of a
// surrogate pair.
func Unquote(quoted string, encoding Encoding) (text string, ok bool) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return "", false
	}
	quoted = quoted[1 : len(quoted)-1]
	if isPlain(quoted) {
		return quoted, true
	}
	unquoted := make([]byte, 0, len(quoted)+8)
	for i := 0; i < len(quoted); i++ {
		c := quoted[i]
		if c != '\\' && encoding == Latin1 {
			unquoted = utf8.AppendRune(unquoted, rune(c))
			continue
		}
		if c != '\\' {
			unquoted = append(unquoted, c)
			continue
		}
		i++
		if at := strings.IndexByte("bfnrt", quoted[i]); at >= 0 {
			unquoted = append(unquoted, "\b\f\n\r\t"[at])
			continue
		}
		if quoted[i] != 'u' {
			unquoted = append(unquoted, quoted[i])
			continue
		}
		r, _ := hexRune(quoted[i+1:])
		i += 4
		if utf16.IsSurrogate(r) {
			if !strings.HasPrefix(quoted[i+1:], `\u`) {
				return "", false
			}
			low, _ := hexRune(quoted[i+3:])
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return "", false
			}
			i += 6
		}
		unquoted = utf8.AppendRune(unquoted, r)
	}
	return string(unquoted), true
}

// isPlain reports whether a string has neither escapes nor bytes beyond ASCII.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] == '\\' || text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// AppendQuoted appends a JSON string like Python's json.dumps: in ASCII.
func AppendQuoted(b []byte, text string) []byte {
	const digits = "0123456789abcdef"
	unit := func(b []byte, u rune) []byte {
		return append(b, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	b = append(b, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case strings.ContainsRune("\b\f\n\r\t", r):
			b = append(b, '\\', "bfnrt"[strings.IndexRune("\b\f\n\r\t", r)])
		case r == 0x7f:
			b = append(b, 0x7f) // the one control character that Python leaves
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = unit(unit(b, high), low)
		default:
			b = unit(b, r)
		}
	}
	return append(b, '"')
}
