package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// heldQueries is an executor whose queries wait for the test's answers. The row of
// a key is its number. No row has a key above 100.
type heldQueries struct {
	t     *testing.T
	store *MySQL
	of    reading[int64]

	mu   sync.Mutex
	sent []*heldQuery
}

type heldQuery struct {
	keys   []int64
	answer chan error // nil for the rows
}

// withHeldQueries runs a test in the time of a bubble, so that it sees to the
// nanosecond when a query is sent.
func withHeldQueries(t *testing.T, concurrency int, test func(t *testing.T, h *heldQueries)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := newMySQL(Config{DSN: "u@tcp(127.0.0.1:1)/" + strings.ReplaceAll(t.Name(), "/", "-"), QueryTimeout: caddy.Duration(time.Second)}, Needs{}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		s.concurrency = concurrency
		h := &heldQueries{t: t, store: s}
		h.of = reading[int64]{s: s, column: keyColumn{class: keyInt}, executor: h}
		for i := range h.of.batches.bySize {
			h.of.batches.bySize[i] = new(sql.Stmt) // prepared, for what it matters here
		}
		test(t, h)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// readOne implements executor.
func (h *heldQueries) readOne(_ context.Context, _ *sql.Stmt, of asked) (int64, error) {
	if err := h.hold([]asked{of}); err != nil {
		return 0, err
	}
	if n := of.key.Int(); n <= 100 {
		return n, nil
	}
	return 0, ErrNotFound
}

// readMany implements executor.
func (h *heldQueries) readMany(_ context.Context, _ *sql.Stmt, _ int, of []asked) (map[token.PrimaryKey]int64, error) {
	if err := h.hold(of); err != nil {
		return nil, err
	}
	found := make(map[token.PrimaryKey]int64)
	for _, a := range of {
		if a.key.Int() <= 100 {
			found[a.key] = a.key.Int()
		}
	}
	return found, nil
}

// unsure implements executor.
func (h *heldQueries) unsure([]asked, map[token.PrimaryKey]int64) []asked { return nil }

func (h *heldQueries) hold(of []asked) error {
	query := &heldQuery{answer: make(chan error)}
	for _, a := range of {
		query.keys = append(query.keys, a.key.Int())
	}
	slices.Sort(query.keys)
	h.mu.Lock()
	h.sent = append(h.sent, query)
	h.mu.Unlock()
	return <-query.answer
}

// wantSent checks the keys of all queries up to now.
func (h *heldQueries) wantSent(keys ...[]int64) {
	h.t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	var sent [][]int64
	for _, query := range h.sent {
		sent = append(sent, query.keys)
	}
	if fmt.Sprint(sent) != fmt.Sprint(keys) {
		h.t.Errorf("queries for %v were sent, want %v", sent, keys)
	}
}

// answer ends a query that was sent, by its number from 0.
func (h *heldQueries) answer(query int, err error) {
	h.t.Helper()
	synctest.Wait()
	h.mu.Lock()
	if query >= len(h.sent) {
		h.mu.Unlock()
		h.t.Fatalf("%d queries were sent", len(h.sent))
	}
	answer := h.sent[query].answer
	h.mu.Unlock()
	answer <- err
	synctest.Wait()
}

// heldLookup is a lookup in the background.
type heldLookup struct {
	h     *heldQueries
	id    int64
	began time.Time

	ended chan struct{}
	found int64
	err   error
	took  time.Duration
}

// lookUp begins lookups, one after the other.
func (h *heldQueries) lookUp(ctx context.Context, ids ...int64) (lookups heldLookups) {
	for _, id := range ids {
		l := &heldLookup{h: h, id: id, began: time.Now(), ended: make(chan struct{})}
		go func() {
			defer close(l.ended)
			l.found, l.err = h.of.find(ctx, token.IntKey(id))
			l.took = time.Since(l.began)
		}()
		synctest.Wait()
		lookups = append(lookups, l)
	}
	return lookups
}

type heldLookups []*heldLookup

// want checks that the lookups have ended, with an error or their rows, and how long
// they took.
func (all heldLookups) want(err error, took time.Duration) {
	synctest.Wait()
	for _, l := range all {
		l.h.t.Helper()
		select {
		case <-l.ended:
		default:
			l.h.t.Errorf("the lookup of %d goes on", l.id)
			continue
		}
		if !errors.Is(l.err, err) || err == nil && l.found != l.id {
			l.h.t.Errorf("the lookup of %d: %d, %v; want %v", l.id, l.found, l.err, err)
		}
		if errors.Is(err, ErrUnavailable) && !strings.Contains(l.err.Error(), ": looking up a user: no answer of MySQL within 1s") {
			l.h.t.Errorf("the error of the lookup of %d doesn't say what failed: %v", l.id, l.err)
		}
		if l.took != took {
			l.h.t.Errorf("the lookup of %d took %s, want %s", l.id, l.took, took)
		}
	}
}

// goOn checks that no lookup has ended.
func (all heldLookups) goOn() {
	synctest.Wait()
	for _, l := range all {
		select {
		case <-l.ended:
			l.h.t.Errorf("the lookup of %d has ended: %v", l.id, l.err)
		default:
		}
	}
}

// TestBatchIsSentWhenTheQueryBeforeItEnds has lookups wait for a query that is answered
// soon: theirs follows at once, and is one.
func TestBatchIsSentWhenTheQueryBeforeItEnds(t *testing.T) {
	t.Parallel()
	withHeldQueries(t, largestConcurrency, func(t *testing.T, h *heldQueries) {
		first := h.lookUp(t.Context(), 1)
		h.wantSent([]int64{1})
		second := h.lookUp(t.Context(), 2, 3, 2, 101)
		h.wantSent([]int64{1})
		h.answer(0, nil)
		first.want(nil, 0)
		h.wantSent([]int64{1}, []int64{2, 3, 101})
		third := h.lookUp(t.Context(), 2, 4)
		h.answer(1, nil)
		second[:3].want(nil, 0)
		second[3:].want(ErrNotFound, 0)
		h.wantSent([]int64{1}, []int64{2, 3, 101}, []int64{2, 4})
		h.answer(2, nil)
		third.want(nil, 0)
		last := h.lookUp(t.Context(), 5)
		h.wantSent([]int64{1}, []int64{2, 3, 101}, []int64{2, 4}, []int64{5})
		h.answer(3, nil)
		last.want(nil, 0)
		if stats := h.store.Stats(); stats.Lookups != 8 {
			t.Errorf("%d lookups are counted, want 8", stats.Lookups)
		}
	})
}

// TestBatchWaitsForASlowQueryUntilItsPatienceEnds counts the queries that are under
// way at the same time.
func TestBatchWaitsForASlowQueryUntilItsPatienceEnds(t *testing.T) {
	t.Parallel()
	withHeldQueries(t, 3, func(t *testing.T, h *heldQueries) {
		first := h.lookUp(t.Context(), 1)
		var lookups heldLookups
		want := [][]int64{{1}}
		for id := int64(2); id <= 3; id++ {
			lookups = append(lookups, h.lookUp(t.Context(), id)...)
			time.Sleep(patience - 1)
			h.wantSent(want...)
			time.Sleep(time.Nanosecond)
			want = append(want, []int64{id})
			h.wantSent(want...)
		}
		// Three are under way: the next waits for the end of any of them.
		fourth := h.lookUp(t.Context(), 4)
		time.Sleep(10 * patience)
		h.wantSent(want...)
		h.answer(0, nil)
		first.want(nil, 12*patience)
		want = append(want, []int64{4})
		h.wantSent(want...)
		// The end of another slow query sends no batch before its patience has ended.
		fifth := h.lookUp(t.Context(), 5)
		h.answer(1, nil)
		h.wantSent(want...)
		time.Sleep(patience)
		want = append(want, []int64{5})
		h.wantSent(want...)
		for query := 2; query <= 4; query++ {
			h.answer(query, nil)
		}
		lookups[:1].want(nil, 12*patience)
		lookups[1:].want(nil, 12*patience)
		fourth.want(nil, 11*patience)
		fifth.want(nil, patience)
		// All have ended, so that a lookup is sent alone again.
		last := h.lookUp(t.Context(), 6)
		h.wantSent(append(want, []int64{6})...)
		h.answer(5, nil)
		last.want(nil, 0)
	})
}

// TestBatchEndsAtItsDeadline: waiting and the answer together take no longer than
// a query may.
func TestBatchEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	withHeldQueries(t, 1, func(t *testing.T, h *heldQueries) {
		first := h.lookUp(t.Context(), 1)
		early := h.lookUp(t.Context(), 2)
		time.Sleep(time.Second / 4)
		early = append(early, h.lookUp(t.Context(), 3)...)
		time.Sleep(time.Second*3/4 - 1)
		early.goOn()
		time.Sleep(time.Nanosecond)
		early[:1].want(ErrUnavailable, time.Second)
		early[1:].want(ErrUnavailable, time.Second*3/4)

		// The batch that has ended isn't sent. Another is, and its deadline counts from
		// its own first lookup.
		late := h.lookUp(t.Context(), 4, 5)
		time.Sleep(time.Second / 2)
		h.wantSent([]int64{1})
		h.answer(0, nil)
		first.want(nil, time.Second*3/2)
		h.wantSent([]int64{1}, []int64{4, 5})
		time.Sleep(time.Second/2 - 1)
		late.goOn()
		next := h.lookUp(t.Context(), 6)
		time.Sleep(time.Nanosecond)
		late.want(ErrUnavailable, time.Second)

		// Its answer comes too late for the batch, and lets the next be sent, which its
		// deadline has not ended.
		next.goOn()
		h.wantSent([]int64{1}, []int64{4, 5})
		h.answer(1, nil)
		h.wantSent([]int64{1}, []int64{4, 5}, []int64{6})
		h.answer(2, nil)
		next.want(nil, 1)
	})
}

// TestBatchThatIsSentAtOnceHasADeadline: its patience ends when it was sent already.
func TestBatchThatIsSentAtOnceHasADeadline(t *testing.T) {
	t.Parallel()
	withHeldQueries(t, 1, func(t *testing.T, h *heldQueries) {
		h.lookUp(t.Context(), 1)
		lookups := h.lookUp(t.Context(), 2, 3)
		h.answer(0, nil)
		h.wantSent([]int64{1}, []int64{2, 3})
		time.Sleep(time.Second - 1)
		lookups.goOn()
		time.Sleep(time.Nanosecond)
		lookups.want(ErrUnavailable, time.Second)
		h.answer(1, nil)
	})
}

// TestLookupsThatLeaveEndNoOther has lookups leave a batch that waits, and one that
// was sent.
func TestLookupsThatLeaveEndNoOther(t *testing.T) {
	t.Parallel()
	withHeldQueries(t, 1, func(t *testing.T, h *heldQueries) {
		first := h.lookUp(t.Context(), 1)
		impatient, leave := context.WithCancel(t.Context())
		leaving := h.lookUp(impatient, 2, 3)
		leave()
		leaving.want(context.Canceled, 0)

		// All have left their batch. Later lookups have a batch of their own.
		impatient, leave = context.WithCancel(t.Context())
		leaving = h.lookUp(impatient, 4)
		staying := h.lookUp(t.Context(), 5)
		time.Sleep(time.Second / 2)
		leave()
		leaving.want(context.Canceled, time.Second/2)
		h.answer(0, nil)
		first.want(nil, time.Second/2)
		h.wantSent([]int64{1}, []int64{4, 5})

		// All leave a batch that was sent, while another waits.
		impatient, leave = context.WithCancel(t.Context())
		leaving = h.lookUp(impatient, 7, 8)
		h.answer(1, nil)
		staying.want(nil, time.Second/2)
		h.wantSent([]int64{1}, []int64{4, 5}, []int64{7, 8})
		last := h.lookUp(t.Context(), 9)
		leave()
		leaving.want(context.Canceled, 0)
		last.goOn()
		h.answer(2, nil)
		h.wantSent([]int64{1}, []int64{4, 5}, []int64{7, 8}, []int64{9})
		h.answer(3, nil)
		last.want(nil, 0)
	})
}

// TestErrorOfOneKeyEndsNoOther has MySQL answer a batch with errors.
func TestErrorOfOneKeyEndsNoOther(t *testing.T) {
	t.Parallel()
	broken := &mysql.MySQLError{Number: 1146, Message: "no such table"}
	for _, test := range []struct {
		name string
		ids  []int64
		err  error
		sent [][]int64 // after the batch
		want error
	}{
		{"one of several is ambiguous", []int64{2, 3}, ErrAmbiguous, [][]int64{{2}, {3}}, nil},
		{"the only one is ambiguous", []int64{2}, ErrAmbiguous, nil, ErrAmbiguous},
		{"another error", []int64{2, 3}, broken, nil, broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			withHeldQueries(t, 1, func(t *testing.T, h *heldQueries) {
				first := h.lookUp(t.Context(), 1)
				lookups := h.lookUp(t.Context(), test.ids...)
				h.answer(0, nil)
				first.want(nil, 0)
				h.answer(1, test.err)
				for i := range test.sent {
					h.answer(2+i, nil)
				}
				lookups.want(test.want, 0)
				if n := len(h.sent); n != 2+len(test.sent) {
					t.Errorf("%d queries were sent, want %d", n, 2+len(test.sent))
				}
			})
		})
	}
}

// TestQueriesAreCountedForAllStores compares the totals with what a store was asked.
// It isn't parallel, because the totals are those of the whole process.
func TestQueriesAreCountedForAllStores(t *testing.T) {
	before := AllTotals()
	withHeldQueries(t, 1, func(t *testing.T, h *heldQueries) {
		first := h.lookUp(t.Context(), 1)
		batch := h.lookUp(t.Context(), 2, 3, 4)
		h.answer(0, nil)
		h.answer(1, nil)
		first.want(nil, 0)
		batch.want(nil, 0)
	})
	after := AllTotals()
	if n := after.Lookups - before.Lookups; n != 4 {
		t.Errorf("%d lookups were counted, want 4", n)
	}
	want := map[int]uint64{1: 1, 4: 1} // by their sizes
	for i, size := range QuerySizes() {
		if n := after.Queries[i] - before.Queries[i]; n != want[size] {
			t.Errorf("%d queries for up to %d users were counted, want %d", n, size, want[size])
		}
	}
}
