package kept_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
)

const lease = time.Second

// followed returns rows of a stream that has begun at position 1, with a lease.
func followed(t *testing.T, maxRows int, maxSize int64) (*kept.Rows[string], *kept.Stream) {
	t.Helper()
	rows, s := kept.NewRows[string](maxRows, maxSize), kept.NewStream(lease, time.Now)
	s.Begin(at(1))
	rows.Follow(s)
	s.Committed(at(1))
	s.Open()
	s.Grant(time.Now())
	return rows, s
}

func at(offset uint64) kept.Position { return kept.Position{File: 1, Offset: offset} }

// keep keeps a row, read by a query that began when the ticket was made.
func keep(rows *kept.Rows[string], ticket kept.Ticket, tag, alias uint64, own string) *kept.Entry[string] {
	return rows.Keep(ticket, kept.Row[string]{Tag: tag, Alias: alias, Own: own})
}

// wantKept fails unless a row is kept with this text, or none is where it is empty.
func wantKept(t *testing.T, rows *kept.Rows[string], tag uint64, own string) {
	t.Helper()
	e := rows.Find(tag)
	switch {
	case e == nil && own == "":
	case e == nil:
		t.Errorf("row %d isn't kept", tag)
	case e.Own() != own:
		t.Errorf("row %d is kept as %q, want %q", tag, e.Own(), own)
	}
}

// TestRowIsKeptOnlyIfItIsThePresentOne has each order of a query and a change.
func TestRowIsKeptOnlyIfItIsThePresentOne(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		happen func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket // the query, up to its answer
		isKept bool
	}{
		{"no change", func(rows *kept.Rows[string], _ *kept.Stream) kept.Ticket { return rows.Start() }, true},
		{"another row's change", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			s.Changed(at(2), 99)
			return ticket
		}, true},
		{"a change is reported during the query", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			s.Changed(at(2), 7)
			return ticket
		}, false},
		{"and becomes visible during it", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			s.Changed(at(2), 7)
			s.Committed(at(2))
			return ticket
		}, false},
		{"a reported change isn't visible yet", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.Changed(at(2), 7)
			return rows.Start()
		}, false},
		{"it becomes visible during the query", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.Changed(at(2), 7)
			ticket := rows.Start()
			s.Committed(at(2))
			return ticket
		}, false},
		{"it is visible before the query", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.Changed(at(2), 7)
			s.Committed(at(2))
			return rows.Start()
		}, true},
		{"an earlier change alone is visible", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.Changed(at(2), 99)
			s.Changed(at(3), 7)
			s.Committed(at(2))
			return rows.Start()
		}, false},
		{"a change was visible before it is reported", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.Committed(at(2))
			s.Changed(at(2), 7)
			return rows.Start()
		}, true},
		{"any row may have changed during the query", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			s.ChangedAll(at(2))
			return ticket
		}, false},
		{"any row may have changed, which isn't visible yet", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.ChangedAll(at(2))
			return rows.Start()
		}, false},
		{"any row may have changed before", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			s.ChangedAll(at(2))
			s.Committed(at(2))
			return rows.Start()
		}, true},
		{"the rows don't follow the stream any more", func(rows *kept.Rows[string], _ *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			rows.Unfollow()
			return ticket
		}, false},
		{"the stream is interrupted during the query", func(rows *kept.Rows[string], s *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			s.End()
			return ticket
		}, false},
		{"and another begins", func(rows *kept.Rows[string], former *kept.Stream) kept.Ticket {
			ticket := rows.Start()
			former.End()
			s := kept.NewStream(lease, time.Now)
			s.Begin(at(9))
			rows.Follow(s)
			s.Committed(at(9))
			s.Open()
			s.Grant(time.Now())
			return ticket
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rows, s := followed(t, 100, 1<<20)
				keep(rows, test.happen(rows, s), 7, 0, "row")
				want := ""
				if test.isKept {
					want = "row"
				}
				wantKept(t, rows, 7, want)
			})
		})
	}
}

