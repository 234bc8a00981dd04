package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/fault"
)

// report writes what became of everything. The error is that something was not
// as it must be.
func (s *site) report(w io.Writer) error {
	fmt.Fprintf(w, "\nsoak of %s with seed %d: what became of everything\n\n", s.duration, s.seed)
	for _, row := range s.books.Rows() {
		results := make([]string, len(row.Results))
		for i, r := range row.Results {
			results[i] = fmt.Sprintf("%s: %d", r.Name, r.N)
		}
		fmt.Fprintf(w, "%-40s %7d  %s\n", row.Kind, row.Total, strings.Join(results, ", "))
	}
	fmt.Fprintf(w, "\n%-40s %10s %10s %10s\n", "gateway 1, which was never ended", "first third", "last third", "most")
	for _, r := range s.figures.rows() {
		fmt.Fprintf(w, "%-40s %10d %10d %10d %s\n", r.name, r.first, r.last, r.most, r.unit)
	}
	fmt.Fprintf(w, "\nuntil users were accepted again at both gateways, at most\n")
	for _, r := range s.faults.Recoveries() {
		remark := ""
		if r.Slowest > fault.BackWithin {
			remark = fmt.Sprintf("  (more than %s)", fault.BackWithin)
		}
		fmt.Fprintf(w, "%-40s %10s%s\n", r.Fault, r.Slowest.Round(time.Millisecond), remark)
	}

	violations, omitted := s.books.Violations()
	if len(violations) == 0 {
		fmt.Fprintf(w, "\nNo request was lost, no user was accepted without the right to log in, no one-time token was used twice, nothing grew, and no token is in a log.\n")
		return nil
	}
	fmt.Fprintf(w, "\n%d violations:\n", len(violations)+omitted)
	for _, violation := range violations {
		fmt.Fprintln(w, violation)
	}
	if omitted > 0 {
		fmt.Fprintf(w, "and %d more\n", omitted)
	}
	return errors.New("something was not as it must be")
}
