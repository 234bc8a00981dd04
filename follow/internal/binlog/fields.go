package binlog

import (
	"encoding/binary"
	"math/bits"
)

// fields reads the fields of an event one after the other. Those beyond its end are
// empty, and set short.
type fields struct {
	rest  []byte
	short bool
}

// take returns the next n bytes.
func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.rest) {
		f.rest, f.short = nil, true
		return nil
	}
	taken := f.rest[:n:n]
	f.rest = f.rest[n:]
	return taken
}

// number reads a number of up to 8 bytes, the lowest first.
func (f *fields) number(size int) uint64 {
	var wide [8]byte
	copy(wide[:], f.take(size))
	return binary.LittleEndian.Uint64(wide[:])
}

func (f *fields) uint8() uint8   { return uint8(f.number(1)) }
func (f *fields) uint16() uint16 { return uint16(f.number(2)) }
func (f *fields) uint32() uint32 { return uint32(f.number(4)) }
func (f *fields) uint64() uint64 { return f.number(8) }

// lenenc reads a number of the protocol's variable length.
func (f *fields) lenenc() uint64 {
	switch first := f.uint8(); first {
	case 0xfc:
		return f.number(2)
	case 0xfd:
		return f.number(3)
	case 0xfe:
		return f.number(8)
	case 0xfb, 0xff: // NULL and errors, which no length is
		f.rest, f.short = nil, true
		return 0
	default:
		return uint64(first)
	}
}

// bytes reads a length, and as many bytes.
func (f *fields) bytes() []byte {
	length := f.lenenc()
	if length > uint64(len(f.rest)) {
		f.rest, f.short = nil, true
		return nil
	}
	return f.take(int(length))
}

// packed reads a number of MySQL's library for serialization: the ones at the low end of
// the first byte are as many as the bytes that follow it, and the number is above them.
func (f *fields) packed() uint64 {
	first := f.uint8()
	more := bits.TrailingZeros8(^first)
	rest := f.number(more)
	if more >= 7 { // the first byte has none of the number
		return rest
	}
	return uint64(first)>>(more+1) | rest<<(7-more)
}

// isSet reports whether a bit of a bitmap is set.
func isSet(bitmap []byte, i int) bool { return bitmap[i>>3]&(1<<(i&7)) != 0 }

// bitmapSize is the size of a bitmap.
func bitmapSize(n int) int { return (n + 7) / 8 }
