package follow_test

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// countersTable has rows whose n only grows, so that it tells which change a query
// has seen. The column is a key, so that it is reported as well.
const countersTable = "CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL) ENGINE="

// TestCommittedIsNotAheadOfQueries changes rows over and over, in small binlogs. Once
// Committed has reached an event, a query must see that change.
func TestCommittedIsNotAheadOfQueries(t *testing.T) {
	t.Parallel()
	for _, optimized := range []string{"ON", "OFF"} {
		t.Run(optimized, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--max-binlog-size=4096", "--binlog-optimize-thread-scheduling="+optimized)
			name := database(t, server, "visible", countersTable+"InnoDB", "INSERT INTO counters VALUES (1, 0), (2, 0), (3, 0)")
			f := start(t, sourceOf(t, server, name, "counters id n"))
			if optimized == "OFF" {
				if _, ok, err := f.positions.Committed(t.Context()); ok || err != nil {
					t.Fatalf("the server can't tell, but Committed says %t, %v", ok, err)
				}
				return
			}
			db := open(t, server, name)
			const changes = 150
			writing := make(chan error, 3)
			for id := range 3 {
				go func() { writing <- countUp(db, id+1, changes) }()
			}
			for checked := 0; checked < 3*changes; {
				what, at := f.next(t)
				id, n := parseCounter(t, what)
				if n == 0 {
					continue // the row before its first change
				}
				checked++
				awaitCommitted(t, f, at)
				if seen := counter(t, db, id); seen < n {
					t.Fatalf("Committed has reached %v, but a query of the counter %d sees %d and not %d", at, id, seen, n)
				}
			}
			for range 3 {
				if err := <-writing; err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestCommittedWaitsForReplicas has a replica that doesn't confirm what it gets. So a
// change is in the stream long before queries see it.
func TestCommittedWaitsForReplicas(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-timeout=3600000")
	name := database(t, server, "semisync", countersTable+"InnoDB", "INSERT INTO counters VALUES (1, 0)")
	db := open(t, server, name)
	f := start(t, sourceOf(t, server, name, "counters id n"))
	exec(t, server, "", "SET GLOBAL rpl_semi_sync_master_enabled = ON")
	hangingReplica(t, server)
	awaitStatus(t, db, "Rpl_semi_sync_master_status", "ON")
	work := make(chan error, 3)
	go func() { work <- countUp(db, 1, 1) }()
	at := f.await(t, "counters 1,1")
	awaitStatus(t, db, "Rpl_semi_sync_master_wait_sessions", "1")
	mustNotBeCommitted := func(when string) {
		t.Helper()
		// Often: what makes the server's answer wrong may take effect a little later.
		for range 50 {
			committed, _, err := f.positions.Committed(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if seen := counter(t, db, 1); seen == 0 && !committed.Before(at) {
				t.Fatalf("%s, Committed says %v, but a query doesn't see the change at %v", when, committed, at)
			}
		}
	}
	mustNotBeCommitted("while a replica is waited for")

	// Another stream begins behind the change.
	second := start(t, sourceOf(t, server, name, "counters id n"))
	if second.start.Before(at) {
		t.Fatalf("the stream begins at %v, before %v", second.start, at)
	}
	ask := time.NewTicker(20 * time.Millisecond)
	defer ask.Stop()
	for range 100 { // longer than a server without transactions needs to be believed
		<-ask.C
		if committed, _, err := second.positions.Committed(t.Context()); err != nil || !committed.Before(second.start) {
			t.Fatalf("Committed of a stream that has begun at %v says %v, %v, but a query doesn't see what is before it", second.start, committed, err)
		}
	}

	go func() { work <- server.Exec(name, "FLUSH BINARY LOGS") }()
	f.wait(t, func() bool { return f.at.File > at.File })
	mustNotBeCommitted("while a replica is waited for, after a file has begun")

	exec(t, server, "", "SET GLOBAL rpl_semi_sync_master_enabled = OFF")
	for range 2 {
		if err := <-work; err != nil {
			t.Fatal(err)
		}
	}
	awaitCommitted(t, f, at)
	awaitCommitted(t, second, second.start)
	if seen := counter(t, db, 1); seen != 1 {
		t.Errorf("a query sees %d", seen)
	}
}

// TestCommittedWaitsForChangesThatDontFollowTheLog changes rows in ways in which the
// server writes the log before queries see the change, without telling when they do.
func TestCommittedWaitsForChangesThatDontFollowTheLog(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "late", countersTable+"InnoDB", "INSERT INTO counters VALUES (1, 0)", "CREATE TABLE list (n int) ENGINE=Aria", "INSERT INTO list VALUES (0)")
	f := start(t, sourceOf(t, server, name, "counters id n"))
	awaitCommitted(t, f, f.start)
	for _, change := range []struct {
		what, reported string
		statements     []string
	}{
		{"a table without transactions is changed as well", "counters 1,1", []string{"UPDATE counters JOIN list SET counters.n = 1, list.n = 1"}},
	} {
		exec(t, server, name, change.statements...)
		end := f.written(t)
		f.wait(t, func() bool { return !f.at.Before(end) })
		at := f.await(t, change.reported)
		for range 5 { // in which no time is counted that is long enough
			if committed, _, err := f.positions.Committed(t.Context()); err != nil || !committed.Before(at) {
				t.Fatalf("when %s, Committed says at once that queries see the change at %v: %v, %v", change.what, at, committed, err)
			}
		}
		awaitCommitted(t, f, at)
	}
}

// TestCommittedReachesTheStartOfAQuietServer follows a server on which nothing happens,
// whose last event was of several kinds.
func TestCommittedReachesTheStartOfAQuietServer(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "quiet", countersTable+"InnoDB")
	for _, last := range []string{"INSERT INTO counters VALUES (1, 0)", "FLUSH BINARY LOGS", "RESET MASTER", "TRUNCATE counters"} {
		exec(t, server, name, last)
		f := start(t, sourceOf(t, server, name, "counters id n"))
		awaitCommitted(t, f, f.start)
	}
}

// open opens a database of a server until the test ends.
func open(t *testing.T, server databaseServer, name string) *sql.DB {
	t.Helper()
	return openDSN(t, server.DSN(name))
}

func openDSN(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// countUp changes a counter some times.
func countUp(db *sql.DB, id, times int) error {
	for range times {
		if _, err := db.Exec("UPDATE counters SET n = n + 1 WHERE id = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// counter is what a query sees.
func counter(t *testing.T, db *sql.DB, id int) (n int) {
	t.Helper()
	if err := db.QueryRow("SELECT n FROM counters WHERE id = ?", id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// parseCounter reads what was reported of a counter.
func parseCounter(t *testing.T, said string) (id, n int) {
	t.Helper()
	if _, err := fmt.Sscanf(said, "counters %d,%d", &id, &n); err != nil {
		t.Fatalf("%q was reported: %v", said, err)
	}
	return id, n
}

// next waits for a report, and takes it.
func (f *followed) next(t *testing.T) (what string, at userstore.LogPosition) {
	t.Helper()
	f.wait(t, func() bool { return len(f.said) > 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	what, at = f.said[0], f.when[0]
	f.said, f.when = f.said[1:], f.when[1:]
	return what, at
}

// await takes reports up to one.
func (f *followed) await(t *testing.T, want string) userstore.LogPosition {
	t.Helper()
	for {
		if what, at := f.next(t); what == want {
			return at
		}
	}
}

// awaitCommitted waits until Committed has reached a position.
func awaitCommitted(t *testing.T, f *followed, at userstore.LogPosition) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	var last userstore.LogPosition
	for deadline := time.After(patience); ; {
		committed, ok, err := f.positions.Committed(t.Context())
		if err != nil || !ok {
			t.Fatalf("Committed: %t, %v", ok, err)
		}
		if !committed.Before(at) {
			return
		}
		if committed.Before(last) {
			t.Fatalf("Committed goes back from %v to %v", last, committed)
		}
		last = committed
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("Committed is at %v after %s, and not at %v", committed, patience, at)
		}
	}
}

// awaitStatus waits until a status variable has a value.
func awaitStatus(t *testing.T, db *sql.DB, name, want string) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		var ignored, value string
		if err := db.QueryRow("SHOW STATUS LIKE '"+name+"'").Scan(&ignored, &value); err != nil {
			t.Fatal(err)
		}
		if value == want {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s is %s after %s, and not %s", name, value, patience, want)
		}
	}
}

// hangingReplica reads the binlog as a semi-synchronous replica that confirms nothing.
func hangingReplica(t *testing.T, server *testmariadb.Server) {
	t.Helper()
	conn, err := client.Connect(server.Addr(), "root", "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	for _, statement := range []string{"SET @master_binlog_checksum = 'NONE'", "SET @mariadb_slave_capability = 4", "SET @rpl_semi_sync_slave = 1"} {
		if _, err := conn.Execute(statement); err != nil {
			t.Fatal(err)
		}
	}
	status, err := conn.Execute("SHOW MASTER STATUS")
	if err != nil {
		t.Fatal(err)
	}
	file, _ := status.GetString(0, 0)
	position, _ := status.GetString(0, 1)
	offset, err := strconv.ParseUint(strings.TrimSpace(position), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	command := append([]byte{0, 0, 0, 0, 0x12}, make([]byte, 10)...)
	binary.LittleEndian.PutUint32(command[5:], uint32(offset))
	binary.LittleEndian.PutUint32(command[11:], 77)
	conn.ResetSequence()
	if err := conn.WritePacket(append(command, file...)); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := conn.ReadPacket(); err != nil {
				return
			}
		}
	}()
}
