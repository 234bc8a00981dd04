package limit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestQueueHasRoomForSoManyLookups fills the queue while MySQL is busy with the
// first lookup, and counts what still gets in.
func TestQueueHasRoomForSoManyLookups(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		clients, each int
		waiting       int // at the end, without the one on its way
		turnedAway    int
	}{
		{"one client has exactly its share", 1, queueShare, queueShare, 0},
		{"one client has one more than its share", 1, queueShare + 1, queueShare, 1},
		{"few clients fill the queue exactly", queueLength / queueShare, queueShare, queueLength, 0},
		{"one client more than fit takes room from the others", queueLength/queueShare + 1, queueShare, queueLength, queueShare},
		{"as many clients as lookups fit have one each", queueLength, 1, queueLength, 0},
		{"one more client than lookups fit is turned away", queueLength + 1, 1, queueLength, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				queries := recordedQueries{takes: 10 * time.Millisecond}
				q := NewQueue(queries.lookup, time.Hour)
				defer q.Stop()
				var first, got answers
				first.find(q, 1_000_000, userstore.ByPrimaryKey(token.IntKey(1)))
				synctest.Wait() // that is on its way
				for range test.each {
					for from := range test.clients {
						got.find(q, Client(1+from), userstore.ByPrimaryKey(token.IntKey(1)))
					}
				}
				synctest.Wait()
				if lookups, clients, _ := q.state(); lookups != test.waiting || clients > test.waiting {
					t.Errorf("%d lookups of %d clients wait, want %d", lookups, clients, test.waiting)
				}
				first.wait.Wait()
				got.wait.Wait()
				turnedAway := 0
				for from := range test.clients {
					turnedAway += got.counts[fmt.Sprintf("%d: turned away", 1+from)]
				}
				if turnedAway != test.turnedAway {
					t.Errorf("%d lookups were turned away, want %d", turnedAway, test.turnedAway)
				}
			})
		})
	}
}

// TestQueueMakesRoomForAClientThatAsksLess: a client with more lookups loses one,
// unless the new client would then have as many.
func TestQueueMakesRoomForAClientThatAsksLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queries := recordedQueries{takes: 10 * time.Millisecond}
		q := NewQueue(queries.lookup, time.Hour)
		defer q.Stop()
		var got answers
		got.find(q, 1_000_000, userstore.ByPrimaryKey(token.IntKey(1)))
		synctest.Wait() // that is on its way
		for from := range queueLength / 2 {
			for range 2 {
				got.find(q, Client(1+from), userstore.ByPrimaryKey(token.IntKey(1)))
			}
		}
		synctest.Wait()
		for range 2 { // there is room for the first only
			got.find(q, 2_000_000, userstore.ByPrimaryKey(token.IntKey(2)))
			synctest.Wait()
		}
		got.wait.Wait()
		turnedAway := 0
		for from := range queueLength / 2 {
			turnedAway += got.counts[fmt.Sprintf("%d: turned away", 1+from)]
		}
		if turnedAway != 1 || got.counts["2000000: found"] != 1 || got.counts["2000000: turned away"] != 1 {
			t.Errorf("%d of the others were turned away; %v", turnedAway, got.counts["2000000: found"])
		}
	})
}

// apiToken leads to users from another table.
var apiToken = &userstore.Via{Table: "authtoken_token", Column: "key", User: "user_id"}

// TestQueueSendsBatchesOfItsSize has more keys wait than one query reads.
func TestQueueSendsBatchesOfItsSize(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		key  func(int) userstore.Key
		want int
	}{
		{"integers", func(i int) userstore.Key { return userstore.ByPrimaryKey(token.IntKey(int64(i))) }, queueBatch},
		{"values of another table", func(i int) userstore.Key { return apiToken.Key(fmt.Sprint("key", i)) }, queueTextBatch},
		{"texts", func(i int) userstore.Key { return userstore.ByPrimaryKey(token.StringKey(fmt.Sprint("user", i))) }, queueTextBatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				queries := recordedQueries{takes: time.Millisecond}
				q := NewQueue(queries.lookup, time.Hour)
				defer q.Stop()
				var got answers
				got.find(q, 1, test.key(0))
				synctest.Wait()
				for i := range 3*test.want + 1 {
					got.find(q, Client(1+i%5), test.key(1+i))
				}
				got.wait.Wait()
				var sizes []int
				for _, batch := range queries.batches {
					sizes = append(sizes, len(batch))
				}
				if want := fmt.Sprint([]int{1, test.want, test.want, test.want, 1}); fmt.Sprint(sizes) != want {
					t.Errorf("the queries have %d keys, want %s", sizes, want)
				}
			})
		})
	}
}

