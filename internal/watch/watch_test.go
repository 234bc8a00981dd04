package watch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// watchedUsers is a store in which every user exists and is active, with the
// exceptions that it lists.
type watchedUsers struct {
	mu      sync.Mutex
	away    bool
	gone    map[userstore.Key]bool
	inert   map[userstore.Key]bool
	lookups [][]userstore.Key
}

func (u *watchedUsers) lookUp(ctx context.Context, keys []userstore.Key) (map[userstore.Key]*userstore.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lookups = append(u.lookups, slices.Clone(keys))
	if u.away {
		return nil, userstore.ErrUnavailable
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := make(map[userstore.Key]*userstore.User)
	for _, key := range keys {
		if !u.gone[key] {
			found[key] = &userstore.User{PrimaryKey: primaryOf(key), IsActive: !u.inert[key]}
		}
	}
	return found, nil
}

func primaryOf(key userstore.Key) token.PrimaryKey {
	pk, _ := key.PrimaryKey()
	return pk
}

func (u *watchedUsers) set(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
}

func (u *watchedUsers) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.lookups)
}

// state is the number of responses that are watched, and whether there is a
// goroutine for them.
func (w *Watcher) state() (long int, running bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.long), w.running
}

// anyUser is the condition of a response for any active user.
func anyUser(*userstore.User) Reason { return "" }

const watchInterval = 30 * time.Second

func newTestWatcher(t testing.TB, users *watchedUsers) *Watcher {
	w := New(watchInterval, users.lookUp, zap.NewNop())
	t.Cleanup(w.Stop)
	return w
}

// endOf waits until the request's context ends, and returns when and why.
func endOf(r *http.Request, within time.Duration) (after time.Duration, why error) {
	start := time.Now()
	select {
	case <-r.Context().Done():
		return time.Since(start), context.Cause(r.Context())
	case <-time.After(within):
		return 0, nil
	}
}

func TestWatchEndsResponsesOfRefusedUsers(t *testing.T) {
	key, other := userstore.ByPrimaryKey(token.IntKey(7)), userstore.ByPrimaryKey(token.IntKey(8))
	tests := []struct {
		name   string
		users  *watchedUsers // all are there if nil
		until  time.Duration // 0 for none
		why    func(*userstore.User) Reason
		stop   bool
		cause  error // nil for a response that goes on
		after  time.Duration
		lookup bool
	}{
		{name: "nothing happens", lookup: true},
		{name: "another user is deleted", users: &watchedUsers{gone: map[userstore.Key]bool{other: true}}, lookup: true},
		{name: "deleted", users: &watchedUsers{gone: map[userstore.Key]bool{key: true}}, cause: Unknown, after: watchInterval, lookup: true},
		{name: "deactivated", users: &watchedUsers{inert: map[userstore.Key]bool{key: true}}, cause: Inactive, after: watchInterval, lookup: true},
		{name: "new password", why: func(*userstore.User) Reason { return Changed }, cause: Changed, after: watchInterval, lookup: true},
		{name: "out of a group", why: func(*userstore.User) Reason { return Forbidden }, cause: Forbidden, after: watchInterval, lookup: true},
		{
			name: "the row of the right user", lookup: true,
			why: func(u *userstore.User) Reason {
				if userstore.ByPrimaryKey(u.PrimaryKey) != key {
					return Changed
				}
				return ""
			},
		},
		{name: "an outage", users: &watchedUsers{away: true, gone: map[userstore.Key]bool{key: true}}, lookup: true},
		{name: "stopped", users: &watchedUsers{gone: map[userstore.Key]bool{key: true}}, stop: true},

		{name: "over soon", until: 7 * time.Millisecond, cause: Over, after: 7 * time.Millisecond},
		{name: "over already", until: -time.Hour, cause: Over},
		{name: "over after an interval", until: watchInterval, cause: Over, after: watchInterval},
		{name: "over between lookups", until: watchInterval*5/2 + 1, cause: Over, after: watchInterval*5/2 + 1, lookup: true},
		{name: "over in an outage", users: &watchedUsers{away: true}, until: watchInterval * 3 / 2, cause: Over, after: watchInterval * 3 / 2, lookup: true},
		{name: "over after stop", stop: true, until: watchInterval * 3 / 2, cause: Over, after: watchInterval * 3 / 2},
		{name: "deleted before it is over", users: &watchedUsers{gone: map[userstore.Key]bool{key: true}}, until: watchInterval * 2, cause: Unknown, after: watchInterval, lookup: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// Within the bubble, time passes when all goroutines wait, and no
			// goroutine may be left at the end.
			synctest.Test(t, func(t *testing.T) {
				users := test.users
				if users == nil {
					users = &watchedUsers{}
				}
				w := newTestWatcher(t, users)
				if test.stop {
					w.Stop()
				}
				var until time.Time
				if test.until != 0 {
					until = time.Now().Add(test.until)
				}
				why := test.why
				if why == nil {
					why = anyUser
				}
				_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, until, why)
				after, cause := endOf(r, 10*watchInterval)
				if cause != test.cause || after != test.after {
					t.Errorf("ended after %s: %v; want after %s: %v", after, cause, test.after, test.cause)
				}
				if test.cause != nil && !errors.Is(cause, context.Canceled) {
					t.Error("the reverse proxy won't take it for a cancellation")
				}
				if looked := users.count() > 0; looked != test.lookup {
					t.Errorf("looked up: %t, want %t", looked, test.lookup)
				}
				done()
				done() // changes nothing
				if r.Context().Err() == nil {
					t.Error("the context is left open")
				}
				if n, _ := w.state(); n > 0 {
					t.Errorf("%d responses are left", n)
				}
			})
		})
	}
}