func TestChangeDropsRowsByTagAndAlias(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows, s := followed(t, 100, 1<<20)
		for tag := range uint64(4) {
			keep(rows, rows.Start(), 10+tag, 20+tag, "row")
		}
		e := rows.Find(10)
		s.Changed(at(2), 10, 21)
		wantKept(t, rows, 10, "")
		wantKept(t, rows, 11, "")
		wantKept(t, rows, 12, "row")
		if rows.Holds(e) {
			t.Error("a dropped row is still held")
		}
		// The alias is another row's now.
		s.Committed(at(2))
		keep(rows, rows.Start(), 14, 22, "new")
		wantKept(t, rows, 12, "")
		s.Changed(at(3), 22)
		wantKept(t, rows, 14, "")
		s.ChangedAll(at(4))
		wantKept(t, rows, 13, "")
		if n := rows.Stats().Rows; n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// TestSameRowStaysWhereOthersPointToIt has a row read again, unchanged and changed.
func TestSameRowStaysWhereOthersPointToIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows, s := followed(t, 100, 1<<20)
		first := keep(rows, rows.Start(), 1, 2, "row")
		if again := keep(rows, rows.Start(), 1, 2, "row"); again != first || !rows.Holds(first) {
			t.Error("the same row is another entry")
		}
		other := keep(rows, rows.Start(), 1, 2, "other")
		if rows.Holds(first) || !rows.Holds(other) {
			t.Error("a changed row isn't replaced")
		}
		s.Changed(at(2), 2)
		wantKept(t, rows, 1, "")
	})
}

func TestLeaseEndsUnlessItIsProvenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows, s := followed(t, 100, 1<<20)
		keep(rows, rows.Start(), 1, 0, "row")
		time.Sleep(lease - 1)
		if !rows.IsCurrent() {
			t.Error("the lease has ended too soon")
		}
		// Events alone, which may come late, prove nothing.
		s.Reached(at(5))
		time.Sleep(time.Nanosecond)
		if rows.IsCurrent() {
			t.Error("the lease goes on for ever")
		}
		if keep(rows, rows.Start(), 2, 0, "row") != nil {
			t.Error("a row is kept without a lease")
		}
		// The end of the log was asked for now, and is reached later: the lease counts
		// from the question.
		began := time.Now()
		s.WhenReached(at(8), func() { s.Grant(began) })
		time.Sleep(lease / 2)
		s.Reached(at(7))
		if rows.IsCurrent() {
			t.Error("a lease is granted before the end of the log is reached")
		}
		s.Reached(at(8))
		if !rows.IsCurrent() {
			t.Error("no lease is granted")
		}
		wantKept(t, rows, 1, "row") // no change was reported
		s.Grant(began.Add(-lease))  // an answer that was overtaken
		time.Sleep(lease/2 - 1)
		if !rows.IsCurrent() {
			t.Error("an earlier lease has replaced a later one")
		}
		time.Sleep(time.Nanosecond)
		if rows.IsCurrent() {
			t.Error("the lease doesn't count from the question")
		}
	})
}

// TestEachLapseOfTheLeaseIsNoticedOnce has leases end that are renewed late, or not.
func TestEachLapseOfTheLeaseIsNoticedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, s := followed(t, 100, 1<<20)
		want := func(when string, lapsed bool) {
			t.Helper()
			if s.HasLapsed() != lapsed {
				t.Errorf("%s, a lapse is noticed: %t", when, !lapsed)
			}
			if s.HasLapsed() {
				t.Errorf("%s, a lapse is noticed again", when)
			}
		}
		want("at first", false)
		time.Sleep(lease - 1)
		s.Grant(time.Now())
		want("after it was renewed in time", false)
		time.Sleep(lease)
		want("after it has ended", true)
		s.Grant(time.Now())
		want("after it was renewed late", false)
		asked := time.Now()
		time.Sleep(lease - 1)
		s.Grant(asked.Add(2))
		time.Sleep(2 * time.Nanosecond)
		want("while the renewed one goes on", false)
		time.Sleep(lease)
		s.Grant(time.Now())
		want("after it has ended and was renewed unnoticed", true)
	})
}

// TestLeaseEndsWhileTheHostSleeps has one of the clocks go on while the other stands
// still, or is set back.
func TestLeaseEndsWhileTheHostSleeps(t *testing.T) {
	t.Parallel()
	for name, wall := range map[string]time.Duration{"asleep": time.Hour, "set back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now().Round(0)
			now := began
			s := kept.NewStream(lease, func() time.Time { return now })
			s.Open()
			s.Grant(began)
			if !s.IsCurrent() {
				t.Error("there is no lease")
			}
			if now = began.Add(wall); s.IsCurrent() {
				t.Error("the lease goes on")
			}
		})
	}
}

