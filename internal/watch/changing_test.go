package watch

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// changingUsers are users whose changes are known. Rows that are looked up are known
// until they change.
type changingUsers struct {
	watchedUsers
	changes chan struct{}

	mu    sync.Mutex
	known map[userstore.Key]*userstore.User
	stale bool // changes aren't known
}

func newChangingUsers() *changingUsers {
	u := &changingUsers{changes: make(chan struct{}, 1), known: make(map[userstore.Key]*userstore.User)}
	u.gone, u.inert = make(map[userstore.Key]bool), make(map[userstore.Key]bool)
	return u
}

func (u *changingUsers) Kept(key userstore.Key) *userstore.User {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.known[key]
}

func (u *changingUsers) IsCurrent() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.stale
}

func (u *changingUsers) Changes() <-chan struct{} { return u.changes }

func (u *changingUsers) lookUpAndKeep(ctx context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, error) {
	found, err := u.lookUp(ctx, keys)
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, user := range found {
		u.known[key] = user
	}
	return found, err
}

// change changes a user's row, and reports that.
func (u *changingUsers) change(key userstore.Key, how func()) {
	u.set(how)
	u.mu.Lock()
	delete(u.known, key)
	u.mu.Unlock()
	select {
	case u.changes <- struct{}{}:
	default:
	}
}

func TestResponseEndsAsSoonAsItsUserChanges(t *testing.T) {
	key, other := userstore.ByPrimaryKey(token.IntKey(7)), userstore.ByPrimaryKey(token.IntKey(8))
	for _, test := range []struct {
		name  string
		after time.Duration // since the response began
	}{{"young", time.Millisecond}, {"old", time.Hour + time.Second}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				users := newChangingUsers()
				w := New(watchInterval, users.lookUpAndKeep, zap.NewNop())
				defer w.Stop()
				w.Follow(users)
				_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, time.Time{}, anyUser)
				defer done()
				_, others, othersDone := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), other, time.Time{}, anyUser)
				defer othersDone()
				time.Sleep(test.after)
				users.change(key, func() { users.inert[key] = true })
				after, why := endOf(r, time.Second)
				if why != error(Inactive) || after > youngest+10*leastPause {
					t.Errorf("ended after %s: %v, want %v at once", after, why, Inactive)
				}
				if others.Context().Err() != nil {
					t.Error("another user's response has ended")
				}
			})
		})
	}
}

// TestChangeDuringASlowLookupIsNoticedSoonAfterIt has the database take a tenth of a second.
func TestChangeDuringASlowLookupIsNoticedSoonAfterIt(t *testing.T) {
	const slow = 100 * time.Millisecond
	key, other := userstore.ByPrimaryKey(token.IntKey(7)), userstore.ByPrimaryKey(token.IntKey(8))
	synctest.Test(t, func(t *testing.T) {
		users := newChangingUsers()
		w := New(watchInterval, func(ctx context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, error) {
			time.Sleep(slow)
			return users.lookUpAndKeep(ctx, keys)
		}, zap.NewNop())
		defer w.Stop()
		w.Follow(users)
		_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, time.Time{}, anyUser)
		defer done()
		_, _, othersDone := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), other, time.Time{}, anyUser)
		defer othersDone()
		time.Sleep(time.Hour + time.Second)

		users.change(other, func() {})
		time.Sleep(slow / 2) // in the look for it
		users.change(key, func() { users.inert[key] = true })
		if after, why := endOf(r, time.Hour); why != error(Inactive) || after > slow/2+slow+2*leastPause {
			t.Errorf("ended after %s: %v, want %v after one more lookup", after, why, Inactive)
		}
	})
}

// TestManyResponsesAreLookedAtATenthOfTheTime bounds what changes without end cost.
func TestManyResponsesAreLookedAtATenthOfTheTime(t *testing.T) {
	t.Parallel()
	const many = 100_000
	for _, test := range []struct {
		look      time.Duration
		responses int
		want      time.Duration
	}{
		{10 * time.Microsecond, 1, leastPause},
		{100 * time.Millisecond, 1, leastPause},
		{100 * time.Millisecond, 10, 10 * pausePerResponse},
		{time.Millisecond, many, 9 * time.Millisecond},
		{100 * time.Millisecond, many, 900 * time.Millisecond},
	} {
		if got := pauseAfter(test.look, test.responses); got != test.want {
			t.Errorf("after a look of %s at %d responses, the pause is %s, want %s", test.look, test.responses, got, test.want)
		}
	}
}

// TestUnchangedUsersAreNotLookedUp has many changes of others.
func TestUnchangedUsersAreNotLookedUp(t *testing.T) {
	key, other := userstore.ByPrimaryKey(token.IntKey(7)), userstore.ByPrimaryKey(token.IntKey(8))
	synctest.Test(t, func(t *testing.T) {
		users := newChangingUsers()
		w := New(watchInterval, users.lookUpAndKeep, zap.NewNop())
		defer w.Stop()
		w.Follow(users)
		_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, time.Time{}, anyUser)
		defer done()
		time.Sleep(time.Second)
		before := users.count()
		for range 1000 {
			users.change(other, func() {})
			time.Sleep(time.Millisecond)
		}
		if n := users.count() - before; n != 0 {
			t.Errorf("%d lookups for the changes of another user", n)
		}

		// While changes aren't known, the interval decides.
		users.mu.Lock()
		users.stale = true
		users.mu.Unlock()
		users.change(key, func() { users.gone[key] = true })
		if after, why := endOf(r, time.Hour); why != error(Unknown) || after < time.Second {
			t.Errorf("ended after %s: %v, want %v at the end of the interval", after, why, Unknown)
		}
	})
}