// TestWatchEndsResponseWhenTheUserChangesDuringIt checks changes of a user's
// row during a response.
func TestWatchEndsResponseWhenTheUserChangesDuringIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := userstore.ByPrimaryKey(token.StringKey("alice"))
		users := &watchedUsers{away: true}
		w := newTestWatcher(t, users)
		_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, time.Time{}, anyUser)
		defer done()
		if _, cause := endOf(r, 5*watchInterval); cause != nil {
			t.Fatal(cause)
		}
		users.set(func() { users.inert = map[userstore.Key]bool{key: true} })
		if _, cause := endOf(r, 5*watchInterval); cause != nil {
			t.Fatalf("ended, though it can't be known: %v", cause)
		}
		users.set(func() { users.away = false })
		if after, cause := endOf(r, 5*watchInterval); cause != Inactive || after > watchInterval {
			t.Errorf("ended after %s: %v", after, cause)
		}
	})
}

func TestWatchLooksUpAllUsersInOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := &watchedUsers{}
		w := newTestWatcher(t, users)
		var finish []func()
		for i := range 1000 {
			_, _, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), userstore.ByPrimaryKey(token.IntKey(int64(i%100))), time.Time{}, anyUser)
			finish = append(finish, done)
			_, _, short := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), userstore.ByPrimaryKey(token.IntKey(-1)), time.Time{}, anyUser)
			short()
		}
		if n, running := w.state(); users.count() > 0 || running || n > 0 {
			t.Error("what has only just begun is looked up already")
		}
		<-time.After(4*watchInterval + time.Second)
		// The first of them begins the lookups; the rest are in the next.
		if n := users.count(); n != 4 {
			t.Errorf("%d lookups in three intervals and at their beginning", n)
		}
		for i, keys := range users.lookups[1:] {
			slices.SortFunc(keys, func(a, b userstore.Key) int { return int(primaryOf(a).Int() - primaryOf(b).Int()) })
			if len(slices.Compact(keys)) != 100 || keys[0] != userstore.ByPrimaryKey(token.IntKey(0)) {
				t.Errorf("lookup %d is of %d keys, want 100 of 1000 responses", i+1, len(keys))
			}
		}
		for _, done := range finish[:999] {
			done()
		}
		<-time.After(watchInterval)
		if n := users.count(); n != 5 || len(users.lookups[4]) != 1 {
			t.Errorf("%d lookups, the last of %v", n, users.lookups[n-1])
		}
		finish[999]()
		<-time.After(5 * watchInterval)
		if n, running := w.state(); users.count() != 5 || running || n > 0 {
			t.Errorf("%d lookups, running %t, though nothing is left", users.count(), running)
		}

		// And again.
		_, _, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), userstore.ByPrimaryKey(token.IntKey(1)), time.Time{}, anyUser)
		<-time.After(watchInterval + time.Second)
		if n := users.count(); n != 6 {
			t.Errorf("%d lookups, want one more", n)
		}
		done()
	})
}

func TestClientThatGoesAwayKeepsItsOwnCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWatcher(t, &watchedUsers{})
		client, hangUp := context.WithCancel(t.Context())
		_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(client), userstore.ByPrimaryKey(token.IntKey(1)), time.Time{}, anyUser)
		defer done()
		hangUp()
		if after, cause := endOf(r, watchInterval); after > 0 || cause != context.Canceled {
			t.Errorf("after %s: %v", after, cause)
		}
	})
}

