package binlog

import (
	"errors"
	"fmt"
)

// rowsKind is what a type of event has to do with rows.
type rowsKind struct {
	version              int
	isUpdate, isInsert   bool
	isZipped, hasPartial bool
}

var rowsKinds = map[Type]rowsKind{
	WriteRowsV0:       {version: 0, isInsert: true},
	UpdateRowsV0:      {version: 0, isUpdate: true},
	DeleteRowsV0:      {version: 0},
	WriteRowsV1:       {version: 1, isInsert: true},
	UpdateRowsV1:      {version: 1, isUpdate: true},
	DeleteRowsV1:      {version: 1},
	WriteRowsV2:       {version: 2, isInsert: true},
	UpdateRowsV2:      {version: 2, isUpdate: true},
	DeleteRowsV2:      {version: 2},
	PartialUpdateRows: {version: 2, isUpdate: true, hasPartial: true},
	MariaWriteRowsV1:  {version: 1, isInsert: true, isZipped: true},
	MariaUpdateRowsV1: {version: 1, isUpdate: true, isZipped: true},
	MariaDeleteRowsV1: {version: 1, isZipped: true},
	MariaWriteRowsV2:  {version: 2, isInsert: true, isZipped: true},
	MariaUpdateRowsV2: {version: 2, isUpdate: true, isZipped: true},
	MariaDeleteRowsV2: {version: 2, isZipped: true},
}

// IsRows reports whether events of the type hold rows.
func (t Type) IsRows() bool {
	_, ok := rowsKinds[t]
	return ok
}

// Rows is an event with rows of one table.
type Rows struct {
	TableID uint64

	kind rowsKind
	rest []byte
}

// noTable is the number of no table, of an event that only ends a statement. A server that
// has opened 16,777,215 tables gives it to a table, too.
const noTable = 0xffffff

// MayBeEmpty reports whether the event has no rows, but ends a statement, unless the log
// names a table with its number.
func (r Rows) MayBeEmpty() bool { return r.TableID == noTable }

// ParseRows reads the body of an event with rows, but for the rows.
func ParseRows(t Type, body []byte) (Rows, error) {
	kind, ok := rowsKinds[t]
	if !ok {
		return Rows{}, fmt.Errorf("type %d has no rows", t)
	}
	f := fields{rest: body}
	r := Rows{TableID: f.number(6), kind: kind}
	f.take(2) // flags
	if kind.version == 2 {
		// The length counts its own two bytes.
		f.take(int(f.uint16()) - 2)
	}
	r.rest = f.rest
	if f.short {
		return Rows{}, errShort
	}
	return r, nil
}

// Value is what an event has of a column of a row.
type Value struct {
	Bytes []byte

	// IsAbsent tells that the column isn't in the event.
	IsAbsent, IsNull bool
}

// Row is a change of a row: the values of the columns that were asked for. One of the
// two is nil where a row was inserted or deleted.
type Row struct{ Before, After []Value }

// errColumns is the error for rows that don't fit their table map.
var errColumns = errors.New("its rows don't have the columns that the table has")

// Each calls use with each change. wanted are the columns whose values are looked for.
// The values are valid until use returns.
func (r Rows) Each(columns []Column, wanted []int, use func(Row)) error {
	f := fields{rest: r.rest}
	count := f.lenenc()
	if f.short || count != uint64(len(columns)) {
		return errColumns
	}
	first := f.take(bitmapSize(len(columns)))
	second := first
	if r.kind.isUpdate && r.kind.version > 0 {
		second = f.take(bitmapSize(len(columns)))
	}
	if f.short {
		return errShort
	}
	if r.kind.isZipped {
		plain, err := unzip(f.rest)
		if err != nil {
			return err
		}
		f.rest = plain
	}
	values := make([]Value, 2*len(wanted))
	for len(f.rest) > 0 {
		before := len(f.rest)
		row := r.next(&f, columns, wanted, first, second, values)
		if f.short {
			return errShort
		}
		if len(f.rest) == before {
			return errColumns // rows without a byte would never end
		}
		use(row)
	}
	return nil
}

// next reads a change.
func (r Rows) next(f *fields, columns []Column, wanted []int, first, second []byte, values []Value) Row {
	one, two := values[:len(wanted)], values[len(wanted):]
	readImage(f, columns, wanted, first, one)
	switch {
	case r.kind.isInsert:
		return Row{After: one}
	case !r.kind.isUpdate:
		return Row{Before: one}
	}
	if r.kind.hasPartial {
		skipPartialBits(f, columns)
	}
	readImage(f, columns, wanted, second, two)
	return Row{one, two}
}

// skipPartialBits skips which JSON values are differences. Those have a length as
// whole values have.
func skipPartialBits(f *fields, columns []Column) {
	const jsonDifferences = 1
	if f.lenenc()&jsonDifferences == 0 {
		return
	}
	documents := 0
	for _, c := range columns {
		if c.Type == TypeJSON {
			documents++
		}
	}
	f.take(bitmapSize(documents))
}

// readImage reads a row, as it is before or after the change.
func readImage(f *fields, columns []Column, wanted []int, present []byte, values []Value) {
	there := 0
	for i := range columns {
		if isSet(present, i) {
			there++
		}
	}
	nulls := f.take(bitmapSize(there))
	for i := range values {
		values[i] = Value{IsAbsent: true}
	}
	at := 0
	for i, column := range columns {
		if f.short {
			return
		}
		if !isSet(present, i) {
			continue
		}
		value := Value{IsNull: isSet(nulls, at)}
		at++
		if !value.IsNull {
			value.Bytes = column.value(f)
		}
		for j, want := range wanted {
			if want == i {
				values[j] = value
			}
		}
	}
}
