package sesame_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
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
