package userstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// semiSync has a server wait for a replica that confirms each commit, and there
// is none.
func semiSync(point string) []string {
	return append([]string{
		"--rpl-semi-sync-master-wait-no-slave=ON",
		"--rpl-semi-sync-master-timeout=3600000", "--rpl-semi-sync-master-wait-point=" + point,
	}, testmariadb.PrimaryOptions...)
}

// threads lists the statements that a server executes for an account.
func threads(t *testing.T, admin *sql.DB, account string) (all []string) {
	t.Helper()
	rows, err := admin.Query("SELECT CONCAT_WS(' ', ID, COMMAND, TIME, STATE, INFO) FROM information_schema.PROCESSLIST WHERE USER = '" + account + "'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// newStallingServer starts a server with many users and an account "gateway" with
// few connections, and connects as its administrator.
func newStallingServer(t *testing.T, arguments ...string) (*testmariadb.Server, *sql.DB) {
	t.Helper()
	server := newServer(t, arguments...)
	var rows []string
	for i := range 200 {
		rows = append(rows, fmt.Sprintf("(%d, 'p', 1, NULL)", i+1))
	}
	if err := server.CreateDatabase("app"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("app", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active bool, last_login datetime(6))",
		"INSERT INTO auth_user VALUES "+strings.Join(rows, ", "),
		"CREATE USER gateway@'%'", "GRANT SELECT, UPDATE ON app.* TO gateway@'%'"); err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("mysql", server.DSN("app"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	return server, admin
}

// TestStalledWritesLeaveTheServerToOthers consumes many one-time tokens while
// the server executes writes and never answers them, over two sites and over
// reloads that change the connections. The server's threads stay within bounds,
// lookups go on, and once the server answers again, each token is consumed once.
func TestStalledWritesLeaveTheServerToOthers(t *testing.T) {
	t.Parallel()
	const most = 4 // connections of a pool
	tests := []struct {
		name      string
		arguments []string
		stall     []string // statements of a session, which ends in the end
		end       []string
	}{
		{"a commit waits for a replica", semiSync("AFTER_COMMIT"), []string{"SET GLOBAL rpl_semi_sync_master_enabled = ON"}, []string{"SET GLOBAL rpl_semi_sync_master_enabled = OFF"}},
		{"a commit waits for a replica before it is visible", semiSync("AFTER_SYNC"), []string{"SET GLOBAL rpl_semi_sync_master_enabled = ON"}, []string{"SET GLOBAL rpl_semi_sync_master_enabled = OFF"}},
		{"a backup holds the global read lock", nil, []string{"FLUSH TABLES WITH READ LOCK"}, []string{"UNLOCK TABLES"}},
		{"rows are locked", nil, []string{"BEGIN", "SELECT * FROM auth_user FOR UPDATE"}, []string{"ROLLBACK"}},
		{"the table is locked", nil, []string{"LOCK TABLES auth_user READ"}, []string{"UNLOCK TABLES"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, admin := newStallingServer(t, test.arguments...)
			session, err := admin.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			run := func(statements []string) {
				t.Helper()
				for _, statement := range statements {
					if _, err := session.ExecContext(t.Context(), statement); err != nil {
						t.Fatal(err)
					}
				}
			}
			open := func(limit time.Duration) *userstore.MySQL {
				cfg := userstore.Config{
					DSN:          "gateway@tcp(" + server.Addr() + ")/app?innodb_lock_wait_timeout=600&lock_wait_timeout=600",
					MaxOpenConns: most, QueryTimeout: caddy.Duration(limit),
				}
				return openStore(t, cfg, userstore.Needs{LastLogin: true})
			}
			sites := []*userstore.MySQL{open(2000 * time.Millisecond), open(2001 * time.Millisecond)}
			reader := open(20 * time.Second)
			read := make([]*userstore.User, 150)
			for i := range read {
				if read[i], err = reader.Lookup(t.Context(), token.IntKey(int64(i+1))); err != nil {
					t.Fatal(err)
				}
			}

			run(test.stall)
			largest := 0
			for round := range 3 {
				if round > 0 { // a reload
					sites = append(sites, open(time.Duration(2001+round)*time.Millisecond))
				}
				var all sync.WaitGroup
				for i, u := range read {
					all.Go(func() {
						site := sites[(i+round)%len(sites)]
						if err := site.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) && !errors.Is(err, userstore.ErrConsumed) {
							t.Errorf("user %d: %v, want no success", i+1, err)
						}
					})
				}
				all.Wait()
				for _, site := range append(sites, reader) {
					if _, err := site.Lookup(t.Context(), token.IntKey(200)); err != nil {
						t.Errorf("a lookup while writes stall: %v", err)
					}
				}
				now := threads(t, admin, "gateway")
				if largest = max(largest, len(now)); len(now) > (len(sites)+1)*most+most {
					t.Fatalf("the server has %d connections for %d sites of %d at most:\n%s", len(now), len(sites)+1, most, strings.Join(now, "\n"))
				}
			}
			t.Logf("at most %d connections", largest)
			run(test.end)
			wantRecovered(t, sites[0], admin)
		})
	}
}

// wantRecovered checks that nothing is stalled any more, and that a token is
// consumed once.
func wantRecovered(t *testing.T, s *userstore.MySQL, admin *sql.DB) {
	t.Helper()
	eventually(t, func() error {
		if n := s.Servers()[0].Stalled; n > 0 {
			return fmt.Errorf("%d statements count as stalled; the server has\n%s", n, strings.Join(threads(t, admin, "gateway"), "\n"))
		}
		return nil
	})
	u, err := s.Lookup(t.Context(), token.IntKey(199))
	if err != nil {
		t.Fatal(err)
	}
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			switch err := s.Consume(t.Context(), u, time.Now()); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, userstore.ErrConsumed):
				lost.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d requests won, and %d lost", won.Load(), lost.Load())
	}
}

// TestStalledReadsAreBounded looks users up while the table is locked.
func TestStalledReadsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 4
	server, admin := newStallingServer(t)
	s, err := userstore.Open(t.Context(), userstore.Config{
		DSN:          "gateway@tcp(" + server.Addr() + ")/app?innodb_lock_wait_timeout=600&lock_wait_timeout=600",
		MaxOpenConns: most, QueryTimeout: caddy.Duration(briefly),
	}, userstore.Needs{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	session, err := admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if _, err := s.Lookup(t.Context(), token.IntKey(int64(i+1))); !errors.Is(err, userstore.ErrUnavailable) {
					t.Errorf("user %d behind a lock: %v", i+1, err)
				}
			})
		}
		all.Wait()
		if now := threads(t, admin, "gateway"); len(now) > 3*most {
			t.Fatalf("the server has %d connections, and max_open_conns is %d:\n%s", len(now), most, strings.Join(now, "\n"))
		}
	}
	if _, err := session.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { _, err := s.Lookup(t.Context(), token.IntKey(1)); return err })
}

var _ = mysql.NewConfig
