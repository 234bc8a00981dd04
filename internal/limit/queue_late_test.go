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

// TestAnswerAfterTheTimeLimitCounts: a lookup whose query is on its way when the
// time limit passes gets what MySQL says, and no check takes an error for a user
// who doesn't exist.
func TestAnswerAfterTheTimeLimitCounts(t *testing.T) {
	t.Parallel()
	errCheck := errors.New("no such user")
	for name, test := range map[string]struct {
		answer error
		gone   time.Duration // when the client goes away; 0 is never
		want   error
	}{
		"a user":                          {nil, 0, nil},
		"an error":                        {userstore.ErrUnavailable, 0, userstore.ErrUnavailable},
		"to a client that has gone":       {nil, 3 * time.Second, context.Canceled},
		"an error for one that has gone":  {userstore.ErrUnavailable, 3 * time.Second, context.Canceled},
		"to a client that went before":    {nil, time.Second, context.Canceled},
		"to one that goes after the user": {nil, 6 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				queries := recordedQueries{takes: 5 * time.Second, err: test.answer}
				q := NewQueue(queries.lookup, 2*time.Second)
				defer q.Stop()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.gone != 0 {
					time.AfterFunc(test.gone, cancel)
				}
				began, checks := time.Now(), 0
				user, err := q.Find(ctx, 1, userstore.ByPrimaryKey(token.IntKey(1)), func(user *userstore.User) error {
					checks++
					if user == nil {
						return errCheck
					}
					return nil
				})
				if !errors.Is(err, test.want) || (user != nil) != (test.want == nil) || (checks > 0) != (test.want == nil) {
					t.Errorf("got %v, %v after %d checks, want %v", user, err, checks, test.want)
				}
				if ends := test.gone; ends != 0 && test.want != nil && time.Since(began) != ends {
					t.Errorf("it took %s, want %s", time.Since(began), ends)
				}
				time.Sleep(10 * time.Second) // the query ends with the bubble
			})
		})
	}
}

// TestLookupsBehindAnAmbiguousKeyAreAnswered: one key that several rows have, alone
// in its query, fails none of those that wait.
func TestLookupsBehindAnAmbiguousKeyAreAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ambiguous := fmt.Errorf("%w: %w", userstore.ErrUnavailable, userstore.ErrAmbiguous)
		q := NewQueue(func(_ context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, map[userstore.Key]error, error) {
			time.Sleep(10 * time.Millisecond)
			users := make(map[userstore.Key]*userstore.User)
			for _, key := range keys {
				pk, _ := key.PrimaryKey()
				if pk == token.IntKey(7) {
					return nil, nil, ambiguous
				}
				users[key] = &userstore.User{PrimaryKey: pk}
			}
			return users, nil, nil
		}, time.Second)
		defer q.Stop()
		var got answers
		got.find(q, 7, userstore.ByPrimaryKey(token.IntKey(7)))
		synctest.Wait() // that is on its way
		for i := range 3 {
			got.find(q, Client(1+i), userstore.ByPrimaryKey(token.IntKey(1)))
		}
		got.wait.Wait()
		if got.counts["7: "+ambiguous.Error()] != 1 || got.counts["1: found"] != 1 || got.counts["2: found"] != 1 || got.counts["3: found"] != 1 {
			t.Errorf("got %v", got.counts)
		}
		time.Sleep(queueInterval)
	})
}
