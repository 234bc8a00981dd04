package report

import (
	"strings"
	"unicode/utf8"
)

// table is a table in Markdown that is legible as it is, too. All columns but
// the first are numbers, and end at the right.
type table struct {
	rows [][]string
	left map[int]bool // further columns that begin at the left
}

func newTable(head ...string) *table {
	return &table{rows: [][]string{head}, left: map[int]bool{0: true}}
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write appends the table, or nothing if it has no more than a head.
func (t *table) write(b *strings.Builder) {
	if len(t.rows) < 2 {
		return
	}
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	for i, row := range t.rows {
		b.WriteString("|")
		for column, cell := range row {
			space := strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell))
			if t.left[column] {
				b.WriteString(" " + cell + space + " |")
			} else {
				b.WriteString(" " + space + cell + " |")
			}
		}
		b.WriteString("\n")
		if i == 0 {
			t.writeRule(b, widths)
		}
	}
	b.WriteString("\n")
}

func (t *table) writeRule(b *strings.Builder, widths []int) {
	b.WriteString("|")
	for column, width := range widths {
		if t.left[column] {
			b.WriteString(" " + strings.Repeat("-", width) + " |")
		} else {
			b.WriteString(" " + strings.Repeat("-", width-1) + ": |")
		}
	}
	b.WriteString("\n")
}
