package sesame

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// watchedUsers is a store of users that are there and active unless it says
// otherwise.
type watchedUsers struct {
	mu      sync.Mutex
	away    bool
	gone    map[token.PrimaryKey]bool
	inert   map[token.PrimaryKey]bool
	lookups [][]token.PrimaryKey
}

func (u *watchedUsers) lookUp(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lookups = append(u.lookups, slices.Clone(keys))
	if u.away {
		return nil, userstore.ErrUnavailable
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := make(map[token.PrimaryKey]*userstore.User)
	for _, key := range keys {
		if !u.gone[key] {
			found[key] = &userstore.User{PrimaryKey: key, IsActive: !u.inert[key]}
		}
	}
	return found, nil
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
func (w *watcher) state() (long int, running bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.long), w.running
}

// anyUser is the condition of a response that is any active user's.
func anyUser(*userstore.User) ended { return "" }

const watchInterval = 30 * time.Second

func newTestWatcher(t testing.TB, users *watchedUsers) *watcher {
	w := newWatcher(watchInterval, users.lookUp, zap.NewNop())
	t.Cleanup(w.stop)
	return w
}

// endOf waits until the request's context ends, and tells when and why.
func endOf(r *http.Request, within time.Duration) (after time.Duration, why error) {
	start := time.Now()
	select {
	case <-r.Context().Done():
		return time.Since(start), context.Cause(r.Context())
	case <-time.After(within):
		return 0, nil
	}
}

func TestWatchEnds(t *testing.T) {
	key, other := token.IntKey(7), token.IntKey(8)
	tests := []struct {
		name   string
		users  *watchedUsers // all are there if nil
		until  time.Duration // 0 for none
		why    func(*userstore.User) ended
		stop   bool
		cause  error // nil for a response that goes on
		after  time.Duration
		lookup bool
	}{
		{name: "nothing happens", lookup: true},
		{name: "another user is deleted", users: &watchedUsers{gone: map[token.PrimaryKey]bool{other: true}}, lookup: true},
		{name: "deleted", users: &watchedUsers{gone: map[token.PrimaryKey]bool{key: true}}, cause: endedUnknown, after: watchInterval, lookup: true},
		{name: "deactivated", users: &watchedUsers{inert: map[token.PrimaryKey]bool{key: true}}, cause: endedInactive, after: watchInterval, lookup: true},
		{name: "new password", why: func(*userstore.User) ended { return endedChanged }, cause: endedChanged, after: watchInterval, lookup: true},
		{name: "out of a group", why: func(*userstore.User) ended { return endedForbids }, cause: endedForbids, after: watchInterval, lookup: true},
		{
			name: "the row of the right user", lookup: true,
			why: func(u *userstore.User) ended {
				if u.PrimaryKey != key {
					return endedChanged
				}
				return ""
			},
		},
		{name: "an outage", users: &watchedUsers{away: true, gone: map[token.PrimaryKey]bool{key: true}}, lookup: true},
		{name: "stopped", users: &watchedUsers{gone: map[token.PrimaryKey]bool{key: true}}, stop: true},

		{name: "over soon", until: 7 * time.Millisecond, cause: endedOver, after: 7 * time.Millisecond},
		{name: "over already", until: -time.Hour, cause: endedOver},
		{name: "over after an interval", until: watchInterval, cause: endedOver, after: watchInterval},
		{name: "over between lookups", until: watchInterval*5/2 + 1, cause: endedOver, after: watchInterval*5/2 + 1, lookup: true},
		{name: "over in an outage", users: &watchedUsers{away: true}, until: watchInterval * 3 / 2, cause: endedOver, after: watchInterval * 3 / 2, lookup: true},
		{name: "over after stop", stop: true, until: watchInterval * 3 / 2, cause: endedOver, after: watchInterval * 3 / 2},
		{name: "deleted before it is over", users: &watchedUsers{gone: map[token.PrimaryKey]bool{key: true}}, until: watchInterval * 2, cause: endedUnknown, after: watchInterval, lookup: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// Time passes when all wait for it, and nothing may be left at the end.
			synctest.Test(t, func(t *testing.T) {
				users := test.users
				if users == nil {
					users = &watchedUsers{}
				}
				w := newTestWatcher(t, users)
				if test.stop {
					w.stop()
				}
				var until time.Time
				if test.until != 0 {
					until = time.Now().Add(test.until)
				}
				why := test.why
				if why == nil {
					why = anyUser
				}
				_, r, done := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, until, why)
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

// TestWatchEndsLater is about what happens to a user while a response goes on.
func TestWatchEndsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := token.StringKey("alice")
		users := &watchedUsers{away: true}
		w := newTestWatcher(t, users)
		_, r, done := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, time.Time{}, anyUser)
		defer done()
		if _, cause := endOf(r, 5*watchInterval); cause != nil {
			t.Fatal(cause)
		}
		users.set(func() { users.inert = map[token.PrimaryKey]bool{key: true} })
		if _, cause := endOf(r, 5*watchInterval); cause != nil {
			t.Fatalf("ended, though it can't be known: %v", cause)
		}
		users.set(func() { users.away = false })
		if after, cause := endOf(r, 5*watchInterval); cause != endedInactive || after > watchInterval {
			t.Errorf("ended after %s: %v", after, cause)
		}
	})
}

func TestWatchLooksUpTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := &watchedUsers{}
		w := newTestWatcher(t, users)
		var finish []func()
		for i := range 1000 {
			_, _, done := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), token.IntKey(int64(i%100)), time.Time{}, anyUser)
			finish = append(finish, done)
			_, _, short := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), token.IntKey(-1), time.Time{}, anyUser)
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
			slices.SortFunc(keys, func(a, b token.PrimaryKey) int { return int(a.Int() - b.Int()) })
			if len(slices.Compact(keys)) != 100 || keys[0] != token.IntKey(0) {
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
		_, _, done := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), token.IntKey(1), time.Time{}, anyUser)
		<-time.After(watchInterval + time.Second)
		if n := users.count(); n != 6 {
			t.Errorf("%d lookups, want one more", n)
		}
		done()
	})
}

func TestWatchKeepsTheClientsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestWatcher(t, &watchedUsers{})
		client, hangUp := context.WithCancel(t.Context())
		_, r, done := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(client), token.IntKey(1), time.Time{}, anyUser)
		defer done()
		hangUp()
		if after, cause := endOf(r, watchInterval); after > 0 || cause != context.Canceled {
			t.Errorf("after %s: %v", after, cause)
		}
	})
}

// TestWatchCutsResponsesOff has handlers that don't mind the context.
func TestWatchCutsResponsesOff(t *testing.T) {
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
				key := token.IntKey(1)
				watch := newTestWatcher(t, &watchedUsers{gone: map[token.PrimaryKey]bool{key: test.gone}})
				recorder := httptest.NewRecorder()
				w, r, done := watch.guardResponse(recorder, httptest.NewRequest(http.MethodGet, "/", nil), key, time.Now().Add(test.until), anyUser)
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

// TestWatchAtOnce has all that can happen happen at the same time, for the race
// detector.
func TestWatchAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	bad, good := token.IntKey(1), token.IntKey(2)
	users := &watchedUsers{inert: map[token.PrimaryKey]bool{bad: true}}
	w := newWatcher(time.Millisecond, users.lookUp, zap.NewNop())
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
				_, r, done := w.guardResponse(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), key, until, anyUser)
				var cause error
				if n%7 == 0 || key == bad && n%2 == 0 {
					_, cause = endOf(r, time.Duration(n%7)*time.Millisecond)
				}
				if key == good && cause != nil && (cause != endedOver || until.IsZero()) {
					wrong.Add(1)
				}
				done()
			}
		})
	}
	all.Wait()
	w.stop()
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
	deadline := time.After(15 * time.Second)
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

