package sesame_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

func TestOneTimeTokenIsUsedOnce(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time\nmax_age 10m"})
		age := withMaxAge(10 * time.Minute)

		t.Run("a second use is refused", func(t *testing.T) {
			for _, user := range []testUser{alice, carol} { // with and without a last login
				link := "/?sesame=" + tokenFor(t, user, oneTime, age)
				g.get(t, link).wantStatus(t, http.StatusOK)
				wantHeader(t, up.takeOne(t).header, "Remote-User", user.username)
				g.get(t, link).wantStatus(t, http.StatusUnauthorized)
				up.takeNone(t)
			}
		})
		t.Run("last_login says when", func(t *testing.T) {
			db.reset(t)
			before := time.Now().UTC().Add(-time.Second)
			g.get(t, "/?sesame="+tokenFor(t, alice, oneTime, age)).wantStatus(t, http.StatusOK)
			var text string
			if err := db.QueryRow("SELECT CAST(last_login AS CHAR) FROM auth_user WHERE id = 1").Scan(&text); err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse("2006-01-02 15:04:05.999999", text)
			if err != nil {
				t.Fatal(err)
			}
			if at.Before(before) || at.After(time.Now().UTC().Add(time.Second)) {
				t.Errorf("last_login is %s, now it's %s in UTC", text, time.Now().UTC())
			}
			up.take()
		})
		t.Run("any login ends it", func(t *testing.T) {
			db.reset(t)
			link := "/?sesame=" + tokenFor(t, alice, oneTime, age)
			db.mustExec(t, "UPDATE auth_user SET last_login = '2026-01-02 03:04:05.678901' WHERE id = 1")
			g.get(t, link).wantStatus(t, http.StatusUnauthorized)
		})
		t.Run("reusable tokens don't pass", func(t *testing.T) {
			db.reset(t)
			g.get(t, "/?sesame="+tokenFor(t, alice, age)).wantStatus(t, http.StatusUnauthorized)
		})
		t.Run("v1", func(t *testing.T) {
			db.reset(t)
			link := "/?sesame=" + tokenFor(t, alice, oneTime, age, asV1)
			g.get(t, link).wantStatus(t, http.StatusOK)
			g.get(t, link).wantStatus(t, http.StatusUnauthorized)
		})
	})
}

// TestScannersDontUseUpOneTimeTokens makes the requests that scanners and browsers
// make before a user clicks.
func TestScannersDontUseUpOneTimeTokens(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time"})
		link := "/?sesame=" + tokenFor(t, alice, oneTime)
		for _, ahead := range []struct {
			method string
			header []string
			status int
		}{
			{http.MethodHead, nil, http.StatusOK},
			{http.MethodOptions, nil, http.StatusNoContent},
			{http.MethodGet, []string{"Sec-Purpose", "prefetch"}, http.StatusNoContent},
			{http.MethodGet, []string{"Sec-Purpose", "prefetch;prerender"}, http.StatusNoContent},
			{http.MethodGet, []string{"Purpose", "prefetch"}, http.StatusNoContent},
			{http.MethodGet, []string{"Purpose", "Prefetch"}, http.StatusNoContent},
			{http.MethodGet, []string{"X-Purpose", "preview"}, http.StatusNoContent},
			{http.MethodGet, []string{"X-Moz", "prefetch"}, http.StatusNoContent},
		} {
			answer := g.do(t, ahead.method, link, ahead.header...)
			answer.wantStatus(t, ahead.status)
			wantHeader(t, answer.header, "Cache-Control", "no-store")
			// With an identity the request would be a use that isn't counted.
			up.takeNone(t)
		}
		g.get(t, link).wantStatus(t, http.StatusOK)
		g.do(t, http.MethodHead, link).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestOneTimeUnderConcurrency has two gateways, each a process of its own, and
// 200 requests at once with the same token. One wins.
func TestOneTimeUnderConcurrency(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		first := startGatewayProcess(t, db, up, site{options: "one_time", logLevel: "INFO"})
		second := startGatewayProcess(t, db, up, site{options: "one_time", logLevel: "INFO"})
		for _, user := range []testUser{alice, carol} {
			made := tokenFor(t, user, oneTime)
			var accepted, refused atomic.Int32
			var requests sync.WaitGroup
			start := make(chan struct{})
			for i := range 200 {
				g := first
				if i%2 == 1 {
					g = second
				}
				requests.Go(func() {
					<-start
					answer := g.get(t, "/?sesame="+made)
					switch answer.status {
					case http.StatusOK:
						accepted.Add(1)
					case http.StatusUnauthorized:
						refused.Add(1)
					default:
						t.Errorf("status %d: %s", answer.status, answer.body)
					}
				})
			}
			close(start)
			requests.Wait()
			if accepted.Load() != 1 || refused.Load() != 199 {
				t.Errorf("%s: %d requests were accepted and %d refused, of 200", user.username, accepted.Load(), refused.Load())
			}
			if n := len(up.take()); n != 1 {
				t.Errorf("%s: the upstream got %d requests", user.username, n)
			}
		}
	})
}

// caddyProcess is set for a run of the tests that is a Caddy instead: the file
// of its Caddyfile.
const caddyProcess = "SESAME_TEST_CADDYFILE"

// startGatewayProcess runs a gateway in a process of its own.
func startGatewayProcess(t *testing.T, db *database, up *upstream, s site) *gateway {
	t.Helper()
	return startGatewayProcessAt(t, freeAddr(t), db, up, s)
}

// startGatewayProcessAt is startGatewayProcess at an address.
func startGatewayProcessAt(t *testing.T, addr string, db *database, up *upstream, s site) *gateway {
	t.Helper()
	g := &gateway{addr: addr, logs: filepath.Join(t.TempDir(), "caddy.log")}
	caddyfile := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(caddyfile, []byte(g.caddyfile(db, up, s)), 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), caddyProcess+"="+caddyfile, "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	gone, err := child.StartTied(process)
	if err != nil {
		t.Fatal(err)
	}
	g.stop = func() {
		_ = process.Process.Signal(os.Interrupt)
		<-gone
	}
	g.kill = func() {
		_ = process.Process.Kill()
		<-gone
	}
	t.Cleanup(g.stop)
	poll(t, "the gateway's process", func() bool {
		select {
		case <-gone:
			t.Fatalf("the gateway's process has ended; its configuration: %s", caddyfile)
		default:
		}
		answer, err := http.Get("http://" + g.addr + "/")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil
	})
	return g
}
