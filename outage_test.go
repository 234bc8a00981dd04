package sesame_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// wantUnavailable fails the test unless a request with a valid token is
// answered as one that can't be checked.
func (g *gateway) wantUnavailable(t *testing.T, up *upstream, valid string) {
	t.Helper()
	for _, header := range [][]string{nil, {"Authorization", "Bearer " + valid}} {
		uri := "/a"
		if header == nil {
			uri += "?sesame=" + valid
		}
		answer := g.get(t, uri, header...)
		answer.wantStatus(t, http.StatusServiceUnavailable)
		if answer.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if answer.header.Get("WWW-Authenticate") != "" {
			t.Error("it asks for another token, which wouldn't help")
		}
	}
	up.takeNone(t)
}

func TestFrozenMySQLIs503(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{store: "query_timeout 2500ms"})
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		up.take()

		if err := mariadb.Freeze(); err != nil {
			t.Fatal(err)
		}
		defer mariadb.Thaw()
		g.wantUnavailable(t, up, valid)
		g.get(t, "/").wantStatus(t, http.StatusUnauthorized)            // rejected without a query
		g.get(t, "/?sesame=bad").wantStatus(t, http.StatusUnauthorized) // likewise
		mariadb.Thaw()

		poll(t, "MySQL's return", func() bool { return g.get(t, "/?sesame="+valid).status == http.StatusOK })
		g.wantNoToken(t, valid)
		if lines := g.awaitErrors(t); len(lines) == 0 {
			t.Error("the outage isn't logged")
		}
	})
}

// awaitErrors waits for the handler's lines at ERROR.
func (g *gateway) awaitErrors(t *testing.T) []logLine {
	t.Helper()
	var lines []logLine
	poll(t, "a line at ERROR", func() bool {
		lines = nil
		for _, line := range g.lines(t, "http.handlers.sesame") {
			if line["level"] == "error" {
				lines = append(lines, line)
			}
		}
		return len(lines) > 0
	})
	return lines
}

// killMariaDB kills the server after everything it has acknowledged is on disk.
func killMariaDB(t *testing.T, db *database) {
	t.Helper()
	db.mustExec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
	db.reset(t)
	mariadb.Kill()
}

func TestMySQLGoneAndBack(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		up.take()

		killMariaDB(t, db)
		g.wantUnavailable(t, up, valid)
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		poll(t, "MySQL's return", func() bool { return g.get(t, "/?sesame="+valid).status == http.StatusOK })
		g.wantNoToken(t, valid)
	})
}

func TestStartWithoutMySQL(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		killMariaDB(t, db)
		defer func() { _ = mariadb.Restart() }()

		g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
		// No other test has this store, which might not be closed yet.
		err := tryCaddyfile(g.caddyfile(db, up, site{store: "conn_max_lifetime 4m"}))
		if err == nil {
			_ = caddy.Stop()
			t.Fatal("Caddy started without MySQL")
		}
		if !strings.Contains(err.Error(), "start_without") {
			t.Errorf("the error doesn't name the option: %v", err)
		}

		valid := tokenFor(t, alice)
		g = startGateway(t, db, up, site{store: "start_without"})
		g.wantUnavailable(t, up, valid)
		if err := mariadb.Restart(); err != nil {
			t.Fatal(err)
		}
		poll(t, "MySQL's start", func() bool { return g.get(t, "/?sesame="+valid).status == http.StatusOK })
	})
}

func TestColumnDroppedWhileRunning(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		up.take()
		db.mustExec(t, "ALTER TABLE auth_user RENAME COLUMN password TO secret")
		g.wantUnavailable(t, up, valid)
		db.mustExec(t, "ALTER TABLE auth_user RENAME COLUMN secret TO password")
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
	})
}

// TestLockedTableIs503WithinTheTimeLimit locks the table by another connection:
// requests wait for the lock no longer than the time limit.
func TestLockedTableIs503WithinTheTimeLimit(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time", store: "query_timeout 2500ms"})
		valid := tokenFor(t, alice, oneTime)
		unlock := lockTable(t, db)
		g.wantUnavailable(t, up, valid)
		unlock()
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
	})
}

// lockTable locks the table of users for all other connections.
func lockTable(t *testing.T, db *database) (unlock func()) {
	t.Helper()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(conn *sql.Conn, query string) {
		if _, err := conn.ExecContext(ctx, query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	exec(conn, "LOCK TABLES auth_user WRITE")
	return func() {
		exec(conn, "UNLOCK TABLES")
		_ = conn.Close()
	}
}

// TestClientThatGoesAway isn't an outage.
func TestClientThatGoesAway(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		// A lookup that is alone in its query doesn't notice that, and ends with
		// query_timeout.
		g := startGateway(t, db, up, site{store: "query_timeout 6s"})
		valid := tokenFor(t, alice)
		unlock := lockTable(t, db)
		defer unlock()
		before := questions(t, db)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.addr+"/?sesame="+valid, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			answer, err := http.DefaultClient.Do(request)
			if err == nil {
				_ = answer.Body.Close()
			}
			ended <- err
		}()
		poll(t, "the lookup, which waits for the lock", func() bool { return questions(t, db) > before })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the client got an answer, %v", err)
		}
		line := g.awaitLines(t, "http.log.access", 1)[0]
		if line["status"] != float64(499) {
			t.Errorf("logged %v", line)
		}
		for _, line := range g.lines(t, "http.handlers.sesame") {
			t.Errorf("logged %v", line)
		}
	})
}

// TestSessionWithoutAnAnswer: a session that can't be checked is neither accepted
// nor ended, with an old link beside it or without.
func TestSessionWithoutAnAnswer(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		cookie := sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, alice)))
		up.take()
		db.mustExec(t, "RENAME TABLE auth_user TO auth_user_away")
		defer db.mustExec(t, "DROP TABLE IF EXISTS auth_user_away")
		for _, uri := range []string{"/", "/?sesame=bad", "/_sesame/whoami"} {
			answer := g.get(t, uri, "Cookie", cookie)
			answer.wantStatus(t, http.StatusServiceUnavailable)
			wantHeader(t, answer.header, "Set-Cookie", "")
			up.takeNone(t)
		}
		db.mustExec(t, "RENAME TABLE auth_user_away TO auth_user")
		poll(t, "the table's return", func() bool { return g.get(t, "/", "Cookie", cookie).status == http.StatusOK })
	})
}

// TestOneTimeTokenThatCantBeUsedUp is answered 503: if it were accepted, it would be
// accepted again.
func TestOneTimeTokenThatCantBeUsedUp(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time"})
		valid := tokenFor(t, alice, oneTime)
		db.mustExec(t, "CREATE TRIGGER no_writes BEFORE UPDATE ON auth_user FOR EACH ROW SIGNAL SQLSTATE '45000'")
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusServiceUnavailable)
		up.takeNone(t)
		db.mustExec(t, "DROP TRIGGER no_writes")
		poll(t, "MySQL's return", func() bool { return g.get(t, "/?sesame="+valid).status == http.StatusOK })
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)
	})
}