// TestWatchCutsOffResponsesOfHandlersThatIgnoreTheContext writes on after the
// end.
func TestWatchCutsOffResponsesOfHandlersThatIgnoreTheContext(t *testing.T) {
	const whole = 5 << 20
	const unwritten = 32 << 10 // what io.Copy has read when the response ends
	write := func(w io.Writer, from io.Reader) (err error) {
		for err == nil {
			_, err = io.CopyN(struct{ io.Writer }{w}, from, 1<<20)
		}
		return err
	}
	readFrom := func(w io.Writer, from io.Reader) error {
		_, err := w.(io.ReaderFrom).ReadFrom(from)
		return err
	}
	limited := func(w io.Writer, from io.Reader) error {
		_, err := w.(io.ReaderFrom).ReadFrom(io.LimitReader(from, whole))
		return err
	}
	for _, test := range []struct {
		name  string
		gone  bool
		until time.Duration
		after int64 // how much is sent before an interval is over
		send  func(io.Writer, io.Reader) error
		want  int
		cut   bool
	}{
		{"written, to the end", false, time.Hour, 1 << 20, write, whole, false},
		{"written, the user is gone", true, time.Hour, 3 << 20, write, 3<<20 - unwritten, true},
		{"written, the session is over", false, time.Second, 2 << 20, write, 2<<20 - unwritten, true},
		{"read from a file, to the end", false, time.Hour, 1 << 20, readFrom, whole, false},
		{"read from a file, the user is gone", true, time.Hour, 1 << 20, readFrom, 1 << 20, true},
		{"read from a part of a file, to the end", false, time.Hour, 1 << 20, limited, whole, false},
		{"read from a part of a file, the user is gone", true, time.Hour, 4 << 20, limited, 4 << 20, true},
		{"ended when all is written", true, time.Hour, whole, limited, whole, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := userstore.ByPrimaryKey(token.IntKey(1))
				watch := newTestWatcher(t, &watchedUsers{gone: map[userstore.Key]bool{key: test.gone}})
				recorder := httptest.NewRecorder()
				w, r, done := watch.Guard(recorder, httptest.NewRequest(http.MethodGet, "/", nil), key, time.Now().Add(test.until), anyUser)
				source := &pausingReader{left: whole, pause: whole - test.after, until: func() { endOf(r, 2*watchInterval) }}
				err := test.send(w, source)
				if cut := errors.Is(err, context.Canceled); cut != test.cut {
					t.Errorf("%v", err)
				}
				if n := recorder.Body.Len(); n != test.want {
					t.Errorf("%d bytes are written, want %d", n, test.want)
				}
				defer func() {
					if aborted := recover() == http.ErrAbortHandler; aborted != test.cut {
						t.Errorf("aborted: %t, want %t", aborted, test.cut)
					}
				}()
				done()
			})
		})
	}
}

// pausingReader reads zeros, and waits when so many are left.
type pausingReader struct {
	left, pause int64
	until       func()
}

func (p *pausingReader) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.left)
	if p.left > p.pause {
		n = min(n, p.left-p.pause)
	}
	p.left -= n
	if p.left == p.pause {
		p.until()
	}
	clear(b[:n])
	return int(n), nil
}

// TestWatchesEndAndStartAtTheSameTime begins and ends responses concurrently
// in all ways, for the race detector.
func TestWatchesEndAndStartAtTheSameTime(t *testing.T) {
	before := runtime.NumGoroutine()
	bad, good := userstore.ByPrimaryKey(token.IntKey(1)), userstore.ByPrimaryKey(token.IntKey(2))
	users := &watchedUsers{inert: map[userstore.Key]bool{bad: true}}
	w := New(time.Millisecond, users.lookUp, zap.NewNop())
	var wrong atomic.Int64
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for n := range 300 {
				key, until := good, time.Time{}
				if (i+n)%3 == 0 {
					key = bad
				}
				if n%5 == 0 {
					until = time.Now().Add(time.Duration(n%4) * time.Millisecond)
				}
				_, r, done := w.Guard(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, until, anyUser)
				var cause error
				if n%7 == 0 || key == bad && n%2 == 0 {
					_, cause = endOf(r, time.Duration(n%7)*time.Millisecond)
				}
				if key == good && cause != nil && (cause != Over || until.IsZero()) {
					wrong.Add(1)
				}
				done()
			}
		})
	}
	all.Wait()
	w.Stop()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d responses were ended for another's reason", n)
	}
	awaitNoMore(t, "goroutines", runtime.NumGoroutine, before)
	if n, _ := w.state(); n > 0 {
		t.Errorf("%d responses are left", n)
	}
}

// awaitNoMore waits until there are no more of something than before.
func awaitNoMore(t *testing.T, what string, count func() int, before int) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for count() > before {
		select {
		case <-poll.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d %s, and %d before\n%s", count(), what, before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
