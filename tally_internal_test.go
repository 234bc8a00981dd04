package sesame

import (
	"fmt"
	"testing"
)

// TestTalliesAreBounded also where a process has had the handlers of many sites, one
// after the other.
func TestTalliesAreBounded(t *testing.T) {
	t.Parallel()
	tallies := new(tallySet)
	first := tallies.of("first.example.com")
	for i := range 3 * mostHandlers {
		tallies.of(fmt.Sprintf("%d.example.com", i))
	}
	if n := len(tallies.all()); n > mostHandlers+1 {
		t.Errorf("there are %d", n)
	}
	if tallies.of("first.example.com") != first {
		t.Error("an existing one was replaced")
	}
	if tallies.of("late.example.com") != tallies.of("later.example.com") || tallies.of("late.example.com") != tallies.of(otherHandlers) {
		t.Error("those beyond the bound aren't counted together")
	}
}
