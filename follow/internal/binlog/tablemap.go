package binlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of columns as they are in events.
const (
	TypeDecimal      = 0
	TypeTiny         = 1
	TypeShort        = 2
	TypeLong         = 3
	TypeFloat        = 4
	TypeDouble       = 5
	TypeNull         = 6
	TypeTimestamp    = 7
	TypeLongLong     = 8
	TypeInt24        = 9
	TypeDate         = 10
	TypeTime         = 11
	TypeDatetime     = 12
	TypeYear         = 13
	TypeNewDate      = 14
	TypeVarchar      = 15
	TypeBit          = 16
	TypeTimestamp2   = 17
	TypeDatetime2    = 18
	TypeTime2        = 19
	TypeBlobZipped   = 140 // MariaDB's COMPRESSED columns
	TypeStringZipped = 141
	TypeVector       = 242
	TypeJSON         = 245
	TypeNewDecimal   = 246
	TypeEnum         = 247
	TypeSet          = 248
	TypeTinyBlob     = 249
	TypeMediumBlob   = 250
	TypeLongBlob     = 251
	TypeBlob         = 252
	TypeVarString    = 253
	TypeString       = 254
	TypeGeometry     = 255
)

// Column is a column as a table map describes it.
type Column struct {
	Type byte
	Meta uint16 // its meaning depends on the type

	// Length is the greatest length of a TypeString, in bytes.
	Length int
}

// Table is what a table map says.
type Table struct {
	ID           uint64
	Schema, Name []byte

	columns []byte // their number, types, and more
}

// ParseTable reads the body of a table map, but for the columns.
func ParseTable(body []byte) (Table, error) {
	f := fields{rest: body}
	t := Table{ID: f.number(6)}
	f.take(2) // flags
	t.Schema = f.take(int(f.uint8()))
	f.take(1) // a zero byte
	t.Name = f.take(int(f.uint8()))
	f.take(1)
	t.columns = f.rest
	if f.short {
		return Table{}, errShort
	}
	return t, nil
}

// errUnknownType is the error for a type of column whose values have an unknown length.
var errUnknownType = errors.New("a column's type isn't known")

// Columns reads the columns. shape is what changes with their number and types.
func (t Table) Columns() (columns []Column, shape []byte, err error) {
	f := fields{rest: t.columns}
	count := f.lenenc()
	if count > 4096 {
		return nil, nil, fmt.Errorf("a table has %d columns", count)
	}
	types := f.take(int(count))
	more := fields{rest: f.bytes()}
	if f.short {
		return nil, nil, errShort
	}
	shape = t.columns[:len(t.columns)-len(f.rest)]
	columns = make([]Column, count)
	for i, kind := range types {
		if columns[i], err = newColumn(kind, &more); err != nil {
			return nil, shape, err
		}
	}
	if more.short {
		return nil, nil, errShort
	}
	return columns, shape, nil
}

func newColumn(kind byte, more *fields) (Column, error) {
	c := Column{Type: kind}
	switch kind {
	case TypeString, TypeEnum, TypeSet:
		high, low := more.uint8(), more.uint8()
		c.Type, c.Length = high, int(low)
		// Two bits of the length of long strings are in the type, inverted.
		if high != 0 && high&0x30 != 0x30 {
			c.Type, c.Length = high|0x30, int(low)|int(high&0x30^0x30)<<4
		}
		if high == 0 {
			c.Type = kind
		}
	case TypeVarchar, TypeVarString, TypeStringZipped:
		c.Meta = more.uint16()
	case TypeBit, TypeNewDecimal:
		c.Meta = binary.BigEndian.Uint16(append(more.take(2), 0, 0))
	case TypeBlob, TypeTinyBlob, TypeMediumBlob, TypeLongBlob, TypeGeometry, TypeJSON, TypeVector, TypeBlobZipped:
		c.Meta = uint16(more.uint8())
		if c.Meta < 1 || c.Meta > 4 {
			return c, errUnknownType
		}
	case TypeFloat, TypeDouble, TypeTime2, TypeDatetime2, TypeTimestamp2:
		c.Meta = uint16(more.uint8())
	case TypeTiny, TypeShort, TypeLong, TypeLongLong, TypeInt24, TypeNull, TypeYear, TypeDate, TypeNewDate,
		TypeTime, TypeDatetime, TypeTimestamp:
	default:
		return c, errUnknownType
	}
	if _, ok := c.fixedSize(); !ok && c.prefix() == 0 {
		return c, errUnknownType
	}
	return c, nil
}

// fixedSize is the size of a value, for types whose values have one.
func (c Column) fixedSize() (size int, ok bool) {
	switch c.Type {
	case TypeNull:
		return 0, true
	case TypeTiny, TypeYear:
		return 1, true
	case TypeShort:
		return 2, true
	case TypeInt24, TypeDate, TypeNewDate, TypeTime:
		return 3, true
	case TypeLong, TypeFloat, TypeTimestamp:
		return 4, true
	case TypeLongLong, TypeDouble, TypeDatetime:
		return 8, true
	case TypeTimestamp2, TypeDatetime2, TypeTime2:
		// Each two digits of a second take a byte.
		whole := map[byte]int{TypeTimestamp2: 4, TypeDatetime2: 5, TypeTime2: 3}[c.Type]
		return whole + int(c.Meta+1)/2, c.Meta <= 6
	case TypeBit:
		bits, whole := c.Meta>>8, c.Meta&0xff
		return int(whole) + int(bits+7)/8, bits < 8
	case TypeNewDecimal:
		return decimalSize(int(c.Meta>>8), int(c.Meta&0xff))
	case TypeEnum, TypeSet:
		return c.Length, c.Length >= 1 && c.Length <= 8
	default:
		return 0, false
	}
}

// decimalSize is the size of a decimal: 4 bytes for 9 digits, less for what remains.
func decimalSize(precision, scale int) (size int, ok bool) {
	if precision > 65 || scale > precision {
		return 0, false
	}
	sizes := [...]int{0, 1, 1, 2, 2, 3, 3, 4, 4}
	of := func(digits int) int { return digits/9*4 + sizes[digits%9] }
	return of(precision-scale) + of(scale), true
}

// prefix is the size of the length before a value, for types whose values have one.
func (c Column) prefix() int {
	switch c.Type {
	case TypeBlob, TypeTinyBlob, TypeMediumBlob, TypeLongBlob, TypeGeometry, TypeJSON, TypeVector, TypeBlobZipped:
		return int(c.Meta)
	case TypeVarchar, TypeVarString, TypeStringZipped:
		if c.Meta > 255 {
			return 2
		}
		return 1
	case TypeString:
		if c.Length > 255 {
			return 2
		}
		return 1
	default:
		return 0
	}
}

// value reads a value of the column.
func (c Column) value(f *fields) []byte {
	if size, ok := c.fixedSize(); ok {
		return f.take(size)
	}
	length := f.number(c.prefix())
	if length > uint64(len(f.rest)) {
		f.rest, f.short = nil, true
		return nil
	}
	return f.take(int(length))
}

// IsOldTime reports whether a column has the encoding of times before MySQL 5.6, which
// doesn't tell how many digits of a second there are.
func (c Column) IsOldTime() bool {
	return c.Type == TypeTime || c.Type == TypeDatetime || c.Type == TypeTimestamp
}
