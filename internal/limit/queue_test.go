package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// recordedQueries records the queries of a queue, on the clock of a synctest
// bubble.
type recordedQueries struct {
	mu      sync.Mutex
	began   []time.Time
	batches [][]userstore.Key
	takes   time.Duration
	err     error
}

func (r *recordedQueries) lookup(ctx context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, map[userstore.Key]error, error) {
	r.mu.Lock()
	r.began = append(r.began, time.Now())
	r.batches = append(r.batches, slices.Clone(keys))
	takes, err := r.takes, r.err
	r.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, err
	}
	users := make(map[userstore.Key]*userstore.User)
	for _, key := range keys {
		if pk, _ := key.PrimaryKey(); pk.Kind() == token.KindInt && pk.Int() < 1000 {
			users[key] = &userstore.User{PrimaryKey: pk}
		}
	}
	return users, nil, nil
}

// answers collects what lookups of a queue got.
type answers struct {
	mu     sync.Mutex
	counts map[string]int
	after  map[string]time.Duration // the longest
	wait   sync.WaitGroup
}

func (a *answers) find(q *Queue, from Client, key userstore.Key) {
	began := time.Now()
	a.wait.Go(func() {
		user, err := q.Find(context.Background(), from, key, exists)
		got := "found"
		switch {
		case errors.Is(err, ErrTurnedAway):
			got = "turned away"
		case errors.Is(err, userstore.ErrNotFound):
			got = "no user"
		case err != nil:
			got = err.Error()
		case userstore.ByPrimaryKey(user.PrimaryKey) != key:
			got = "another user"
		}
		name := fmt.Sprintf("%d: %s", from, got)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.counts == nil {
			a.counts, a.after = make(map[string]int), make(map[string]time.Duration)
		}
		a.counts[name]++
		a.after[name] = max(a.after[name], time.Since(began))
	})
}

// exists accepts every user.
func exists(user *userstore.User) error {
	if user == nil {
		return userstore.ErrNotFound
	}
	return nil
}

func (q *Queue) state() (lookups, clients int, running bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting, len(q.turns), q.running
}

// TestQueueIsPaced has one client ask without end.
func TestQueueIsPaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var queries recordedQueries
		q := NewQueue(queries.lookup, 2*time.Second)
		defer q.Stop()
		var got answers
		const seconds = 3
		for at := range seconds * 100 { // 3,000 lookups a second
			for i := range 30 {
				got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(int64(1000+at*30+i))))
			}
			time.Sleep(10 * time.Millisecond)
		}
		got.find(q, 2, userstore.ByPrimaryKey(token.IntKey(1)))
		got.wait.Wait()
		if n, most := len(queries.batches), seconds*int(time.Second/queueInterval)+queueShare/queueBatch+2; n > most {
			t.Errorf("%d queries in %ds, want %d at most", n, seconds, most)
		}
		for i, batch := range queries.batches {
			if len(batch) > queueBatch {
				t.Errorf("query %d asks for %d users", i, len(batch))
			}
			if i > 0 && queries.began[i].Sub(queries.began[i-1]) < queueInterval {
				t.Errorf("query %d is sent %s after the one before", i, queries.began[i].Sub(queries.began[i-1]))
			}
		}
		if got.counts["1: turned away"] == 0 || got.counts["1: no user"] == 0 {
			t.Errorf("the client got %v", got.counts)
		}
		// Another client doesn't wait behind it.
		if got.counts["2: found"] != 1 || got.after["2: found"] > 2*queueInterval {
			t.Errorf("the other client got %v after %v", got.counts, got.after)
		}
	})
}

// TestQueueIsShared fills the queue by a few clients, and has many others ask.
func TestQueueIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queries := recordedQueries{takes: 10 * time.Millisecond}
		q := NewQueue(queries.lookup, time.Minute)
		defer q.Stop()
		var got answers
		const hungry = 20
		for range 2 * queueShare {
			for from := range hungry {
				got.find(q, Client(1+from), userstore.ByPrimaryKey(token.IntKey(1)))
			}
		}
		synctest.Wait()
		if lookups, _, _ := q.state(); lookups > queueLength {
			t.Errorf("%d lookups wait", lookups)
		}
		for from := range 100 {
			got.find(q, Client(1000+from), userstore.ByPrimaryKey(token.IntKey(2)))
		}
		synctest.Wait()
		if lookups, _, _ := q.state(); lookups > queueLength {
			t.Errorf("%d lookups wait", lookups)
		}
		got.wait.Wait()
		for from := range 100 {
			if got.counts[strconv.Itoa(1000+from)+": found"] != 1 {
				t.Errorf("client %d was turned away by those that ask more", from)
			}
		}
		time.Sleep(queueInterval) // then the goroutine sees that no lookup waits
		synctest.Wait()
		if lookups, clients, running := q.state(); lookups != 0 || clients != 0 || running {
			t.Errorf("at the end %d lookups of %d clients wait", lookups, clients)
		}
	})
}