// TestQueueRejectsAllAfterTheSameTime has MySQL take different times for existing
// and missing rows: a rejected client waits for whole intervals.
func TestQueueRejectsAllAfterTheSameTime(t *testing.T) {
	t.Parallel()
	errRejected := errors.New("rejected")
	for _, test := range []struct {
		name  string
		key   int64 // users from 1000 on don't exist
		takes time.Duration
		check error
		want  time.Duration
	}{
		{"a user who exists, quickly", 1, time.Millisecond, errRejected, queueInterval},
		{"a user who exists, slowly", 1, 30 * time.Millisecond, errRejected, queueInterval},
		{"no user, quickly", 1000, time.Millisecond, errRejected, queueInterval},
		{"no user, slowly", 1000, 30 * time.Millisecond, errRejected, queueInterval},
		{"no user, more slowly than an interval", 1000, 60 * time.Millisecond, errRejected, 2 * queueInterval},
		{"a user who is accepted", 1, 7 * time.Millisecond, nil, 7 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				queries := recordedQueries{takes: test.takes}
				q := NewQueue(queries.lookup, time.Second)
				defer q.Stop()
				began := time.Now()
				user, err := q.Find(t.Context(), 1, userstore.ByPrimaryKey(token.IntKey(test.key)), func(*userstore.User) error { return test.check })
				if !errors.Is(err, test.check) || (user != nil) != (test.key < 1000) {
					t.Errorf("got %v, %v", user, err)
				}
				if took := time.Since(began); took != test.want {
					t.Errorf("it took %s, want %s", took, test.want)
				}

				// A client that goes away doesn't wait.
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if _, err := q.Find(ctx, 1, userstore.ByPrimaryKey(token.IntKey(test.key)), func(*userstore.User) error { return test.check }); !errors.Is(err, context.Canceled) {
					t.Errorf("a client that has gone away got %v", err)
				}
			})
		})
	}
}

// TestQueueThatWaitsForMySQLIsUnavailable has MySQL hang, in ways in
// which a lookup could be taken for one of too many.
func TestQueueThatWaitsForMySQLIsUnavailable(t *testing.T) {
	t.Parallel()
	const timeout = 2 * time.Second
	hung := func(t *testing.T, answers func(int) (time.Duration, error)) *Queue {
		n := 0
		q := NewQueue(func(ctx context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, map[userstore.Key]error, error) {
			n++
			takes, err := answers(n)
			select {
			case <-time.After(takes):
				return nil, nil, err
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}, timeout)
		t.Cleanup(q.Stop)
		return q
	}
	t.Run("a lookup that joins at once after the query that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := hung(t, func(int) (time.Duration, error) { return timeout, userstore.ErrUnavailable })
			var got answers
			got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
			for range 50 { // at any time until then, that of the timeout itself included
				got.find(q, 2, userstore.ByPrimaryKey(token.IntKey(2)))
				time.Sleep(timeout / 50)
			}
			got.wait.Wait()
			if got.counts["2: turned away"] > 0 {
				t.Errorf("got %v", got.counts)
			}
		})
	})
	t.Run("one that there is no room for behind a query that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := hung(t, func(int) (time.Duration, error) { return timeout, userstore.ErrUnavailable })
			var got answers
			got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
			time.Sleep(timeout / 2)
			for range queueShare + 100 {
				got.find(q, 2, userstore.ByPrimaryKey(token.IntKey(2)))
			}
			got.wait.Wait()
			if got.counts["2: turned away"] > 0 {
				t.Errorf("got %v", got.counts)
			}
		})
	})
	t.Run("one key after the other of an ambiguous batch hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := hung(t, func(n int) (time.Duration, error) {
				if n == 2 {
					return time.Millisecond, userstore.ErrAmbiguous
				}
				return timeout, userstore.ErrUnavailable
			})
			var got answers
			got.find(q, 1, userstore.ByPrimaryKey(token.IntKey(1)))
			synctest.Wait()
			got.find(q, 2, userstore.ByPrimaryKey(token.IntKey(2)))
			got.find(q, 3, userstore.ByPrimaryKey(token.IntKey(3)))
			got.wait.Wait()
			for name := range got.counts {
				if name == "2: turned away" || name == "3: turned away" {
					t.Errorf("got %v", got.counts)
				}
			}
		})
	})
}

// TestQueueLetsGoOfAClientThatHasGone, also while a rejection is delayed.
func TestQueueLetsGoOfAClientThatHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queries := recordedQueries{takes: time.Millisecond}
		q := NewQueue(queries.lookup, time.Hour)
		defer q.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		defer cancel()
		began := time.Now()
		user, err := q.Find(ctx, 1, userstore.ByPrimaryKey(token.IntKey(1000)), exists)
		if user != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*time.Millisecond {
			t.Errorf("%v, %v after %s", user, err, time.Since(began))
		}
	})
}
