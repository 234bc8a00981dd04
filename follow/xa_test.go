package follow_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// prepare has a session prepare a transaction that sets the user's password, and end.
func prepare(t *testing.T, server *testmariadb.Server, name, xid, password string, more ...string) {
	t.Helper()
	db := open(t, server, name)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	xid = "'" + xid + "'"
	for _, statement := range slices.Concat(
		[]string{"XA START " + xid, "UPDATE auth_user SET password = '" + password + "' WHERE id = 1"}, more, []string{"XA END " + xid, "XA PREPARE " + xid},
	) {
		write(t, conn, statement)
	}
	conn.Close()
	db.Close()
}

// finish ends a prepared transaction in another session, once its own has ended.
func finish(t *testing.T, server databaseServer, statement string) {
	t.Helper()
	awaitSuccess(t, func() error { return server.Exec("", statement) })
}

// TestRowsThatXAChanges prepares transactions in one session, and ends them in another,
// with a restart of the server between them as well.
func TestRowsThatXAChanges(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "prepared", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')")
	for _, format := range []string{"ROW", "STATEMENT"} {
		exec(t, server, "", "SET GLOBAL binlog_format = "+format)
		s := followStore(t, userstore.Config{DSN: server.DSN(name), Follow: &userstore.FollowConfig{Strict: true}}, userstore.Needs{})
		for i, restarts := range []bool{false, true, false} {
			want := password(s.keep(t, userKey(1)))
			for _, end := range []string{"ROLLBACK", "COMMIT"} {
				xid := fmt.Sprint(format, i, end)
				prepare(t, server, name, xid, xid)
				if restarts {
					server.Stop()
					if err := server.Restart("--binlog-format=" + format); err != nil {
						t.Fatal(err)
					}
				}
				// Long after the log has the change, queries don't see it.
				if got := password(s.keep(t, userKey(1))); got != want {
					t.Errorf("before XA %s the row has %q, and not %q", end, got, want)
				}
				finish(t, server, "XA "+end+" '"+xid+"'")
				if end == "COMMIT" {
					want = xid
				}
				if got, _ := s.find(t, userKey(1)); password(got) != want {
					t.Errorf("after XA %s the row has %q, and not %q", end, password(got), want)
				}
			}
		}
	}
}

// TestRowsThatAreReadDuringXACommit looks a row up all the time while prepared
// transactions are committed. The server logs that long before queries see it here, since
// its storage engine has the words of a large document to index in between.
func TestRowsThatAreReadDuringXACommit(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--max-allowed-packet=64M", "--innodb-log-file-size=64M", "--innodb-buffer-pool-size=64M", "--group-concat-max-len=16M",
		"--innodb-lock-wait-timeout=600") // indexing takes long on a busy machine
	name := database(t, server, "prepared", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', '0')",
		"CREATE TABLE documents (id int PRIMARY KEY AUTO_INCREMENT, document longtext, FULLTEXT (document)) ENGINE=InnoDB")
	s := followStore(t, userstore.Config{DSN: server.DSN(name), Follow: &userstore.FollowConfig{Strict: true}}, userstore.Needs{})
	s.keep(t, userKey(1))
	ctx, stop := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	for range 2 {
		tasks.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.users.Find(ctx, userKey(1), false, anyUser)
			}
		})
	}
	for i := range 3 {
		want := strconv.Itoa(i)
		prepare(t, server, name, want, want, "INSERT INTO documents (document) SELECT GROUP_CONCAT('word', seq SEPARATOR ' ') FROM seq_1_to_200000")
		finish(t, server, "XA COMMIT '"+want+"'")
		for range 20 {
			if got, _ := s.find(t, userKey(1)); password(got) != want {
				t.Fatalf("after XA COMMIT the row has %q, and not %q", password(got), want)
			}
		}
	}
}

// TestXAIsReportedWhenItBecomesVisible prepares transactions, whose rows are in the log
// long before they are visible.
func TestXAIsReportedWhenItBecomesVisible(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "xa", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')", "CREATE TABLE other (id int PRIMARY KEY)")
	prepared := func(xid, statement string) string {
		return "BEGIN NOT ATOMIC XA START " + xid + "; " + statement + "; XA END " + xid + "; XA PREPARE " + xid + "; END"
	}
	exec(t, server, name, prepared("'before'", "UPDATE users SET n = 7"))
	f := start(t, sourceOf(t, server, name, "users id"))
	then := func(want []string, statement string) {
		t.Helper()
		finish(t, server, statement)
		f.expect(t, server, want)
	}
	then([]string{"all"}, "XA COMMIT 'before'") // of which the stream knows nothing
	f.expect(t, server, []string{"users 1"}, prepared("'a','\x01',7", "UPDATE users SET n = 1"))
	f.expect(t, server, nil, prepared("'a'", "INSERT INTO other VALUES (1)")) // which has another name
	then([]string{"all"}, "XA COMMIT 'a','\x01',7")
	then(nil, "XA COMMIT 'a'")
	f.expect(t, server, []string{"users 1"}, prepared("'b'", "UPDATE users SET n = 2"))
	then(nil, "XA ROLLBACK 'b'")
	f.expect(t, server, nil, prepared("'b'", "INSERT INTO other VALUES (2)"))
	then(nil, "XA COMMIT 'b'")
	f.expect(t, server, []string{"users 1"}, "BEGIN NOT ATOMIC XA START 'c'; UPDATE users SET n = 3; XA END 'c'; XA COMMIT 'c' ONE PHASE; END")
}
