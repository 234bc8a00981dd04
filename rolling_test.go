package sesame_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// fleet are two gateways in processes of their own, behind a balancer.
type fleet struct {
	t    *testing.T
	db   *database
	up   *upstream
	site site

	names    [2]string // in the guides
	addrs    [2]string // which stay the same over an upgrade
	gateways [2]*gateway
}

// startFleet runs two gateways of the release "old".
func startFleet(t *testing.T, db *database, global string) *fleet {
	t.Helper()
	f := &fleet{t: t, db: db, up: startUpstream(t), site: site{global: global, options: "session", logLevel: "INFO"}, names: [2]string{"gateway-1", "gateway-2"}}
	for i := range f.gateways {
		f.addrs[i] = freeAddr(t)
		f.start(i, "old")
	}
	return f
}

// start runs a gateway of a release, and waits until it is ready.
func (f *fleet) start(i int, release string) {
	f.t.Helper()
	s := f.site
	s.before = "header X-Gateway " + release + "-" + f.names[i]
	f.gateways[i] = startGatewayProcessAt(f.t, f.addrs[i], f.db, f.up, s)
	poll(f.t, "readiness", func() bool { return f.gateways[i].get(f.t, "/_sesame/ready").status == http.StatusOK })
}

// config is a configuration of a guide with the addresses of the gateways.
func (f *fleet) config(guide string) string {
	for i, name := range f.names {
		guide = strings.ReplaceAll(guide, name+":80", f.addrs[i])
	}
	return guide
}

// traffic are clients that send 200 requests a second to a balancer until the test ends
// them. Each request that isn't answered 200 fails the test.
type traffic struct {
	t    *testing.T
	done chan struct{}
	sent sync.WaitGroup

	mu       sync.Mutex
	answered map[string]int // by the gateway
	failed   map[string]int // by what went wrong
}

// startTraffic begins with requests of a method, or of several in turn, each over a
// connection of its own.
func startTraffic(t *testing.T, addr string, methods ...string) *traffic {
	t.Helper()
	l := &traffic{t: t, done: make(chan struct{}), answered: make(map[string]int), failed: make(map[string]int)}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	login, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/?sesame="+tokenFor(t, alice), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	login.Host, login.Header = "app.example.com", http.Header{"Accept": {"text/html"}}
	answer, err := client.Transport.RoundTrip(login)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if len(answer.Cookies()) == 0 {
		t.Fatalf("no session: status %d", answer.StatusCode)
	}
	session, token := answer.Cookies()[0].String(), "Bearer "+tokenFor(t, alice)

	l.sent.Go(func() {
		pace := time.NewTicker(time.Second / 200)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-l.done:
				return
			case <-pace.C:
			}
			method, header := methods[n%len(methods)], http.Header{"Authorization": {token}}
			if method == http.MethodGet && n%3 == 0 {
				header = http.Header{"Cookie": {session}}
			}
			l.sent.Go(func() { l.send(client, method, addr, header) })
		}
	})
	return l
}

// send sends a request, and notes what becomes of it.
func (l *traffic) send(client *http.Client, method, addr string, header http.Header) {
	body := ""
	if method == http.MethodPost {
		body = "a=b"
	}
	request, err := http.NewRequest(method, "http://"+addr+"/page", strings.NewReader(body)) //nolint:noctx // it ends by itself
	if err != nil {
		l.note("", err.Error())
		return
	}
	request.Host, request.Header = "app.example.com", header
	answer, err := client.Do(request)
	if err != nil {
		l.note("", fmt.Sprintf("%s: %v", method, err))
		return
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		l.note("", fmt.Sprintf("%s: status %d by %q", method, answer.StatusCode, answer.Header.Get("X-Gateway")))
		return
	}
	l.note(answer.Header.Get("X-Gateway"), "")
}

func (l *traffic) note(gateway, failure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failure != "" {
		l.failed[failure]++
		return
	}
	l.answered[gateway]++
}

// count is how many requests a gateway has answered.
func (l *traffic) count(gateway string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered[gateway]
}

// await waits until a gateway has answered more requests.
func (l *traffic) await(gateway string) {
	l.t.Helper()
	before := l.count(gateway)
	poll(l.t, "requests to "+gateway, func() bool { return l.count(gateway) >= before+50 })
}

// end ends the load. It fails the test if a request failed.
func (l *traffic) end() {
	l.t.Helper()
	close(l.done)
	l.sent.Wait()
	l.t.Logf("answered: %v", l.answered)
	for failure, n := range l.failed {
		l.t.Errorf("%d requests failed: %s", n, failure)
	}
}

// wantUpgraded fails the test unless all gateways were used before and after.
func (l *traffic) wantUpgraded(f *fleet) {
	l.t.Helper()
	want := make(map[string]bool)
	for _, name := range f.names {
		want["old-"+name], want["new-"+name] = true, true
	}
	got := make(map[string]bool)
	for gateway := range l.answered {
		got[gateway] = true
	}
	if !maps.Equal(got, want) {
		l.t.Errorf("answered by %v", l.answered)
	}
}

