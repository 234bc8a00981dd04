package follow

import (
	"bytes"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
)

// definitions are what the server has said of the followed tables when the stream
// began. After a change of tables no column's place is known, and all rows of a table
// are reported when one changes: the stream is to be ended, and begun anew.
type definitions struct {
	tables []*definition // nil after a change

	shapes   [][]byte // of the tables, as the log has described them first
	isOpaque []bool   // the log doesn't describe the table as the server does
}

func newDefinitions(tables []*definition) *definitions {
	return &definitions{tables, make([][]byte, len(tables)), make([]bool, len(tables))}
}

// outdated notes that the tables have changed.
func (d *definitions) outdated() { d.tables = nil }

// of returns a table's definition, or nil if it isn't known.
func (d *definitions) of(table int) *definition {
	if d.tables == nil || d.isOpaque[table] {
		return nil
	}
	return d.tables[table]
}

// fits reports whether the log describes a table as before.
func (d *definitions) fits(table int, columns []binlog.Column, shape []byte) bool {
	if d.tables == nil {
		return true
	}
	if d.shapes[table] != nil {
		return bytes.Equal(d.shapes[table], shape)
	}
	d.shapes[table] = bytes.Clone(shape)
	for _, key := range d.tables[table].keys {
		if !key.fits(columns) {
			d.isOpaque[table] = true
		}
	}
	return true
}
