package sesame_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestReadyFollowsMySQL without any other request: the check finds out by itself that
// MySQL is away, and that it is back. The gateway is alive all the time.
func TestReadyFollowsMySQL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		want := func(status int) {
			t.Helper()
			poll(t, "the check", func() bool {
				r := g.get(t, "/_sesame/ready")
				hasRetry := r.header.Get("Retry-After") != ""
				return r.status == status && hasRetry == (status == http.StatusServiceUnavailable)
			})
			g.get(t, "/_sesame/health").wantStatus(t, http.StatusOK)
		}
		want(http.StatusOK)
		killMariaDB(t, db)
		want(http.StatusServiceUnavailable)
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		want(http.StatusOK)
		up.takeNone(t)
	})
}

// TestReadyAfterAStartWithoutMySQL says so as soon as MySQL is there.
func TestReadyAfterAStartWithoutMySQL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		killMariaDB(t, db)
		defer func() { _ = mariadb.Restart() }()
		g := startGateway(t, db, startUpstream(t), site{store: "start_without"})
		g.get(t, "/_sesame/ready").wantStatus(t, http.StatusServiceUnavailable)
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		poll(t, "MySQL's start", func() bool { return g.get(t, "/_sesame/ready").status == http.StatusOK })
	})
}

// TestChecksNeedNoUser, whatever the site demands, and reveal none: with a token or a
// session, the answer is the same.
func TestChecksNeedNoUser(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	for name, options := range map[string]string{
		"tokens alone": "", "sessions": "session", "a login page": "login {\npassword\nredirect\n}", "requirements": "require user carol", "one-time tokens": "one_time",
	} {
		g := startGateway(t, db, up, site{options: options})
		for _, path := range []string{"/_sesame/health", "/_sesame/ready"} {
			bare := g.get(t, path)
			bare.wantStatus(t, http.StatusOK)
			wantHeader(t, bare.header, "Cache-Control", "no-store")
			for _, header := range [][]string{bearer(tokenFor(t, alice)), bearer("bad"), {"Cookie", "sesame=bad"}} {
				r := g.get(t, path, header...)
				if r.status != bare.status || r.body != bare.body || r.header.Get("Set-Cookie") != "" {
					t.Errorf("%s: %s with %v: %d %q", name, path, header, r.status, r.body)
				}
			}
			withToken := g.get(t, path+"?sesame="+tokenFor(t, alice))
			withToken.wantStatus(t, http.StatusOK)
			g.wantNoToken(t, tokenFor(t, alice))
		}
		up.takeNone(t)
	}
}

// TestChecksAtOtherPaths, or nowhere: the application then has the default paths.
func TestChecksAtOtherPaths(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, site{options: "health_path /healthz\nready_path off\noptional"})
	g.get(t, "/healthz").wantStatus(t, http.StatusOK)
	up.takeNone(t)
	for _, path := range []string{"/_sesame/health", "/_sesame/ready"} {
		g.get(t, path).wantStatus(t, http.StatusOK)
		if got := up.takeOne(t).uri; got != path {
			t.Errorf("the application got %s", got)
		}
	}
	g = startGateway(t, db, up, site{options: "reserved_path off\noptional"})
	g.get(t, "/_sesame/ready").wantStatus(t, http.StatusOK)
	if got := up.takeOne(t).uri; got != "/_sesame/ready" {
		t.Errorf("the application got %s", got)
	}
	g = startGateway(t, db, up, site{options: "session\nhealth_path off\noptional"})
	g.get(t, "/_sesame/health").wantStatus(t, http.StatusNotFound)
	up.takeNone(t)
}

// TestReadyEndsBeforeTheGateway: during shutdown_delay the gateway still answers
// requests, and says to balancers that they should send no more.
func TestReadyEndsBeforeTheGateway(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGatewayProcess(t, db, up, site{global: "shutdown_delay 1m"})
		g.get(t, "/_sesame/ready").wantStatus(t, http.StatusOK)
		ended := make(chan struct{})
		go func() { g.stop(); close(ended) }()
		poll(t, "the announcement", func() bool {
			r := g.get(t, "/_sesame/ready")
			return r.status == http.StatusServiceUnavailable && strings.Contains(r.body, "shutting down")
		})
		g.get(t, "/_sesame/health").wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
		select {
		case <-ended:
			t.Error("the gateway has ended")
		default:
		}
		g.stop() // the second signal ends it at once
		<-ended
	})
}
