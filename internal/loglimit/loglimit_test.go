package loglimit_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/loglimit"
)

// taken is how many of a number of lines may be written.
func taken(l *loglimit.Limit, kind string, lines int) (written int) {
	for range lines {
		if _, ok := l.Take(kind); ok {
			written++
		}
	}
	return written
}

func TestLinesBeyondTheLimitAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &loglimit.Limit{Most: 20, Per: time.Minute}
		if n := taken(l, "a", 1000); n != 20 {
			t.Errorf("%d lines at once, want 20", n)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if n := taken(l, "a", 20); n != 0 {
			t.Errorf("%d lines within the minute", n)
		}
		time.Sleep(time.Nanosecond)
		if omitted, ok := l.Take("a"); !ok || omitted != 1000 {
			t.Errorf("after the minute: %t, %d omitted", ok, omitted)
		}
		if omitted, ok := l.Take("a"); !ok || omitted != 0 {
			t.Errorf("the next one: %t, %d omitted", ok, omitted)
		}
	})
}

// TestKindsDoNotDisplaceEachOther: a line of another kind is written at once, until
// there are too many kinds.
func TestKindsDoNotDisplaceEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &loglimit.Limit{Most: 1, Per: 5 * time.Second}
		written := 0
		for i := range 1000 {
			written += taken(l, strconv.Itoa(i), 2)
		}
		if written != 17 {
			t.Errorf("%d lines of 1000 kinds, want 16 and one for all others", written)
		}
		time.Sleep(5 * time.Second)
		for i := range 1000 {
			written += taken(l, strconv.Itoa(i), 1)
		}
		if written < 2*16 || written > 2*17 {
			t.Errorf("%d lines after five seconds", written)
		}
	})
}