// nginxOf is the guide's configuration of nginx, which listens on an address.
func nginxOf(t *testing.T, addr string) string {
	t.Helper()
	guide := section(t, readFile(t, "docs/health.md"), "## nginx")
	return strings.Replace(codeBlocks(guide, "nginx")[0], "listen 80", "listen "+addr, 1)
}

// TestUpgradeBehindNginx upgrades two gateways by the guide, while clients send 200
// requests a second that read and write. nginx is told which gateway is down.
func TestUpgradeBehindNginx(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		f := startFleet(t, db, "")
		addr := unboundAddr(t)
		all := f.config(nginxOf(t, addr))
		nginx := testprogram.StartNginx(t, all, addr)
		clients := startTraffic(t, addr, http.MethodGet, http.MethodPost)
		clients.await("old-gateway-1")
		clients.await("old-gateway-2")
		for i, name := range f.names {
			server := "server " + f.addrs[i]
			if !strings.Contains(all, server+" ") {
				t.Fatalf("the guide's upstream has no %s: %s", name, all)
			}
			nginx.Reload(strings.Replace(all, server, server+" down", 1))
			f.gateways[i].stop()
			f.start(i, "new")
			nginx.Reload(all)
			clients.await("new-" + name)
		}
		clients.end()
		clients.wantUpgraded(f)
	})
}

// TestRestartBehindNginx restarts two gateways one after the other without telling nginx,
// while clients send 200 requests a second that read: nginx sends the other gateway what
// one has not answered.
func TestRestartBehindNginx(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		f := startFleet(t, db, "")
		addr := unboundAddr(t)
		testprogram.StartNginx(t, f.config(nginxOf(t, addr)), addr)
		clients := startTraffic(t, addr, http.MethodGet)
		clients.await("old-gateway-1")
		clients.await("old-gateway-2")
		for i, name := range f.names {
			f.gateways[i].stop()
			f.start(i, "new")
			clients.await("new-" + name) // after fail_timeout
		}
		clients.end()
		clients.wantUpgraded(f)
	})
}

// TestUpgradeBehindHAProxy has HAProxy notice by itself, by readiness, that a gateway is
// about to end. Nothing tells it.
func TestUpgradeBehindHAProxy(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		f := startFleet(t, db, "shutdown_delay 1m")
		proxy, addr := f.startHAProxy()
		clients := startTraffic(t, addr, http.MethodGet, http.MethodPost)
		for i, name := range f.names {
			clients.await("old-" + name)
			end := f.announce(i)
			proxy.Await("gateways", name, "DOWN")
			end()
			f.start(i, "new")
			proxy.Await("gateways", name, "UP")
			clients.await("new-" + name)
		}
		clients.end()
		clients.wantUpgraded(f)
		for i, name := range f.names {
			end := f.announce(i)
			proxy.Await("gateways", name, "DOWN")
			end()
		}
	})
}

// announce tells a gateway to end, which first says that it isn't ready. end ends it
// before shutdown_delay does.
func (f *fleet) announce(i int) (end func()) {
	g, ended := f.gateways[i], make(chan struct{})
	go func() { g.stop(); close(ended) }()
	return func() {
		g.stop() // the second signal ends it at once
		<-ended
	}
}

// startHAProxy runs HAProxy by the guide.
func (f *fleet) startHAProxy() (proxy *testprogram.HAProxy, addr string) {
	f.t.Helper()
	addr = freeAddr(f.t)
	guide := section(f.t, readFile(f.t, "docs/health.md"), "## HAProxy")
	config := fmt.Sprintf("frontend all\n    bind %s\n    default_backend gateways\n\n%s", addr, f.config(codeBlocks(guide, "haproxy")[0]))
	return testprogram.StartHAProxy(f.t, config, addr), addr
}

// TestHAProxyPassesTheGatewaysAnswerOn if MySQL is away, so that no gateway is ready.
func TestHAProxyPassesTheGatewaysAnswerOn(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		f := startFleet(t, db, "")
		proxy, addr := f.startHAProxy()
		valid := tokenFor(t, alice)
		killMariaDB(t, db)
		defer func() { _ = mariadb.Restart() }()
		for _, name := range f.names {
			proxy.Await("gateways", name, "DOWN")
		}
		g := &gateway{addr: addr}
		answer := g.get(t, "/page", bearer(valid)...)
		answer.wantStatus(t, http.StatusServiceUnavailable)
		if answer.header.Get("Retry-After") == "" || !strings.Contains(answer.header.Get("X-Gateway"), "gateway") {
			t.Errorf("not the gateway's answer: %v %s", answer.header, answer.body)
		}
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		for _, name := range f.names {
			proxy.Await("gateways", name, "UP")
		}
		g.get(t, "/page", append(bearer(valid), "Host", "app.example.com")...).wantStatus(t, http.StatusOK)
	})
}
