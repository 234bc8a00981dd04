package sesame_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
)

// startOnSocket runs a gateway that listens on a Unix socket, whose listener Caddy
// hands from one configuration to the next. A listener of a TCP port is replaced,
// and Linux resets the connections that wait at it. With a socket, too, a server
// that is being shut down closes some connections unread, in any Caddy; it has begun
// no request of theirs, and clients send the request again.
//
// The function closes the client's connections. Of those that were dialed and not
// used, a server that is being shut down waits for requests, for seconds.
func startOnSocket(t *testing.T, db *database, up *upstream, s *site) (*gateway, *http.Client, func()) {
	t.Helper()
	var dialed sync.Map
	socket := filepath.Join(t.TempDir(), "s")
	s.before = "bind unix/" + socket
	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	if err := tryCaddyfile(g.caddyfile(db, up, *s)); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 16,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
				if err == nil {
					dialed.Store(conn, true)
				}
				return conn, err
			},
		},
	}
	return g, client, func() {
		dialed.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
	}
}

// ask sends a request with a token, and returns the status.
func ask(client *http.Client, g *gateway, token string, isLast bool) (status int, err error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+g.addr+"/?sesame="+token, nil)
	if err != nil {
		return 0, err
	}
	request.Close = isLast
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode, err
}

// reloadUnderLoad loads a configuration so many times, while clients ask over
// connections that they keep and over new ones, and then stops Caddy.
func reloadUnderLoad(t *testing.T, db *database, up *upstream, times int) {
	t.Helper()
	s := site{
		options: "session\ncache 5s\nlimit_failures " + ownLimit("20 per 1m2s"), logLevel: "ERROR",
		// No reverse_proxy: its idle connections to the upstream keep a former
		// configuration in memory for two minutes, in any Caddy.
		after: "respond {http.auth.user.username}",
	}
	g, client, hangUp := startOnSocket(t, db, up, &s)
	valid := tokenFor(t, alice)
	var done atomic.Bool
	var answered atomic.Int64
	var requests sync.WaitGroup
	for i := range 4 {
		requests.Go(func() {
			for !done.Load() {
				request, err := http.NewRequest(http.MethodGet, "http://"+g.addr+"/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Authorization", "Bearer "+valid)
				request.Close = i%2 == 1
				answer, err := client.Do(request)
				for again := 0; err != nil && again < 20; again++ {
					answer, err = client.Do(request)
				}
				if err != nil {
					t.Errorf("a request failed again and again: %v", err)
					return
				}
				_ = answer.Body.Close()
				answered.Add(1)
				if answer.StatusCode != http.StatusOK {
					t.Errorf("status %d", answer.StatusCode)
				}
			}
		})
	}
	for i := range times {
		reloaded := s
		reloaded.options += "\nrealm r" + strconv.Itoa(i)
		if err := tryCaddyfile(g.caddyfile(db, up, reloaded)); err != nil {
			t.Errorf("reload %d: %v", i, err)
			break
		}
		if i%20 == 19 {
			reloaded.store = "columns nonsense"
			if err := tryCaddyfile(g.caddyfile(db, up, reloaded)); err == nil {
				t.Error("a column that isn't there passed")
			}
		}
	}
	done.Store(true)
	requests.Wait()
	hangUp()
	up.take()
	if answered.Load() < int64(times) {
		t.Errorf("%d requests were answered during %d reloads", answered.Load(), times)
	}
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	t.Logf("%d requests during %d reloads", answered.Load(), times)
}

// ourGoroutines are the stacks of those that this module or its connections
// run, besides the tests.
func ourGoroutines() (stacks []string) {
	all := make([]byte, 16<<20)
	for stack := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		ours := strings.Contains(stack, "caddy-sesame/caddy-sesame.") || strings.Contains(stack, "caddy-sesame/caddy-sesame/userstore.") ||
			strings.Contains(stack, "caddy-sesame/caddy-sesame/internal/limit.") || strings.Contains(stack, "caddy-sesame/caddy-sesame/internal/watch.") || strings.Contains(stack, "maypok86/otter")
		if ours && !strings.Contains(stack, "_test.go") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// TestReloadsUnderLoadLeaveNothingBehind loads 200 configurations under load. No
// request is rejected, and no goroutine, connection or memory is left.
func TestReloadsUnderLoadLeaveNothingBehind(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		settle := func() uint64 {
			t.Helper()
			poll(t, "the connections' end", func() bool { return len(connectionIDs(t, db)) == 0 })
			poll(t, "the goroutines' end", func() bool { return len(ourGoroutines()) == 0 })
			poll(t, "the end of what is counted", func() bool { return limit.InUse() == 0 })
			runtime.GC()
			runtime.GC()
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			return memory.HeapAlloc
		}
		reloadUnderLoad(t, db, up, 20)
		before := settle()
		reloadUnderLoad(t, db, up, 180)
		if after := settle(); after > before+16<<20 {
			t.Errorf("the memory in use has grown from %d to %d KiB", before>>10, after>>10)
		}
	})
}

// TestOneTimeAcrossReloads uses each of some one-time tokens many times at once,
// while the configuration is loaded anew. One use wins.
func TestOneTimeAcrossReloads(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := site{options: "one_time\nconfirm off", logLevel: "ERROR"}
		g, client, _ := startOnSocket(t, db, up, &s)
		defer func() {
			if err := caddy.Stop(); err != nil {
				t.Error(err)
			}
		}()
		for round := range 15 {
			db.reset(t)
			made := tokenFor(t, alice, oneTime)
			var accepted, refused, unread atomic.Int32
			var uses sync.WaitGroup
			for i := range 20 {
				uses.Go(func() {
					switch status, err := ask(client, g, made, i%2 == 0); {
					case err != nil: // see startOnSocket
						unread.Add(1)
					case status == http.StatusOK:
						accepted.Add(1)
					case status == http.StatusUnauthorized:
						refused.Add(1)
					default:
						t.Errorf("status %d", status)
					}
				})
			}
			reloaded := s
			reloaded.options += "\nrealm r" + strconv.Itoa(round)
			if err := tryCaddyfile(g.caddyfile(db, up, reloaded)); err != nil {
				t.Error(err)
			}
			uses.Wait()
			if accepted.Load() != 1 || refused.Load()+unread.Load() != 19 {
				t.Errorf("round %d: %d uses were accepted, %d refused and %d unread", round, accepted.Load(), refused.Load(), unread.Load())
			}
			if n := len(up.take()); n != 1 {
				t.Errorf("round %d: the upstream got %d requests", round, n)
			}
		}
	})
}

// TestShutdownFinishesRequests stops Caddy while a request is at the upstream.
func TestShutdownFinishesRequests(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "for "+r.Header.Get("Remote-User"))
	})}
	go func() { _ = slow.Serve(listener) }()
	t.Cleanup(func() { _ = slow.Close() })

	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	s := site{after: "reverse_proxy " + listener.Addr().String()}
	if err := tryCaddyfile(strings.Replace(g.caddyfile(anyDatabase(t), nil, s), "grace_period 5s", "grace_period 30s", 1)); err != nil {
		t.Fatal(err)
	}
	answered := make(chan *response, 1)
	go func() { answered <- g.get(t, "/?sesame="+tokenFor(t, alice)) }()
	<-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- caddy.Stop() }()
	poll(t, "the end of the listener", func() bool {
		conn, err := net.Dial("tcp", g.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(finish)
	answer := <-answered
	answer.wantStatus(t, http.StatusOK)
	if answer.body != "for alice" {
		t.Errorf("the answer is %q", answer.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
