// Package ledger keeps the books of a soak: what became of every request, when
// something was broken, and what was not as it must be.
package ledger

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Ledger is a soak's. Its zero value is ready.
type Ledger struct {
	// MySQL are the times without an answer from MySQL: 503 is right then.
	MySQL Spans
	// ReadOnly are the times when MySQL could be read, and not written to.
	ReadOnly Spans

	mu         sync.Mutex
	counts     map[string]map[string]int
	violations []string
	omitted    int
}

// enough violations to see what is wrong.
const enough = 50

// Count counts an event of a kind, by what became of it.
func (l *Ledger) Count(kind, result string) { l.Add(kind, result, 1) }

// Add counts several.
func (l *Ledger) Add(kind, result string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]map[string]int)
	}
	if l.counts[kind] == nil {
		l.counts[kind] = make(map[string]int)
	}
	l.counts[kind][result] += n
}

// Violation notes what must not be.
func (l *Ledger) Violation(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.violations) == enough {
		l.omitted++
		return
	}
	l.violations = append(l.violations, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// Violations are what was noted, and how many more there were.
func (l *Ledger) Violations() (noted []string, omitted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.violations), l.omitted
}

// Row is a kind with the counts of what became of it.
type Row struct {
	Kind    string
	Total   int
	Results []Result
}

// Result is a count.
type Result struct {
	Name string
	N    int
}

// Rows are all counts, in the order of their names.
func (l *Ledger) Rows() []Row {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rows []Row
	for _, kind := range slices.Sorted(maps.Keys(l.counts)) {
		row := Row{Kind: kind}
		for _, name := range slices.Sorted(maps.Keys(l.counts[kind])) {
			n := l.counts[kind][name]
			row.Total += n
			row.Results = append(row.Results, Result{name, n})
		}
		rows = append(rows, row)
	}
	return rows
}
