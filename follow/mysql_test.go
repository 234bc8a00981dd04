package follow_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// inSession runs statements in one session, in a database.
func inSession(t *testing.T, server databaseServer, name string, statements ...string) {
	t.Helper()
	conn, err := open(t, server, name).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range statements {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// expectOf is expect with statements in one session.
func (f *followed) expectOf(t *testing.T, server databaseServer, want []string, statements ...string) {
	t.Helper()
	inSession(t, server, f.source.Tables[0].Schema, statements...)
	f.expect(t, server, want)
}

// TestEachKindOfChangeOfMySQLIsReported changes rows in the ways that MySQL has. Its log
// has changes by cascades since version 9.6, and before that those of the parent.
func TestEachKindOfChangeOfMySQLIsReported(t *testing.T) {
	t.Parallel()
	server := needsMySQL(t)
	name := database(t, server, "kinds",
		"CREATE TABLE users (id int PRIMARY KEY AUTO_INCREMENT, name varchar(40) NOT NULL UNIQUE, n int NOT NULL DEFAULT 0, settings json)",
		"CREATE TABLE grants (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, CONSTRAINT u FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)",
		"CREATE TABLE other (id int PRIMARY KEY, note varchar(20))", "CREATE TABLE watched (id int PRIMARY KEY, note varchar(20))",
		"CREATE TRIGGER counts AFTER UPDATE ON watched FOR EACH ROW UPDATE users SET n = n + 1 WHERE id = NEW.id",
		"CREATE FUNCTION counted() RETURNS int MODIFIES SQL DATA BEGIN UPDATE users SET n = n + 1 WHERE id = 1; RETURN 1; END",
		`INSERT INTO users (id, name, settings) VALUES (1, 'ann', '{"theme": "one with a long name"}'), (2, 'bob', NULL), (3, 'cid', NULL)`,
		"INSERT INTO other VALUES (1, 'a'), (2, 'b')", "INSERT INTO watched VALUES (2, 'b')", "INSERT INTO grants (user_id) VALUES (3)")
	f := start(t, sourceOf(t, server, name, "users id", "grants user_id"))
	const update = "UPDATE users SET n = n + 1 WHERE id = 2"
	for _, change := range []struct {
		want       []string
		statements []string
	}{
		{[]string{"users 4"}, []string{"INSERT INTO users (id, name) VALUES (4, 'dan')"}},
		{[]string{"users 1", "users 2"}, []string{"UPDATE users SET n = 1 WHERE id < 3"}},
		{nil, []string{"UPDATE users SET n = 1 WHERE id < 3"}},
		{[]string{"users 4", "users 5"}, []string{"UPDATE users SET id = 5 WHERE id = 4"}},
		{[]string{"users 5"}, []string{"DELETE FROM users WHERE id = 5"}},
		{[]string{"users 2", "users 9"}, []string{"REPLACE INTO users (id, name) VALUES (9, 'bob')", "UPDATE users SET id = 2 WHERE id = 9"}},
		{[]string{"users 2"}, []string{"INSERT INTO users (id, name, n) VALUES (2, 'x', 10) AS new ON DUPLICATE KEY UPDATE n = new.n + 7"}},
		{[]string{"users 1", "users 2"}, []string{"UPDATE users JOIN other USING (id) SET users.n = 9, other.note = 'z'"}},
		{[]string{"users 1"}, []string{"WITH c AS (SELECT 1 AS id) UPDATE users JOIN c USING (id) SET n = 50"}},
		{[]string{"users 2"}, []string{"UPDATE watched SET note = 'q' WHERE id = 2"}},
		{[]string{"users 1"}, []string{"INSERT INTO other VALUES (100 + counted(), 'x')"}},
		{nil, []string{"INSERT INTO other VALUES (7, 'x')"}},
		{[]string{"grants 1", "users 2"}, []string{"BEGIN", update, "INSERT INTO grants (user_id) VALUES (1)", "COMMIT"}},
		{nil, []string{"BEGIN", update, "ROLLBACK"}},
		{[]string{"users 1"}, []string{"BEGIN", "UPDATE users SET n = 30 WHERE id = 1", "SAVEPOINT s", update, "ROLLBACK TO s", "COMMIT"}},
		{[]string{"users 2"}, []string{"SET gtid_next = 'AUTOMATIC:tagged'", update}},
		{[]string{"users 2"}, []string{"SET binlog_transaction_compression = ON", "BEGIN", update, "INSERT INTO other VALUES (8, 'y')", "COMMIT"}},
		{[]string{"users 1"}, []string{"SET binlog_row_value_options = PARTIAL_JSON", "UPDATE users SET settings = JSON_SET(settings, '$.theme', 'b') WHERE id = 1"}},
		{[]string{"users 2"}, []string{"SET binlog_rows_query_log_events = ON", update}},
		{[]string{"users 2"}, []string{"SET binlog_row_image = MINIMAL", update}},
		{[]string{"users 2"}, []string{"SET binlog_row_image = NOBLOB", update}},
		{[]string{"grants *"}, []string{"SET binlog_row_image = MINIMAL", "DELETE FROM grants WHERE user_id = 1"}},
		{[]string{"all"}, []string{"SET binlog_format = STATEMENT", update}},
		{[]string{"all"}, []string{"SET binlog_format = STATEMENT", "SET binlog_transaction_compression = ON", update}},
		{[]string{"users 1", "users 2"}, []string{"SET binlog_format = MIXED", "UPDATE users SET n = UUID_SHORT() % 1000 + 100 WHERE id < 3"}},
		{[]string{"users 2"}, []string{"XA START 'a'", update, "XA END 'a'", "XA COMMIT 'a' ONE PHASE"}},
		{[]string{"users 2"}, []string{"XA START 'b'", update, "XA END 'b'", "XA PREPARE 'b'", "XA ROLLBACK 'b'"}},
		{[]string{"all", "users 2"}, []string{"XA START 'c'", update, "XA END 'c'", "XA PREPARE 'c'", "XA COMMIT 'c'"}},
		{nil, []string{"XA START 'd'", "INSERT INTO other VALUES (9, 'z')", "XA END 'd'", "XA PREPARE 'd'", "XA COMMIT 'd'"}},
		{[]string{"grants 3", "users 3"}, []string{"DELETE FROM users WHERE id = 3"}},
		{nil, []string{"DROP USER IF EXISTS kinds", "CREATE USER kinds IDENTIFIED BY 'x'", "ALTER USER kinds IDENTIFIED BY 'y' RETAIN CURRENT PASSWORD", "GRANT SELECT ON kinds.* TO kinds", "DROP USER kinds"}},
		{nil, []string{"FLUSH BINARY LOGS", "ANALYZE TABLE users", "DROP DATABASE IF EXISTS kinder", "CREATE DATABASE kinder", "CREATE TEMPORARY TABLE t (id int)", "DROP TEMPORARY TABLE t", "DROP DATABASE kinder"}},
		{[]string{"all"}, []string{"TRUNCATE grants"}},
	} {
		f.expectOf(t, server, change.want, change.statements...)
		if t.Failed() {
			t.Fatalf("at %q", change.statements)
		}
	}
}

// TestChangesOfTablesOfMySQLAreReported changes definitions in the ways that MySQL has.
func TestChangesOfTablesOfMySQLAreReported(t *testing.T) {
	t.Parallel()
	server := needsMySQL(t)
	name := database(t, server, "defined", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')", "CREATE TABLE single (id int PRIMARY KEY)",
		"CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))")
	database(t, server, "beside")
	for _, change := range [][]string{
		{"ALTER TABLE users ADD COLUMN first int FIRST, ALGORITHM = INSTANT"},
		{"ALTER TABLE users DROP COLUMN first, ALGORITHM = INSTANT"},
		{"ALTER TABLE users ADD INDEX (n), ALGORITHM = INPLACE"},
		{"ALTER TABLE users MODIFY n bigint, ALGORITHM = COPY"},
		{"ALTER TABLE parts EXCHANGE PARTITION p0 WITH TABLE single"},
		{"ALTER TABLE parts TRUNCATE PARTITION p1"},
		{"RENAME TABLE users TO former, single TO users, former TO single", "RENAME TABLE users TO former, single TO users, former TO single"},
		{"DROP TABLE single", "CREATE TABLE single (id int PRIMARY KEY)"},
		{"CREATE TABLE copied SELECT * FROM users"},
		{"USE beside", "RENAME TABLE defined.users TO users", "RENAME TABLE users TO defined.users"},
		{"OPTIMIZE TABLE users"},
	} {
		f := start(t, sourceOf(t, server, name, "users id", "parts id"))
		inSession(t, server, name, change...)
		if said := f.take(t); !slices.Contains(said, "structure") {
			t.Errorf("after %q it was reported that %q changed", change, said)
		}
		f.expect(t, server, []string{"users *"}, "UPDATE users SET n = n + 1")
		f.stop()
	}
}

// TestColumnsOfMySQL has columns in tables that a row in the log has, but a query doesn't
// show, and columns of the types that only MySQL has.
func TestColumnsOfMySQL(t *testing.T) {
	t.Parallel()
	server := needsMySQL(t)
	for i, table := range [][]string{
		{"SET sql_generate_invisible_primary_key = ON", "CREATE TABLE users (name varchar(40), id int UNIQUE, n int)"},
		{"CREATE TABLE users (hidden int INVISIBLE DEFAULT 5, id int PRIMARY KEY, name varchar(40) INVISIBLE, n int)"},
		{"CREATE TABLE users (a int AS (n + 1), b int AS (n + 2) STORED, id int PRIMARY KEY, name varchar(40) DEFAULT (uuid()), n int)"},
		{
			"CREATE TABLE users (name varchar(40), n int, j json, INDEX ((n + 1)), id int PRIMARY KEY, INDEX ((CAST(j->'$.x' AS UNSIGNED ARRAY))))",
			"ALTER TABLE users ADD COLUMN first int FIRST", "ALTER TABLE users ADD COLUMN later int AFTER name",
		},
		{"CREATE TABLE users (v vector(3), g geometry, j json, t time(1), b bit(17), s set('x', 'y'), dc decimal(30,10), id int PRIMARY KEY, name varchar(40), n int)"},
		{"CREATE TABLE users (id int PRIMARY KEY, name varchar(40), n int) PARTITION BY HASH (id) PARTITIONS 3"},
	} {
		name := database(t, server, fmt.Sprint("columns", i))
		inSession(t, server, name, append(table, "INSERT INTO users (id, n) VALUES (1, 1)")...)
		f := start(t, sourceOf(t, server, name, "users id"))
		f.expect(t, server, []string{"users 2", "users 3"}, "INSERT INTO users (id, name, n) VALUES (2, 'b', 2), (3, 'c', 3)")
		f.expect(t, server, []string{"users 1"}, "UPDATE users SET name = 'x', n = 5 WHERE id = 1")
		f.expect(t, server, []string{"users 3"}, "DELETE FROM users WHERE id = 3")
		f.stop()
	}
}

// TestOtherFormsOfTheLogOfMySQL follows a server with options that change how events look.
func TestOtherFormsOfTheLogOfMySQL(t *testing.T) {
	t.Parallel()
	server := startMySQL(t, "--binlog-row-metadata=FULL", "--binlog-checksum=NONE", "--binlog-transaction-compression=ON", "--lower-case-table-names=1", "--max-allowed-packet=128M")
	t.Run("compressed", func(t *testing.T) { followCompressed(t, server) })
	t.Run("XA", func(t *testing.T) { followPrepared(t, server) })
	t.Run("semi-sync", func(t *testing.T) { followSemiSync(t, server) })
	t.Run("without GTIDs", func(t *testing.T) { followAnonymous(t, server) })
}

// followCompressed has compressed transactions, of which one is much larger than what is
// kept of one.
func followCompressed(t *testing.T, server databaseServer) {
	t.Helper()
	name := database(t, server, "forms", strings.Replace(usersTable, "users", "Users", 1), "INSERT INTO Users (id, name) VALUES (1, 'ann'), (2, 'bob')",
		"CREATE TABLE documents (id int PRIMARY KEY AUTO_INCREMENT, document longtext)")
	f := start(t, sourceOf(t, server, name, "Users id"))
	defer f.stop()
	f.expect(t, server, []string{"Users 1"}, "UPDATE Users SET n = n + 1 WHERE id = 1")
	f.expectOf(t, server, []string{"Users 1", "Users 2"}, "BEGIN", "UPDATE Users SET n = n + 1 WHERE id = 1", "INSERT INTO documents (document) VALUES (REPEAT('x', 20000000))",
		"INSERT INTO documents (document) SELECT document FROM documents", "INSERT INTO documents (document) SELECT document FROM documents",
		"UPDATE users SET n = n + 1 WHERE id = 2", "COMMIT")
	f.expect(t, server, []string{"structure"}, "ALTER TABLE users COMMENT 'x'")
}

// followPrepared prepares transactions in one session, and ends them in another one, after
// a restart of the server, too.
func followPrepared(t *testing.T, server databaseServer) {
	t.Helper()
	name := database(t, server, "prepared", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')")
	s := followStore(t, userstore.Config{DSN: server.DSN(name), Follow: &userstore.FollowConfig{Strict: true}}, userstore.Needs{})
	defer s.following.Close()
	want := password(s.keep(t, userKey(1)))
	for i, end := range []string{"ROLLBACK", "COMMIT", "COMMIT"} {
		xid := fmt.Sprint(i, end)
		prepareOfMySQL(t, server, name, xid)
		if i == 2 {
			server.Stop()
			if err := server.Restart(); err != nil {
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

// prepareOfMySQL has a session prepare a transaction that sets the user's password, and end.
func prepareOfMySQL(t *testing.T, server databaseServer, name, xid string) {
	t.Helper()
	db, err := sql.Open("mysql", server.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, statement := range []string{"XA START '" + xid + "'", "UPDATE auth_user SET password = '" + xid + "' WHERE id = 1", "XA END '" + xid + "'", "XA PREPARE '" + xid + "'"} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// followSemiSync has a server wait for a replica that there isn't: its log has a change
// long before queries see it.
func followSemiSync(t *testing.T, server databaseServer) {
	t.Helper()
	if err := server.Exec("", "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'"); err != nil {
		t.Skip(err)
	}
	name := database(t, server, "semisync", countersTable+"InnoDB", "INSERT INTO counters VALUES (1, 0)")
	db := open(t, server, name)
	f := start(t, sourceOf(t, server, name, "counters id n"))
	awaitCommitted(t, f, f.start)
	exec(t, server, "", "SET GLOBAL rpl_semi_sync_source_timeout = 3600000", "SET GLOBAL rpl_semi_sync_source_enabled = ON")
	work := make(chan error, 1)
	go func() { work <- countUp(db, 1, 1) }()
	at := f.await(t, "counters 1,1")
	later := start(t, sourceOf(t, server, name, "counters id n"))
	for range 50 {
		for _, of := range []struct {
			*followed
			at userstore.LogPosition
		}{{f, at}, {later, later.start}} {
			committed, _, err := of.positions.Committed(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if seen := counter(t, db, 1); seen == 0 && !committed.Before(of.at) {
				t.Fatalf("while a replica is waited for, Committed says %v, but a query doesn't see the change before %v", committed, of.at)
			}
		}
	}
	exec(t, server, "", "SET GLOBAL rpl_semi_sync_source_enabled = OFF")
	if err := <-work; err != nil {
		t.Fatal(err)
	}
	awaitCommitted(t, f, at)
	awaitCommitted(t, later, later.start)
}

// TestCommittedOfMySQLWaitsForOwnedTransactions begins while sessions have GTIDs of two
// servers, as the threads of a replica do. One is committed, and the other one is given up.
func TestCommittedOfMySQLWaitsForOwnedTransactions(t *testing.T) {
	t.Parallel()
	server := needsMySQL(t)
	name := database(t, server, "owned", countersTable+"InnoDB", "INSERT INTO counters VALUES (1, 0)")
	db := open(t, server, name)
	var sessions []*sql.Conn
	for _, number := range []string{":5", ":tag_a:5"} {
		var id string
		if err := db.QueryRow("SELECT UUID()").Scan(&id); err != nil {
			t.Fatal(err)
		}
		id += number
		session := writeAs(t, server, name, "gtid_next = '"+id+"'")
		defer session.Close()
		write(t, session, "BEGIN")
		write(t, session, "SELECT * FROM counters")
		sessions = append(sessions, session)
	}
	f := start(t, sourceOf(t, server, name, "counters id n"))
	for range 20 {
		if committed, _, err := f.positions.Committed(t.Context()); err != nil || !committed.Before(f.start) {
			t.Fatalf("while transactions are being committed, Committed says %v, %v", committed, err)
		}
	}
	write(t, sessions[0], "UPDATE counters SET n = 1")
	write(t, sessions[0], "COMMIT")
	write(t, sessions[1], "ROLLBACK")
	write(t, sessions[1], "SET gtid_next = AUTOMATIC")
	awaitCommitted(t, f, f.await(t, "counters 1,1"))
}

// followAnonymous has transactions without GTIDs: the server doesn't tell when queries see
// them.
func followAnonymous(t *testing.T, server databaseServer) {
	t.Helper()
	name := database(t, server, "anonymous", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	source := sourceOf(t, server, name, "users id")
	f := start(t, source)
	exec(t, server, "", "SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = OFF_PERMISSIVE")
	mustNotTell := func(f *followed) {
		t.Helper()
		f.expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1")
		if _, ok, err := f.positions.Committed(t.Context()); ok || err != nil {
			t.Errorf("the server can't tell, but Committed says %t, %v", ok, err)
		}
	}
	mustNotTell(f)
	if err := f.positions.SameLog(t.Context()); err == nil {
		t.Error("gtid_mode was changed, and the log is the same")
	}
	f = start(t, source)
	mustNotTell(f)
	if err := f.positions.SameLog(t.Context()); err != nil {
		t.Error(err)
	}
	report, err := follow.Follower{}.Inspect(t.Context(), source)
	if said := strings.Join(report.Problems, "\n"); err != nil || !strings.Contains(said, "gtid_mode=ON") {
		t.Errorf("the problems are %q, %v", said, err)
	}
	exec(t, server, "", "SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = ON")
	if err := f.positions.SameLog(t.Context()); err == nil {
		t.Error("transactions have GTIDs now, and the log is the same")
	}
}

// TestCommittedIsNotAheadOfQueriesOfMySQL changes rows over and over, in each way in which
// a transaction ends. Once Committed has reached it, a query must see the change.
func TestCommittedIsNotAheadOfQueriesOfMySQL(t *testing.T) {
	t.Parallel()
	server := needsMySQL(t)
	exec(t, server, "", "SET GLOBAL sync_binlog = 1", "SET GLOBAL binlog_group_commit_sync_delay = 200")
	for _, order := range []string{"ON", "OFF"} {
		exec(t, server, "", "SET GLOBAL binlog_order_commits = "+order)
		name := database(t, server, "visible", countersTable+"InnoDB", "INSERT INTO counters VALUES (1, 0), (2, 0), (3, 0), (4, 0)")
		f := start(t, sourceOf(t, server, name, "counters id n"))
		db := open(t, server, name)
		const changes = 60
		var writers sync.WaitGroup
		for id := range 4 {
			writers.Go(func() { countUpInWays(t, server, id+1, changes) })
		}
		for checked := 0; checked < 4*changes && !t.Failed(); {
			what, at := f.next(t)
			id, n := parseCounter(t, what)
			if n == 0 {
				continue // the row before its first change
			}
			checked++
			awaitCommitted(t, f, at)
			if seen := counter(t, db, id); seen < n {
				t.Errorf("with binlog_order_commits=%s, Committed has reached %v, but a query of the counter %d sees %d and not %d", order, at, id, seen, n)
			}
		}
		writers.Wait()
		f.stop()
	}
}

// countUpInWays changes a counter some times, in ways that differ in how they end.
func countUpInWays(t *testing.T, server databaseServer, id, times int) {
	conn, err := open(t, server, "visible").Conn(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	update := fmt.Sprintf("UPDATE counters SET n = n + 1 WHERE id = %d", id)
	for i := range times {
		xid := fmt.Sprintf("'%d-%d'", id, i)
		for _, statement := range [][]string{
			{update},
			{"BEGIN", update, "COMMIT"},
			{"XA START " + xid, update, "XA END " + xid, "XA COMMIT " + xid + " ONE PHASE"},
			{"SET gtid_next = 'AUTOMATIC:tag'", update, "SET gtid_next = 'AUTOMATIC'"},
			{"SET binlog_transaction_compression = ON", update, "SET binlog_transaction_compression = OFF"},
		}[(i+id)%5] {
			if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

// TestAccountsOfMySQL follows with accounts of its own kind of password, with TLS and
// without, and with accounts that lack a privilege.
func TestAccountsOfMySQL(t *testing.T) {
	t.Parallel()
	server := needsMySQL(t)
	name := database(t, server, "account", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	for i, account := range []struct{ grants, want string }{
		{"", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO it"},
		{"REPLICATION SLAVE ON *.*", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO it"},
		{"REPLICATION CLIENT ON *.*; SELECT ON account.*", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO it"},
		{"REPLICATION SLAVE, REPLICATION CLIENT ON *.*", "GRANT REFERENCES ON `account`.`users` TO it"},
		{"REPLICATION SLAVE, REPLICATION CLIENT ON *.*; REFERENCES ON account.*", ""},
	} {
		for _, isSecure := range []bool{false, true} {
			t.Run(fmt.Sprint(account.grants, " ", isSecure), func(t *testing.T) {
				user := fmt.Sprintf("account%d%t", i, isSecure)
				exec(t, server, "", "DROP USER IF EXISTS "+user, "CREATE USER "+user+" IDENTIFIED WITH caching_sha2_password BY 'pass:@/word'")
				for grant := range strings.SplitSeq(account.grants, "; ") {
					if grant != "" {
						exec(t, server, "", "GRANT "+grant+" TO "+user)
					}
				}
				source := sourceOf(t, server, name, "users id")
				source.Server.User, source.Server.Passwd = user, "pass:@/word"
				if isSecure {
					exec(t, server, "", "ALTER USER "+user+" REQUIRE SSL")
					source.Server.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the server makes its own certificate
				}
				report, err := follow.Follower{}.Inspect(t.Context(), source)
				if err != nil {
					t.Fatal(err)
				}
				if said := strings.Join(report.Problems, "\n"); account.want == "" && said != "" || !strings.Contains(said, account.want) {
					t.Errorf("the problems are %q, and not %q", said, account.want)
				}
				if account.want == "" {
					start(t, source).expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1")
					return
				}
				if err := launch(t, source).end(t); !errors.As(err, new(*userstore.Unfollowable)) {
					t.Errorf("following ends with %v, after which it is tried again", err)
				}
			})
		}
	}
}
