package kept_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
)

// TestChangeEndsTheRowsOfAllWhoFollow has two sets of rows follow one stream.
func TestChangeEndsTheRowsOfAllWhoFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		one, s := followed(t, 100, 1<<20)
		s.Changed(at(2), 7)
		two := kept.NewRows[string](100, 1<<20)
		two.Follow(s)
		if keep(two, two.Start(), 7, 0, "row") != nil {
			t.Error("a row is kept although a change from before isn't visible yet")
		}
		s.Committed(at(2))
		keepBoth := func() {
			t.Helper()
			for _, rows := range []*kept.Rows[string]{one, two} {
				keep(rows, rows.Start(), 7, 70, "row")
				wantKept(t, rows, 7, "row")
			}
		}
		for n, change := range []func(kept.Position){
			func(at kept.Position) { s.Changed(at, 7) },
			func(at kept.Position) { s.Changed(at, 70) },
			s.ChangedAll,
		} {
			keepBoth()
			change(at(uint64(3 + n)))
			wantKept(t, one, 7, "")
			wantKept(t, two, 7, "")
			s.Committed(at(uint64(3 + n)))
		}
		keepBoth()
		two.Unfollow()
		wantKept(t, two, 7, "")
		wantKept(t, one, 7, "row")
		if two.IsCurrent() || !one.IsCurrent() {
			t.Error("rows that don't follow any more are current, or those that do aren't")
		}
		two.Follow(s)
		wantKept(t, two, 7, "")
		keepBoth()
		s.End()
		wantKept(t, one, 7, "")
		wantKept(t, two, 7, "")
		if one.IsCurrent() || two.IsCurrent() {
			t.Error("rows are current after the stream has ended")
		}
	})
}

// TestRowsThatBeginToFollowMissNoChange has sets of rows come and go while a database
// changes a row.
func TestRowsThatBeginToFollowMissNoChange(t *testing.T) {
	t.Parallel()
	const changes = 3000
	_, s := followed(t, 4, 1<<20)
	var visible, reported, committed atomic.Uint64
	committed.Store(1)
	var over atomic.Bool
	var tasks sync.WaitGroup
	tasks.Go(func() { // the prober
		for !over.Load() {
			s.Committed(at(committed.Load()))
			s.Grant(time.Now())
		}
	})
	var isKept atomic.Uint64
	for range 3 {
		tasks.Go(func() {
			for !over.Load() {
				rows := kept.NewRows[string](4, 1<<20)
				rows.Follow(s)
				ticket := rows.Start()
				keep(rows, ticket, 7, 70, strconv.FormatUint(visible.Load(), 10))
				least := reported.Load()
				if e := rows.Find(7); e != nil {
					isKept.Add(1)
					if is, _ := strconv.ParseUint(e.Own(), 10, 64); rows.Holds(e) && is < least {
						t.Errorf("the row is kept as %d after the change to %d was reported", is, least)
						over.Store(true)
					}
				}
				rows.Unfollow()
			}
		})
	}
	for n := uint64(2); (n < changes || isKept.Load() < 100) && !over.Load(); n++ {
		report := func() {
			s.Changed(at(n), 7+n%2*63)
			reported.Store(n)
		}
		commit := func() { visible.Store(n); committed.Store(n) }
		if n%3 == 0 {
			commit()
			report()
		} else {
			report()
			commit()
		}
	}
	over.Store(true)
	tasks.Wait()
}