func TestPositionsThatGoBackAreNoticed(t *testing.T) {
	t.Parallel()
	s := kept.NewStream(lease, time.Now)
	s.Begin(kept.Position{File: 3, Offset: 100})
	for _, test := range []struct {
		position kept.Position
		isLater  bool
	}{{kept.Position{File: 3, Offset: 100}, true}, {kept.Position{File: 4, Offset: 4}, true}, {kept.Position{File: 3, Offset: 900}, false}, {kept.Position{File: 1, Offset: 4}, false}} {
		if s.Reached(test.position) != test.isLater {
			t.Errorf("reached %v: later is %t", test.position, !test.isLater)
		}
		if s.Committed(test.position) != test.isLater {
			t.Errorf("committed %v: later is %t", test.position, !test.isLater)
		}
	}
}

func TestRowsMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows, _ := followed(t, 10*1024, 1<<30)
		for tag := range uint64(50_000) {
			keep(rows, rows.Start(), tag<<32, tag<<32+1, strconv.FormatUint(tag, 10))
			if e := rows.Find(0); e == nil {
				t.Fatalf("a row in use has made room after %d", tag)
			} else {
				e.Use()
			}
		}
		stats := rows.Stats()
		if stats.Rows != 10*1024 || stats.Evicted != 50_000-10*1024 {
			t.Errorf("%+v, want 10240 rows, and that the others made room", stats)
		}

		rows, _ = followed(t, 10_000, 64<<10)
		for tag := range uint64(1000) {
			shared := fmt.Sprintf("%0300d", tag%3)
			rows.Keep(rows.Start(), kept.Row[string]{Tag: tag << 32, Own: "0123456789", Shared: shared, WithSize: 30})
		}
		if stats := rows.Stats(); stats.Size > 64<<10 || stats.Rows < 100 {
			t.Errorf("%+v, want at most 64 KiB, and some rows", stats)
		}
	})
}

func TestSharedTextsAreKeptOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows, s := followed(t, 100_000, 1<<30)
		text := fmt.Sprintf("%0100000d", 1)
		for tag := range uint64(32) {
			for i := range uint64(10) {
				rows.Keep(rows.Start(), kept.Row[string]{Tag: tag<<32 + i, Own: "row", Shared: text})
			}
		}
		if size := rows.Stats().Size; size > 33*100_000 {
			t.Errorf("320 rows with one text take %d bytes", size)
		}
		for tag := range uint64(32) {
			for i := range uint64(10) {
				s.Changed(at(2), tag<<32+i)
			}
		}
		if size := rows.Stats().Size; size != 0 {
			t.Errorf("no rows take %d bytes", size)
		}
	})
}

// TestNoRowIsOlderThanAReportedChange has a database change rows, report the changes
// before they are visible or after, and drop all at times, while other goroutines look
// rows up.
func TestNoRowIsOlderThanAReportedChange(t *testing.T) {
	t.Parallel()
	const keys, changes = 8, 3000
	rows, s := followed(t, 4, 1<<20) // too few, so that rows make room
	var visible, reported [keys]atomic.Uint64
	var committed atomic.Uint64
	committed.Store(1)
	var over atomic.Bool
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer over.Store(true)
	tasks.Go(func() { // the prober
		for !over.Load() {
			s.Committed(at(committed.Load()))
			s.Grant(time.Now())
		}
	})
	for i := range 3 {
		tasks.Go(func() {
			for n := uint64(i); !over.Load(); n++ {
				key := n % keys
				ticket := rows.Start()
				row := visible[key].Load()
				keep(rows, ticket, key, 100+key, strconv.FormatUint(row, 10))
			}
		})
		tasks.Go(func() {
			for n := uint64(i); !over.Load(); n++ {
				key := n % keys
				least := reported[key].Load()
				e := rows.Find(key)
				if e == nil {
					continue
				}
				if is, _ := strconv.ParseUint(e.Own(), 10, 64); rows.Holds(e) && is < least {
					t.Errorf("row %d is kept as %d after the change to %d was reported", key, is, least)
					over.Store(true)
				}
			}
		})
	}
	for n := uint64(2); n < changes && !over.Load(); n++ {
		key := n % keys
		report := func() {
			switch {
			case n%50 == 0:
				s.ChangedAll(at(n))
			case n%2 == 0:
				s.Changed(at(n), key)
			default:
				s.Changed(at(n), 100+key)
			}
			reported[key].Store(n)
		}
		commit := func() { visible[key].Store(n); committed.Store(n) }
		if n%3 == 0 {
			commit()
			report()
		} else {
			report()
			commit()
		}
	}
}