// guardingHandler is a Caddy handler that does nothing but guard responses.
type guardingHandler struct{}

// guarding is what it guards them with. There is one Caddy at a time.
var guarding struct {
	watcher *watcher
	done    chan struct{}
}

func (guardingHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_guarding", New: func() caddy.Module { return guardingHandler{} }}
}

func (guardingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	defer func() { guarding.done <- struct{}{} }()
	w, r, done := guarding.watcher.guardResponse(w, r, token.IntKey(1), time.Time{}, anyUser)
	defer done()
	return next.ServeHTTP(w, r)
}

func init() { caddy.RegisterModule(guardingHandler{}) }

// startGuarding runs a Caddy that guards responses with a short interval, in
// front of the upstream and a directory.
func startGuarding(t *testing.T, users *watchedUsers, upstream http.HandlerFunc, dir string) (addr string) {
	t.Helper()
	guarding.watcher = newWatcher(20*time.Millisecond, users.lookUp, zap.NewNop())
	guarding.done = make(chan struct{}, 100)
	t.Cleanup(guarding.watcher.stop)
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = listener.Addr().String()
	_ = listener.Close()

	type object = map[string]any
	config, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "PANIC"}}},
		"apps": object{"http": object{"servers": object{"s": object{
			"listen":          []string{addr},
			"protocols":       []string{"h1", "h2c"},
			"automatic_https": object{"disable": true},
			"routes": []object{
				{"handle": []object{{"handler": "test_guarding"}}},
				{"match": []object{{"path": []string{"/files/*"}}}, "handle": []object{{"handler": "file_server", "root": dir}}},
				{"handle": []object{{
					"handler":        "reverse_proxy",
					"upstreams":      []object{{"dial": up.Listener.Addr().String()}},
					"transport":      object{"protocol": "http", "keep_alive": object{"enabled": false}},
					"load_balancing": object{"try_duration": "5s", "try_interval": "1ms"},
					"health_checks":  object{"passive": object{"fail_duration": "10m"}},
				}}},
			},
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return addr
}

// TestWatchWithTheReverseProxy ends real responses that Caddy is in the middle
// of, and checks that both sides notice and nothing is left.
func TestWatchWithTheReverseProxy(t *testing.T) {
	const size = 1 << 36 // more than can be sent while the test runs
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "large"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "files", "large"), size); err != nil {
		t.Fatal(err)
	}

	var upstreamBusy, upstreamSeen atomic.Int64
	upstream := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" {
			return
		}
		upstreamBusy.Add(1)
		defer upstreamBusy.Add(-1)
		upstreamSeen.Add(1)
		controller := http.NewResponseController(w)
		switch r.URL.Path {
		case "/ws":
			conn, buffered, err := controller.Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(conn, buffered)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = controller.Flush()
			<-r.Context().Done()
		case "/poll":
			<-r.Context().Done()
		case "/endless":
			for piece := make([]byte, 1<<16); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		case "/upload":
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}

	// Each begins a request, and returns what waits for its end as the client
	// sees it, which is an error where something is wrong.
	get := func(client *http.Client, addr, path string) (*http.Response, error) {
		return client.Get("http://" + addr + path)
	}
	tests := []struct {
		name     string
		h2       bool
		upstream bool
		begin    func(client *http.Client, addr string) (func() error, error)
	}{
		{"WebSocket", false, true, func(_ *http.Client, addr string) (func() error, error) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return nil, err
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", addr)
			from := bufio.NewReader(conn)
			answer, err := http.ReadResponse(from, nil)
			if err != nil {
				return nil, err
			}
			if answer.StatusCode != http.StatusSwitchingProtocols {
				return nil, errors.New(answer.Status)
			}
			echo := make([]byte, 5)
			_, _ = io.WriteString(conn, "hello")
			if _, err := io.ReadFull(from, echo); err != nil {
				return nil, err
			}
			return func() error {
				defer conn.Close()
				if rest, err := io.ReadAll(from); len(rest) > 0 || err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
					return fmt.Errorf("read %q, %w, want the end", rest, err)
				}
				return nil
			}, nil
		}},
		{"event stream", false, true, eventStream(get)},
		{"event stream over HTTP/2", true, true, eventStream(get)},
		{"long poll", false, true, func(client *http.Client, addr string) (func() error, error) {
			answers := make(chan error, 1)
			go func() {
				answer, err := get(client, addr, "/poll")
				if err == nil {
					_ = answer.Body.Close()
					if answer.StatusCode != statusClientClosed {
						err = errors.New(answer.Status)
					}
				}
				answers <- err
			}()
			return func() error { return <-answers }, nil
		}},
		{"upload", false, true, func(client *http.Client, addr string) (func() error, error) {
			body, pipe := io.Pipe()
			answers := make(chan error, 1)
			go func() {
				answer, err := client.Post("http://"+addr+"/upload", "text/plain", body)
				if err == nil {
					_ = answer.Body.Close()
					if answer.StatusCode == http.StatusOK {
						answers <- errors.New("it was taken")
						return
					}
				}
				answers <- nil
			}()
			// Until nobody reads it. net/http reads a little itself before it
			// gives up the connection.
			go func() {
				piece := strings.Repeat("x", 16<<10)
				pace := time.NewTicker(2 * time.Millisecond)
				defer pace.Stop()
				for err := error(nil); err == nil; _, err = io.WriteString(pipe, piece) {
					<-pace.C
				}
			}()
			return func() error { return <-answers }, nil
		}},
		{"proxied download", false, true, download(get, "/endless")},
		{"proxied download over HTTP/2", true, true, download(get, "/endless")},
		{"download", false, false, download(get, "/files/large")},
		{"download over HTTP/2", true, false, download(get, "/files/large")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			users := &watchedUsers{}
			addr := startGuarding(t, users, upstream, dir)
			transport := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(!test.h2)
			transport.Protocols.SetUnencryptedHTTP2(test.h2)
			client := &http.Client{Timeout: 20 * time.Second, Transport: transport}
			ready := func() error {
				answer, err := get(client, addr, "/ready")
				if err != nil {
					return err
				}
				_ = answer.Body.Close()
				<-guarding.done
				if answer.StatusCode != http.StatusOK {
					return errors.New(answer.Status)
				}
				return nil
			}
			if err := ready(); err != nil {
				t.Fatal(err)
			}
			transport.CloseIdleConnections()
			before := runtime.NumGoroutine()
			seen := upstreamSeen.Load()

			wait, err := test.begin(client, addr)
			if err != nil {
				t.Fatal(err)
			}
			lookups := users.count()
			poll := time.NewTicker(5 * time.Millisecond)
			defer poll.Stop()
			deadline := time.After(15 * time.Second)
			for users.count() < lookups+3 {
				select {
				case <-poll.C:
				case <-guarding.done:
					t.Fatal("the response ended by itself")
				case <-deadline:
					t.Fatal("nothing is looked up")
				}
			}
			users.set(func() { users.gone = map[token.PrimaryKey]bool{token.IntKey(1): true} })
			if err := wait(); err != nil {
				t.Error(err)
			}
			select {
			case <-guarding.done:
			case <-time.After(15 * time.Second):
				t.Fatal("the handler is still at work")
			}
			if test.upstream && upstreamSeen.Load()-seen != 1 {
				t.Errorf("the upstream got %d requests, want 1", upstreamSeen.Load()-seen)
			}
			transport.CloseIdleConnections()
			awaitNoMore(t, "requests at the upstream", func() int { return int(upstreamBusy.Load()) }, 0)
			awaitNoMore(t, "goroutines", runtime.NumGoroutine, before)
			// None of it was the upstream's fault.
			if err := ready(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func eventStream(get func(client *http.Client, addr, path string) (*http.Response, error)) func(client *http.Client, addr string) (func() error, error) {
	return func(client *http.Client, addr string) (func() error, error) {
		answer, err := get(client, addr, "/events")
		if err != nil {
			return nil, err
		}
		first := make([]byte, 9)
		if _, err := io.ReadFull(answer.Body, first); err != nil {
			return nil, err
		}
		return func() error {
			defer answer.Body.Close()
			rest, err := io.ReadAll(answer.Body)
			if err == nil || len(rest) > 0 {
				return fmt.Errorf("read %q, %w, want a stream that is cut off", rest, err)
			}
			return nil
		}, nil
	}
}

// download begins a download, and reads on only when it is about to be ended.
func download(get func(client *http.Client, addr, path string) (*http.Response, error), path string) func(client *http.Client, addr string) (func() error, error) {
	return func(client *http.Client, addr string) (func() error, error) {
		answer, err := get(client, addr, path)
		if err != nil {
			return nil, err
		}
		first := make([]byte, 1000)
		if _, err := io.ReadFull(answer.Body, first); err != nil {
			return nil, err
		}
		if !bytes.Equal(first, make([]byte, 1000)) {
			return nil, errors.New(strings.ToValidUTF8(string(first), "?"))
		}
		return func() error {
			defer answer.Body.Close()
			n, err := io.Copy(io.Discard, answer.Body)
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("read %d bytes more, %w, want an answer that is cut off", n, err)
			}
			return nil
		}, nil
	}
}

// BenchmarkGuard is what a short response pays.
func BenchmarkGuard(b *testing.B) {
	w := newTestWatcher(b, &watchedUsers{})
	connection, cancel := context.WithCancel(b.Context())
	defer cancel()
	type name int
	request := func() (*http.Request, context.CancelFunc) {
		ctx, cancel := context.WithCancel(connection)
		for i := range name(8) { // about what Caddy puts into it
			ctx = context.WithValue(ctx, i, i)
		}
		return httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), cancel
	}
	until := time.Now().Add(time.Hour)
	for _, bench := range []struct {
		name  string
		until time.Time
	}{{"Token", time.Time{}}, {"Session", until}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r, cancel := request()
				defer cancel()
				writer := httptest.NewRecorder()
				for pb.Next() {
					_, _, done := w.guardResponse(writer, r, token.IntKey(1), bench.until, anyUser)
					done()
				}
			})
		})
	}
	// A new request each time, as it is: its context has no children yet.
	b.Run("FirstOfRequest", func(b *testing.B) {
		b.ReportAllocs()
		writer := httptest.NewRecorder()
		parents := make([]*http.Request, 0, 1000)
		for b.Loop() {
			if len(parents) == 0 {
				b.StopTimer()
				for range 1000 {
					r, cancel := request()
					b.Cleanup(cancel)
					parents = append(parents, r)
				}
				b.StartTimer()
			}
			r := parents[len(parents)-1]
			parents = parents[:len(parents)-1]
			_, _, done := w.guardResponse(writer, r, token.IntKey(1), until, anyUser)
			done()
		}
	})
}

// BenchmarkGuardLong is the memory of a response that is watched, and what it
// takes to look through all of them.
func BenchmarkGuardLong(b *testing.B) {
	const n = 10_000
	w := newWatcher(time.Nanosecond, nil, zap.NewNop())
	w.stop() // no lookups by the clock
	writer, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	open := make([]*http.Request, n)
	for i := range n {
		_, guarded, done := w.guardResponse(writer, r, token.IntKey(int64(i)), time.Now().Add(time.Hour), anyUser)
		defer done()
		open[i] = guarded
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for len(w.open()) < n {
		<-poll.C
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perResponse := float64(after.HeapAlloc-before.HeapAlloc) / n
	runtime.KeepAlive(open)
	all := make(map[token.PrimaryKey]*userstore.User)
	for i := range n {
		all[token.IntKey(int64(i))] = &userstore.User{IsActive: true}
	}
	w.lookup = func(context.Context, []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error) {
		return all, nil
	}
	for b.Loop() {
		w.check()
	}
	b.ReportMetric(perResponse, "B/response")
}
