package rawuri

import (
	"strings"
	"sync"
)

// plain is a text with its percent-encoding undone, however often it was
// encoded: a link that is the value of a parameter is encoded once, a link in
// the value of that link's parameter twice.
type plain struct {
	text string // as it stands

	// bytes are those of the text without the encoding, and offsets where each
	// of them begins in the text, and where the last one ends. Both are empty
	// where nothing is encoded, and bytes are then those of the text.
	bytes   []byte
	offsets []int
}

// maxKept is how large the memory of a plain may be that is used again.
const maxKept = 1 << 14

var plains = sync.Pool{New: func() any { return new(plain) }}

// newPlain undoes the encoding of a text, in time that grows with its length.
func newPlain(text string) *plain {
	p := plains.Get().(*plain)
	p.text, p.bytes, p.offsets = text, p.bytes[:0], p.offsets[:0]
	if strings.IndexByte(text, '%') < 0 {
		return p
	}
	for i := range len(text) {
		p.bytes, p.offsets = append(p.bytes, text[i]), append(p.offsets, i)
		// An escape may become a part of another, as %25 of %2541.
		for n := len(p.bytes); n >= 3 && p.bytes[n-3] == '%' && isHex(p.bytes[n-2]) && isHex(p.bytes[n-1]); n = len(p.bytes) {
			p.bytes[n-3] = fromHex(p.bytes[n-2])<<4 | fromHex(p.bytes[n-1])
			p.bytes, p.offsets = p.bytes[:n-2], p.offsets[:n-2]
		}
	}
	p.offsets = append(p.offsets, len(text))
	return p
}

// free has the memory used again.
func (p *plain) free() {
	p.text = ""
	if cap(p.bytes) <= maxKept {
		plains.Put(p)
	}
}

// len is the number of bytes.
func (p *plain) len() int {
	if len(p.offsets) == 0 {
		return len(p.text)
	}
	return len(p.bytes)
}

// at is a byte.
func (p *plain) at(i int) byte {
	if len(p.offsets) == 0 {
		return p.text[i]
	}
	return p.bytes[i]
}

// offset is where a byte begins in the text.
func (p *plain) offset(i int) int {
	if len(p.offsets) == 0 {
		return i
	}
	return p.offsets[i]
}

// width is how many bytes of the text a byte took: more, the more often it was
// encoded.
func (p *plain) width(i int) int { return p.offset(i+1) - p.offset(i) }

// next is the first index from i on of an equals sign or a NUL, or -1.
func (p *plain) next(i int) int {
	for ; i < p.len(); i++ {
		if c := p.at(i); c == '=' || c == 0 {
			return i
		}
	}
	return -1
}

// string is a copy of the bytes.
func (p *plain) string() string {
	if len(p.offsets) == 0 {
		return p.text
	}
	return string(p.bytes)
}
