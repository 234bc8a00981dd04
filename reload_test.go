package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
)

// TestReloadKeepsConnectionsAndServesOn keeps the connections to MySQL over a reload of the
// configuration, and serves without a gap.
func TestReloadKeepsConnectionsAndServesOn(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		before := connectionIDs(t, db)
		if len(before) == 0 {
			t.Fatal("no connection to MySQL")
		}

		var done atomic.Bool
		var answered atomic.Int64
		var requests sync.WaitGroup
		for range 4 {
			requests.Go(func() {
				for !done.Load() {
					answer, err := http.Get("http://" + g.addr + "/?sesame=" + valid)
					if err != nil {
						// Linux resets what waits at a listener that is replaced,
						// in any Caddy; that is no answer of the gateway's.
						continue
					}
					_ = answer.Body.Close()
					answered.Add(1)
					if answer.StatusCode != http.StatusOK {
						t.Errorf("status %d, logged %v", answer.StatusCode, g.awaitErrors(t))
					}
				}
			})
		}
		for range 5 {
			if err := tryCaddyfile(g.caddyfile(db, up, site{options: "realm again"})); err != nil {
				t.Fatal(err)
			}
			if err := tryCaddyfile(g.caddyfile(db, up, site{store: "columns nonsense"})); err == nil {
				t.Error("a column that isn't there passed")
			}
			if err := tryCaddyfile(g.caddyfile(db, up, site{})); err != nil {
				t.Fatal(err)
			}
		}
		done.Store(true)
		requests.Wait()
		if answered.Load() == 0 {
			t.Error("no request was answered")
		}

		after := connectionIDs(t, db)
		for id := range before {
			if !after[id] {
				t.Errorf("connection %s was closed by a reload", id)
			}
		}
	})
}

// TestLastReloadClosesThePool leaves no connection to MySQL behind.
func TestLastReloadClosesThePool(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		t.Run("gateway", func(t *testing.T) {
			up := startUpstream(t)
			g := startGateway(t, db, up, site{})
			g.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
		})
		poll(t, "the connections' end", func() bool { return len(connectionIDs(t, db)) == 0 })
	})
}

// TestReloadWhileMySQLIsAway takes effect: the site with the store answers as before, and
// works again as soon as MySQL does. A store that the reload changes keeps it from
// taking effect.
func TestReloadWhileMySQLIsAway(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "max_age 10m"})
		valid := tokenFor(t, alice, withMaxAge(10*time.Minute))
		expired := tokenAt(t, alice, "", time.Now().Add(-time.Hour), withMaxAge(10*time.Minute))
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		up.take()
		killMariaDB(t, db)
		defer func() { _ = mariadb.Restart() }()
		if err := tryCaddyfile(g.caddyfile(db, up, site{options: "max_age 10m", store: "columns first_name"})); err == nil || !strings.Contains(err.Error(), "start_without") {
			t.Errorf("a store with another column: %v", err)
		}
		for range 2 {
			if err := tryCaddyfile(g.caddyfile(db, up, site{options: "max_age 10m\nrealm again"}) + "\nhttp://other.example.com:" + portOf(g.addr) + " {\nrespond other\n}\n"); err != nil {
				t.Fatal(err)
			}
			if got := g.get(t, "/", "Host", "other.example.com").body; got != "other" {
				t.Errorf("the new site answers %q", got)
			}
			g.get(t, "/?sesame="+expired).wantStatus(t, http.StatusUnauthorized) // without a query, as before
			g.get(t, "/_sesame/ready").wantStatus(t, http.StatusServiceUnavailable)
			g.wantUnavailable(t, up, valid)
		}
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		poll(t, "MySQL's return", func() bool { return g.get(t, "/?sesame="+valid).status == http.StatusOK })
	})
}

// TestReloadWhileThePrimaryIsAway goes on with the replica.
func TestReloadWhileThePrimaryIsAway(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		proxy, err := faultproxy.Start(mariadb.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		behind := *db
		behind.dsn = strings.Replace(db.dsn, mariadb.Addr(), proxy.Addr(), 1)
		up := startUpstream(t)
		s := site{store: fmt.Sprintf("replica %q", db.dsn)}
		g := startGateway(t, &behind, up, s)
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		proxy.Reset()
		s.options = "realm again"
		if err := tryCaddyfile(g.caddyfile(&behind, up, s)); err != nil {
			t.Fatal(err)
		}
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		g.get(t, "/_sesame/ready").wantStatus(t, http.StatusOK)
	})
}

// connectionIDs are those of the gateways' connections to MySQL, which have an
// account of their own.
func connectionIDs(t *testing.T, db *database) map[string]bool {
	t.Helper()
	rows, err := db.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'tests'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids := make(map[string]bool)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}