// TestQueueAnswersLookupsThatWaitFailOrAreGivenUp has lookups wait too long, be given up, and fail together.
func TestQueueAnswersLookupsThatWaitFailOrAreGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queries := recordedQueries{takes: 5 * time.Second}
		q := NewQueue(queries.lookup, 2*time.Second)
		defer q.Stop()
		var got answers
		got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
		synctest.Wait()
		got.find(q, 2, userstore.ByPrimaryKey(token.IntKey(2)))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := q.Find(ctx, 3, userstore.ByPrimaryKey(token.IntKey(3)), exists); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lookup that is given up: %v", err)
		}
		got.wait.Wait()
		// The first is in a query, and ends by MySQL's time limit. The second waits
		// for MySQL, not for other lookups.
		inVain := "2: " + errInVain.Error()
		if got.counts["1: found"] != 1 || got.counts[inVain] != 1 || got.after[inVain] != 2*time.Second {
			t.Errorf("got %v after %v", got.counts, got.after)
		}

		queries.takes, queries.err = time.Second, userstore.ErrUnavailable
		got = answers{}
		got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
		synctest.Wait()
		for range queueShare + 100 {
			got.find(q, 2, userstore.ByPrimaryKey(token.IntKey(1)))
		}
		got.wait.Wait()
		unavailable := "2: " + userstore.ErrUnavailable.Error()
		if got.counts[unavailable] != queueShare || got.after[unavailable] > time.Second+queueInterval {
			t.Errorf("while MySQL is away: %v after %v", got.counts, got.after)
		}
	})
}

// TestErrorOfOneKeyFailsNoOtherInTheQueue has one key that several rows have, among others
// or beside one.
func TestErrorOfOneKeyFailsNoOtherInTheQueue(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]int{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 7, 8}} {
		errorOfOneKeyFailsNoOther(t, keys)
	}
}

func errorOfOneKeyFailsNoOther(t *testing.T, keys []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ambiguous := fmt.Errorf("%w: %w", userstore.ErrUnavailable, userstore.ErrAmbiguous)
		q := NewQueue(func(_ context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, map[userstore.Key]error, error) {
			if slices.Contains(keys, userstore.ByPrimaryKey(token.IntKey(7))) {
				return nil, nil, ambiguous
			}
			users := make(map[userstore.Key]*userstore.User)
			for _, key := range keys {
				pk, _ := key.PrimaryKey()
				users[key] = &userstore.User{PrimaryKey: pk}
			}
			return users, nil, nil
		}, time.Second)
		defer q.Stop()
		var got answers
		for n, i := range keys {
			if n == 1 {
				synctest.Wait() // the first is on its way, and the others follow together
			}
			got.find(q, Client(1+i), userstore.ByPrimaryKey(token.IntKey(int64(i))))
		}
		got.wait.Wait()
		for _, i := range keys {
			want := fmt.Sprintf("%d: found", 1+i)
			if i == 7 {
				want = fmt.Sprintf("%d: %s", 1+i, ambiguous)
			}
			if got.counts[want] != 1 {
				t.Errorf("want %s, got %v", want, got.counts)
			}
		}
	})
}

// TestQueueIsTooLong has a client wait for so many lookups of its own that MySQL
// isn't asked for all of them in time.
func TestQueueIsTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queries := recordedQueries{takes: time.Millisecond}
		q := NewQueue(queries.lookup, 4*queueInterval+queueInterval/2)
		defer q.Stop()
		var got answers
		got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
		synctest.Wait() // that is on its way; four queries follow in time
		for range queueShare {
			got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
		}
		got.wait.Wait()
		found, turnedAway := got.counts["1: found"], got.counts["1: turned away"]
		if found != 1+4*queueBatch || turnedAway != queueShare-4*queueBatch {
			t.Errorf("got %v", got.counts)
		}
	})
}

// A row that is rejected with a reason of its own belongs to a user who exists: a
// Django session without a user is no guess.
func TestQueueTellsWhyARowIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused, other := userstore.ByPrimaryKey(token.IntKey(1)), userstore.ByPrimaryKey(token.IntKey(2))
		why := errors.New("no user is logged in")
		q := NewQueue(func(context.Context, []userstore.Key) (map[userstore.Key]*userstore.User, map[userstore.Key]error, error) {
			return map[userstore.Key]*userstore.User{other: {}}, map[userstore.Key]error{refused: why}, nil
		}, time.Second)
		defer q.Stop()
		check := func(*userstore.User) error { return nil }
		began := time.Now()
		if user, err := q.Find(t.Context(), 1, refused, check); user != nil || !errors.Is(err, why) {
			t.Errorf("the row's reason is %v, %v", user, err)
		}
		if took := time.Since(began); took < queueInterval {
			t.Errorf("the answer came after %s, sooner than other rejections", took)
		}
		if _, err := q.Find(t.Context(), 1, other, check); err != nil {
			t.Errorf("another key: %v", err)
		}
	})
}
