package rawuri

import (
	"slices"
	"strings"
	"sync"
)

// plain is a text whose percent-encoding is undone, however often it was applied: a
// link in a parameter is encoded once, and a link in a parameter of that link twice.
type plain struct {
	text string // as it was given

	// bytes are the decoded bytes of the text, and escapes are those of them that were
	// encoded, in order. Both are empty if nothing is encoded: then the bytes are
	// those of text.
	bytes   []byte
	escapes []escape

	hasNUL bool // whether the text has a NUL that isn't encoded
}

// escape is a byte that was encoded. Requests are far shorter than 4 GiB.
type escape struct {
	at    uint32 // index of the byte
	extra uint32 // how many more bytes the text has than bytes, up to and with this one
}

// maxKept is the most memory of a plain that goes back into the pool, in bytes. The
// same text of a request is decoded several times.
const maxKept = 1 << 21

var plains = sync.Pool{New: func() any { return new(plain) }}

// newPlain undoes the encoding of a text, in time and memory that grow with its
// length.
func newPlain(text string) *plain {
	p := plains.Get().(*plain)
	p.text, p.bytes, p.escapes = text, p.bytes[:0], p.escapes[:0]
	p.hasNUL = strings.IndexByte(text, 0) >= 0
	encoded := countEscapes(text)
	if encoded == 0 {
		return p
	}
	p.bytes = slices.Grow(p.bytes, len(text))
	p.escapes = slices.Grow(p.escapes, encoded)
	for i := range len(text) {
		p.bytes = append(p.bytes, text[i])
		// An escape may become a part of another, as %25 of %2541.
		for c, size := lastEscape(p.bytes); size > 0; c, size = lastEscape(p.bytes) {
			at := len(p.bytes) - size
			p.bytes = append(p.bytes[:at], c)
			for len(p.escapes) > 0 && int(p.escapes[len(p.escapes)-1].at) >= at {
				p.escapes = p.escapes[:len(p.escapes)-1]
			}
			p.escapes = append(p.escapes, escape{uint32(at), uint32(i - at)}) //nolint:gosec // see escape
		}
	}
	return p
}

// countEscapes returns how many escapes a text has at first sight. Escapes that
// appear once others are decoded don't count; without any at first sight, there are
// none.
func countEscapes(text string) (n int) {
	if strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '\\') < 0 && strings.IndexByte(text, '&') < 0 {
		return 0 // as of almost all texts
	}
	for i := 0; i+2 < len(text); i++ {
		switch c := text[i]; {
		case c == '%' && isHex(text[i+1]) && isHex(text[i+2]),
			(c == '%' || c == '\\') && lower(text[i+1]) == 'u',
			c == '&' && (text[i+1] == '#' || lower(text[i+1]) == 'e'):
			n++
		}
	}
	return n
}

// lastEscape decodes the escape at the end of a text. It returns the byte and the
// escape's length, which is 0 if there is none. Escapes are percent-encoding, the
// forms of JSON and JavaScript, \u003d and %u003d, and the equals sign of HTML.
func lastEscape(text []byte) (c byte, size int) {
	n := len(text)
	if n < 3 {
		return 0, 0
	}
	last := text[n-1]
	switch {
	case last == ';':
		return '=', equalsEntity(text)
	case !isHex(last) || !isHex(text[n-2]):
		return 0, 0
	case text[n-3] == '%':
		return fromHex(text[n-2])<<4 | fromHex(last), 3
	case n >= 6 && text[n-3] == '0' && text[n-4] == '0' && lower(text[n-5]) == 'u' && (text[n-6] == '\\' || text[n-6] == '%'):
		return fromHex(text[n-2])<<4 | fromHex(last), 6
	}
	return 0, 0
}

// equalsEntity returns the length of an equals sign as HTML writes it at the end of a
// text, or 0.
func equalsEntity(text []byte) int {
	for _, entity := range [...]string{"&#61;", "&#x3d;", "&equals;"} {
		if at := len(text) - len(entity); at >= 0 && hasPrefixFold(text[at:], entity) {
			return len(entity)
		}
	}
	return 0
}

// hasPrefixFold reports whether a text begins with a prefix in lower case, in any
// case.
func hasPrefixFold(text []byte, prefix string) bool {
	for i := range len(prefix) {
		if lower(text[i]) != prefix[i] {
			return false
		}
	}
	return true
}

// free gives the memory back to the pool.
func (p *plain) free() {
	p.text = ""
	if cap(p.bytes) <= maxKept {
		plains.Put(p)
	}
}

// len is the number of decoded bytes.
func (p *plain) len() int {
	if len(p.escapes) == 0 {
		return len(p.text)
	}
	return len(p.bytes)
}

// at is a decoded byte.
func (p *plain) at(i int) byte {
	if len(p.escapes) == 0 {
		return p.text[i]
	}
	return p.bytes[i]
}

// offset is the index in the text at which a decoded byte begins.
func (p *plain) offset(i int) int {
	before, _ := slices.BinarySearchFunc(p.escapes, i, func(e escape, i int) int { return int(e.at) - i })
	if before == 0 {
		return i
	}
	return i + int(p.escapes[before-1].extra)
}

// width is how many bytes of the text one decoded byte takes. Each further encoding
// makes it wider.
func (p *plain) width(i int) int { return p.offset(i+1) - p.offset(i) }

// next is the first index from i on of an equals sign or a NUL, or -1.
func (p *plain) next(i int) int {
	if len(p.escapes) == 0 && !p.hasNUL {
		if at := strings.IndexByte(p.text[i:], '='); at >= 0 {
			return i + at
		}
		return -1
	}
	for ; i < p.len(); i++ {
		if c := p.at(i); c == '=' || c == 0 {
			return i
		}
	}
	return -1
}

// string is a copy of the bytes.
func (p *plain) string() string {
	if len(p.escapes) == 0 {
		return p.text
	}
	return string(p.bytes)
}
