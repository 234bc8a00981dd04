package follow

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
)

// text is what a query returns for a value in the log. ok is false if that isn't
// known.
func (k keyColumn) text(value []byte) (text string, ok bool) {
	switch k.kind {
	case keySigned:
		return strconv.FormatInt(signed(value), 10), true
	case keyUnsigned:
		return strconv.FormatUint(unsigned(value), 10), true
	case keyText:
		return string(value), true
	case keyASCII:
		return string(value), isASCII(value)
	case keyBytes:
		return string(value), true
	case keyPadded:
		padded := make([]byte, max(k.size, len(value)))
		copy(padded, value)
		return string(padded), true
	case keyUUID:
		return uuid(value)
	default:
		return "", false
	}
}

// unsigned reads a number of up to 8 bytes.
func unsigned(value []byte) uint64 {
	var wide [8]byte
	copy(wide[:], value)
	return binary.LittleEndian.Uint64(wide[:])
}

func signed(value []byte) int64 {
	unused := 64 - 8*min(len(value), 8)
	return int64(unsigned(value)<<unused) >> unused
}

func isASCII(value []byte) bool {
	for _, c := range value {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// uuid writes MariaDB's UUID, which the log has without trailing zeros.
func uuid(value []byte) (text string, ok bool) {
	var id [16]byte
	if copy(id[:], value) != len(value) {
		return "", false
	}
	b := make([]byte, 0, 36)
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return string(b), true
}

// fits reports whether a column in the log can be the key's.
func (k keyColumn) fits(columns []binlog.Column) bool {
	if k.index < 0 || k.index >= len(columns) {
		return false
	}
	column := columns[k.index]
	switch k.kind {
	case keySigned, keyUnsigned:
		switch column.Type {
		case binlog.TypeTiny, binlog.TypeShort, binlog.TypeInt24, binlog.TypeLong, binlog.TypeLongLong:
			return true
		}
		return false
	case keyText, keyASCII, keyBytes:
		switch column.Type {
		case binlog.TypeVarchar, binlog.TypeVarString, binlog.TypeString, binlog.TypeBlob:
			return true
		}
		return false
	case keyPadded, keyUUID:
		return column.Type == binlog.TypeString
	default:
		return true
	}
}
