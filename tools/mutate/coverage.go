package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// coverage has the lines that tests reach, by the file's name in the profile.
type coverage map[string][]span

// span is a piece of a file that was reached, from one line to another.
type span struct{ first, last int }

// readCoverage reads a profile of go test. Its lines are
// name.go:line.column,line.column statements count.
func readCoverage(path string) (coverage, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the tool wrote the file
	if err != nil {
		return nil, err
	}
	reached := make(coverage)
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(line, ".go:")
		if !ok { // the first line
			continue
		}
		var s span
		var column, statements, count int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &s.first, &column, &s.last, &column, &statements, &count); err != nil {
			return nil, fmt.Errorf("reading the profile's line %q: %w", line, err)
		}
		if count > 0 {
			reached[name+".go"] = append(reached[name+".go"], s)
		}
	}
	return reached, nil
}

// reaches tells whether a test ran a mutant's line. Lines outside functions are
// in no profile; they count as reached.
func (c coverage) reaches(m *mutant, inFunction bool) bool {
	if !inFunction {
		return true
	}
	for name, spans := range c {
		if name != m.path && !strings.HasSuffix(name, "/"+filepath.ToSlash(m.path)) {
			continue
		}
		for _, s := range spans {
			if s.first <= m.line && m.line <= s.last {
				return true
			}
		}
	}
	return false
}
