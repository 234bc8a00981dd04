package settings

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values of Python, as repr() writes them. None is nil; True, integers, floats
// and strings are bool, int64, float64 and string; lists, tuples and sets are
// []any; what follows is the rest.

// pyBytes is a bytes object.
type pyBytes string

// pyDict is a dict, with its keys that are strings. Others are left out.
type pyDict map[string]any

// pyCall is a text in the form of a call, such as datetime.timedelta(seconds=600).
type pyCall struct {
	name      string
	args      []any
	keywords  map[string]any
	shorthand string // the text in <angle brackets>, without a name
}

// errLiteral says that a text isn't a literal. It doesn't quote the text, which may
// be a secret.
var errLiteral = errors.New("not a literal of Python")

// maxDepth is how deep literals may be nested.
const maxDepth = 100

// parseLiteral reads the output of repr(). It evaluates nothing: names and calls
// stay as they are.
func parseLiteral(text string) (any, error) {
	p := &literalParser{text: text}
	value, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, errLiteral
	}
	return value, nil
}

type literalParser struct {
	text string
	at   int
}

func (p *literalParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// next is the next byte that isn't a space, or 0 at the end.
func (p *literalParser) next() byte {
	p.space()
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

// accept takes the next byte if it is c.
func (p *literalParser) accept(c byte) bool {
	if p.next() != c {
		return false
	}
	p.at++
	return true
}

func (p *literalParser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errLiteral
	}
	switch c := p.next(); {
	case c == '\'' || c == '"':
		return p.quoted(false)
	case c == '[':
		p.at++
		items, _, err := p.items(']', depth)
		return items, err
	case c == '(':
		p.at++
		items, _, err := p.items(')', depth)
		return items, err
	case c == '{':
		p.at++
		return p.braces(depth)
	case c == '<':
		return p.angled()
	case c == '-' || c == '.' || '0' <= c && c <= '9':
		return p.number()
	default:
		return p.named(depth)
	}
}

// items reads values up to the closing bracket, and those with a keyword.
func (p *literalParser) items(closing byte, depth int) (items []any, keywords map[string]any, err error) {
	items, keywords = []any{}, make(map[string]any)
	for !p.accept(closing) {
		keyword := p.keyword()
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, nil, err
		}
		if keyword != "" {
			keywords[keyword] = item
		} else {
			items = append(items, item)
		}
		if !p.accept(',') && p.next() != closing {
			return nil, nil, errLiteral
		}
	}
	return items, keywords, nil
}

// keyword reads name= in front of an argument, or nothing.
func (p *literalParser) keyword() string {
	p.space()
	start := p.at
	name := p.name()
	if name != "" && p.accept('=') && p.next() != '=' {
		return name
	}
	p.at = start
	return ""
}

// braces reads a dict or a set.
func (p *literalParser) braces(depth int) (any, error) {
	dict, set := pyDict{}, []any{}
	for !p.accept('}') {
		key, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.accept(':') {
			value, err := p.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if name, ok := key.(string); ok {
				dict[name] = value
			}
		} else {
			set = append(set, key)
		}
		if !p.accept(',') && p.next() != '}' {
			return nil, errLiteral
		}
	}
	if len(set) > 0 {
		return set, nil
	}
	return dict, nil
}

// angled reads <built-in function openssl_md5> and the like.
func (p *literalParser) angled() (any, error) {
	start := p.at + 1
	depth := 0
	for ; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case '<':
			depth++
		case '>':
			depth--
		}
		if depth == 0 {
			p.at++
			return pyCall{shorthand: p.text[start : p.at-1]}, nil
		}
	}
	return nil, errLiteral
}

func (p *literalParser) number() (any, error) {
	start := p.at
	for p.at < len(p.text) && (isAlphanumeric(p.text[p.at]) || strings.IndexByte("+-.", p.text[p.at]) >= 0) {
		p.at++
	}
	text := p.text[start:p.at]
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if text == "-inf" || strings.Trim(text, "+-.eE0123456789") == "" {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f, nil
		}
	}
	return nil, errLiteral
}

// named reads None, True, False, a name, or a call.
func (p *literalParser) named(depth int) (any, error) {
	name := p.name()
	if name == "b" && p.at < len(p.text) && (p.text[p.at] == '\'' || p.text[p.at] == '"') {
		text, err := p.quoted(true)
		return pyBytes(text), err
	}
	switch name {
	case "":
		return nil, errLiteral
	case "None":
		return nil, nil
	case "True", "False":
		return name == "True", nil
	case "inf", "nan":
		return strconv.ParseFloat(name, 64)
	}
	call := pyCall{name: name}
	if !p.accept('(') {
		return call, nil
	}
	var err error
	call.args, call.keywords, err = p.items(')', depth)
	return call, err
}

// name reads a dotted name.
func (p *literalParser) name() string {
	start := p.at
	for p.at < len(p.text) && (isAlphanumeric(p.text[p.at]) || p.text[p.at] == '.' || p.text[p.at] >= utf8.RuneSelf) {
		p.at++
	}
	name := p.text[start:p.at]
	if name != "" && '0' <= name[0] && name[0] <= '9' {
		p.at = start
		return ""
	}
	return name
}

func isAlphanumeric(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// quoted reads a string, or bytes, where \u and the like stand for themselves.
func (p *literalParser) quoted(isBytes bool) (string, error) {
	quote := p.text[p.at]
	p.at++
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == quote:
			return b.String(), nil
		case c == '\n':
			return "", errLiteral
		case c != '\\':
			b.WriteByte(c)
		default:
			if err := p.escape(&b, isBytes); err != nil {
				return "", err
			}
		}
	}
	return "", errLiteral
}

// escape reads what follows a backslash.
func (p *literalParser) escape(b *strings.Builder, isBytes bool) error {
	if p.at == len(p.text) {
		return errLiteral
	}
	c := p.text[p.at]
	p.at++
	digits := 0
	switch c {
	case '\\', '\'', '"':
		b.WriteByte(c)
	case 'a':
		b.WriteByte('\a')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'v':
		b.WriteByte('\v')
	case '0':
		b.WriteByte(0)
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		return errLiteral
	}
	if digits == 0 {
		return nil
	}
	if isBytes && digits > 2 || p.at+digits > len(p.text) {
		return errLiteral
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+digits], 16, 32)
	if err != nil || !isBytes && !utf8.ValidRune(rune(n)) {
		return errLiteral // a lone surrogate, too
	}
	p.at += digits
	if isBytes {
		b.WriteByte(byte(n))
	} else {
		b.WriteRune(rune(n))
	}
	return nil
}
