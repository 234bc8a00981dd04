package watch

import (
	"bufio"
	"bytes"
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
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// guardingHandler is a Caddy handler that only guards responses.
type guardingHandler struct{}

// guarding configures guardingHandler. Only one Caddy runs at a time.
var guarding struct {
	watcher *Watcher
	done    chan struct{}
}

func (guardingHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_guarding", New: func() caddy.Module { return guardingHandler{} }}
}

func (guardingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	defer func() { guarding.done <- struct{}{} }()
	w, r, done := guarding.watcher.Guard(w, r, userstore.ByPrimaryKey(token.IntKey(1)), time.Time{}, anyUser)
	defer done()
	return next.ServeHTTP(w, r)
}

func init() { caddy.RegisterModule(guardingHandler{}) }

// startGuarding runs a Caddy that guards responses with a short interval, in
// front of the upstream and a directory.
func startGuarding(t *testing.T, users *watchedUsers, upstream http.HandlerFunc, dir string) (addr string) {
	t.Helper()
	guarding.watcher = New(20*time.Millisecond, users.lookUp, zap.NewNop())
	guarding.done = make(chan struct{}, 100)
	t.Cleanup(guarding.watcher.Stop)
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

// slowUpstream answers slowly, in several ways.
type slowUpstream struct {
	busy, seen atomic.Int64 // requests in progress, and in total
}

func (u *slowUpstream) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ready" {
		return
	}
	u.busy.Add(1)
	defer u.busy.Add(-1)
	u.seen.Add(1)
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

func get(client *http.Client, addr, path string) (*http.Response, error) {
	return client.Get("http://" + addr + path)
}

// watchedResponses each begin a request, and return a function that waits
// until the client sees its end, and returns an error if the end is wrong.
var watchedResponses = []struct {
	name     string
	h2       bool
	upstream bool
	begin    func(client *http.Client, addr string) (func() error, error)
}{
	{"WebSocket", false, true, openWebSocket},
	{"event stream", false, true, eventStream(get)},
	{"event stream over HTTP/2", true, true, eventStream(get)},
	{"long poll", false, true, longPoll},
	{"upload", false, true, sendUpload},
	{"proxied download", false, true, download(get, "/endless")},
	{"proxied download over HTTP/2", true, true, download(get, "/endless")},
	{"download", false, false, download(get, "/files/large")},
	{"download over HTTP/2", true, false, download(get, "/files/large")},
}

// openWebSocket opens a WebSocket that echoes.
func openWebSocket(_ *http.Client, addr string) (func() error, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
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
}

// longPoll sends a request that waits for its answer.
func longPoll(client *http.Client, addr string) (func() error, error) {
	answers := make(chan error, 1)
	go func() {
		answer, err := get(client, addr, "/poll")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode != 499 {
				err = errors.New(answer.Status)
			}
		}
		answers <- err
	}()
	return func() error { return <-answers }, nil
}

// sendUpload sends an endless body.
func sendUpload(client *http.Client, addr string) (func() error, error) {
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
	// Until the server stops reading. net/http reads a little itself before it
	// closes the connection.
	go func() {
		piece := strings.Repeat("x", 16<<10)
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for err := error(nil); err == nil; _, err = io.WriteString(pipe, piece) {
			<-pace.C
		}
	}()
	return func() error { return <-answers }, nil
}

// TestWatchEndsResponsesOfTheReverseProxy ends real responses while Caddy
// sends them, and checks that both sides notice and that no goroutine is left.
func TestWatchEndsResponsesOfTheReverseProxy(t *testing.T) {
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

	var upstream slowUpstream

	for _, test := range watchedResponses {
		t.Run(test.name, func(t *testing.T) {
			users := &watchedUsers{}
			addr := startGuarding(t, users, upstream.serve, dir)
			transport := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(!test.h2)
			transport.Protocols.SetUnencryptedHTTP2(test.h2)
			client := &http.Client{Timeout: time.Minute, Transport: transport}
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
			seen := upstream.seen.Load()

			wait, err := test.begin(client, addr)
			if err != nil {
				t.Fatal(err)
			}
			lookups := users.count()
			poll := time.NewTicker(5 * time.Millisecond)
			defer poll.Stop()
			deadline := time.After(time.Minute)
			for users.count() < lookups+3 {
				select {
				case <-poll.C:
				case <-guarding.done:
					t.Fatal("the response ended by itself")
				case <-deadline:
					t.Fatal("nothing is looked up")
				}
			}
			users.set(func() { users.gone = map[userstore.Key]bool{userstore.ByPrimaryKey(token.IntKey(1)): true} })
			if err := wait(); err != nil {
				t.Error(err)
			}
			select {
			case <-guarding.done:
			case <-time.After(time.Minute):
				t.Fatal("the handler is still at work")
			}
			if test.upstream && upstream.seen.Load()-seen != 1 {
				t.Errorf("the upstream got %d requests, want 1", upstream.seen.Load()-seen)
			}
			transport.CloseIdleConnections()
			awaitNoMore(t, "requests at the upstream", func() int { return int(upstream.busy.Load()) }, 0)
			awaitNoMore(t, "goroutines", runtime.NumGoroutine, before)
			// The ends didn't count as failures of the upstream.
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

// download begins a download, and continues reading only when the response is
// about to be ended.
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
