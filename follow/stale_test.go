package follow_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// ledger has when each value of a row was certain to be committed. Values grow.
type ledger struct {
	mu   sync.Mutex
	rows [][]commit
}

type commit struct {
	value int
	at    time.Time
}

func (l *ledger) committed(row, value int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows[row] = append(l.rows[row], commit{value, time.Now()})
}

// least is the value that a row had at a time at least.
func (l *ledger) least(row int, at time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.rows[row]) - 1; i >= 0; i-- {
		if c := l.rows[row][i]; c.at.Before(at) {
			return c.value
		}
	}
	return 0
}

// staleness is a user store that follows a server behind a proxy, with a program that
// changes rows all the time, and lookups that are judged by when that was.
type staleness struct {
	server    databaseServer
	proxy     *faultproxy.Proxy
	following *userstore.Following
	users     userstore.Finder
	ledger    ledger
	answers   int
	failures  int
	mu        sync.Mutex
}

const (
	staleTable = "CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, password varchar(128) NOT NULL, " +
		"last_login datetime(6) NULL, is_active bool NOT NULL DEFAULT 1)"
	staleUsers = 8
	staleLease = 500 * time.Millisecond
)

func newStaleness(t *testing.T, server databaseServer) *staleness {
	t.Helper()
	s := &staleness{server: server, ledger: ledger{rows: make([][]commit, staleUsers)}}
	name := database(t, s.server, "stale", staleTable, "CREATE TABLE many (id int PRIMARY KEY, note varchar(100))",
		"CREATE TABLE digits (n int)", "INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)")
	for row := range staleUsers {
		exec(t, s.server, name, fmt.Sprintf("INSERT INTO auth_user (id, username, password) VALUES (%d, 'user%d', '0')", row, row))
	}
	var err error
	if s.proxy, err = faultproxy.Start(s.server.Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.proxy.Close)
	cfg := userstore.Config{
		DSN:          "root@tcp(" + s.proxy.Addr() + ")/" + name,
		QueryTimeout: caddy.Duration(patience / 6),
		Follow:       &userstore.FollowConfig{Lease: caddy.Duration(staleLease)},
	}
	store, err := userstore.Open(t.Context(), cfg, userstore.Needs{}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	s.following = store.Follow(follow.Follower{})
	t.Cleanup(func() { s.following.Close() })
	s.users = userstore.Finder{Store: store, Following: s.following}
	return s
}

// change changes rows until ctx ends. Errors are expected: of those changes nothing is
// certain.
func (s *staleness) change(ctx context.Context, db *sql.DB) {
	for value := 1; ctx.Err() == nil; value++ {
		row := value % staleUsers
		<-time.After(time.Millisecond) // so that some rows are kept for a while
		limited, cancel := context.WithTimeout(ctx, time.Second)
		_, err := db.ExecContext(limited, "UPDATE auth_user SET password = ? WHERE id = ?", strconv.Itoa(value), row)
		cancel()
		if err == nil {
			s.ledger.committed(row, value)
		}
	}
}

// ask looks rows up until ctx ends, and judges what it gets.
func (s *staleness) ask(ctx context.Context, t *testing.T) {
	for i := 0; ctx.Err() == nil; i++ {
		row, seen := i%staleUsers, ""
		if row == 0 {
			<-time.After(time.Millisecond) // for the others' sake
		}
		began := time.Now()
		_, err := s.users.Find(ctx, userstore.ByPrimaryKey(token.IntKey(int64(row))), false, func(user *userstore.User) error {
			if user != nil {
				seen = *user.Password
			}
			return nil
		})
		s.mu.Lock()
		s.answers++
		if err != nil {
			s.failures++
		}
		s.mu.Unlock()
		if err != nil {
			continue
		}
		value, _ := strconv.Atoi(seen)
		if want := s.ledger.least(row, began.Add(-staleLease)); value < want {
			t.Errorf("%s after %d was committed to user %d, %d is used", staleLease, want, row, value)
			return
		}
	}
}

// current waits until kept rows are used, and some have been.
func (s *staleness) current(t *testing.T) {
	t.Helper()
	before := s.following.Stats().Hits
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		if stats := s.following.Stats(); stats.IsCurrent && stats.Hits > before {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("after %s, no kept row is used: %+v", patience, s.following.Stats())
		}
	}
}

// fault is what breaks the network or the server, and what ends that.
type fault struct {
	name       string
	begin, end func() error
}

// networkFaults are those that are the same for all servers.
func (s *staleness) networkFaults() []fault {
	pass := func() error { s.proxy.Pass(); return nil }
	return []fault{
		{"the network freezes", func() error { s.proxy.Freeze(); return nil }, pass},
		{"the network is slow", func() error { s.proxy.Delay(300 * time.Millisecond); return nil }, pass},
		{"the network trickles", func() error { s.proxy.Trickle(time.Millisecond); return nil }, pass},
		{"connections are reset", func() error { s.proxy.Reset(); return nil }, pass},
		{"connections are reset in the midst", func() error { s.proxy.ResetAfter(300); return nil }, pass},
	}
}

// serverFaults are those of a server, whose log is reset by a statement.
func (s *staleness) serverFaults(t *testing.T, reset string) []fault {
	t.Helper()
	statement := func(statements ...string) func() error {
		return func() error { return s.server.Exec("stale", statements...) }
	}
	nothing := func() error { return nil }
	return []fault{
		{"nothing", nothing, nothing},
		{"the server freezes", s.server.Freeze, func() error { s.server.Thaw(); return nil }},
		{"the server is restarted", func() error { s.server.Stop(); return nil }, func() error { return s.server.Restart() }},
		{"files begin", statement("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS"), nothing},
		{"the log is reset", statement(reset), nothing},
		{"files are removed", statement("FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"), nothing},
		{"the table changes", statement("ALTER TABLE auth_user ADD COLUMN first int FIRST", "ALTER TABLE auth_user DROP COLUMN first"), nothing},
		{"the table is replaced", statement("CREATE TABLE next LIKE auth_user", "INSERT INTO next SELECT * FROM auth_user", "RENAME TABLE auth_user TO former, next TO auth_user", "DROP TABLE former"), nothing},
		{"a large transaction", statement("INSERT INTO many SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n, REPEAT('x', 100) FROM digits a, digits b, digits c, digits d, digits e"), statement("TRUNCATE many")},
		{"another database is busy", statement("CALL busy.`change`(5000)"), nothing},
		{"the stream is killed", func() error { killStreams(t, s.server); return nil }, nothing},
	}
}

// TestNoRowIsUsedLongerThanTheLease breaks the network and the server in many ways,
// while rows are changed and looked up all the time.
func TestNoRowIsUsedLongerThanTheLease(t *testing.T) {
	t.Parallel()
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		s := newStaleness(t, startServer(t, "--max-binlog-size=1M"))
		s.mustNotBeStale(t, append(s.networkFaults(), s.serverFaults(t, "RESET MASTER")...), func() databaseServer { return startServer(t) })
	})
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		s := newStaleness(t, startMySQL(t, "--max-binlog-size=1M"))
		s.mustNotBeStale(t, s.serverFaults(t, "RESET BINARY LOGS AND GTIDS"), func() databaseServer { return needsMySQL(t) })
	})
}

// mustNotBeStale has one fault after the other, and another server in the end.
func (s *staleness) mustNotBeStale(t *testing.T, faults []fault, another func() databaseServer) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	writer := open(t, s.server, "stale")
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	tasks.Go(func() { s.change(writing, writer) })
	for range 3 {
		tasks.Go(func() { s.ask(ctx, t) })
	}
	s.current(t)
	makeBusy(t, s.server)
	for _, fault := range faults {
		if err := fault.begin(); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		<-time.After(2 * staleLease) // how long it lasts
		if err := fault.end(); err != nil {
			t.Fatalf("%s: %v", fault.name, err)
		}
		s.current(t)
		if t.Failed() {
			t.Fatalf("at: %s", fault.name)
		}
	}
	stopWriting()
	s.replaceServer(t, another())
	stats := s.following.Stats()
	s.mu.Lock() // those who ask still do
	defer s.mu.Unlock()
	t.Logf("%d answers, %d failures, %d hits, %d misses, %d interruptions", s.answers, s.failures, stats.Hits, stats.Misses, stats.Interruptions)
}

// replaceServer has the address lead to a server with another history.
func (s *staleness) replaceServer(t *testing.T, other databaseServer) {
	t.Helper()
	database(t, other, "stale", staleTable)
	const later = 1_000_000_000
	for row := range staleUsers {
		exec(t, other, "stale", fmt.Sprintf("INSERT INTO auth_user (id, username, password) VALUES (%d, 'user%d', '%d')", row, row, later))
	}
	s.proxy.Lead(other.Addr())
	s.proxy.Reset()
	for row := range staleUsers {
		s.ledger.committed(row, later)
	}
	s.proxy.Pass()
	<-time.After(2 * staleLease)
	s.current(t)
}

// makeBusy makes another database, whose procedure changes it some times.
func makeBusy(t *testing.T, server databaseServer) {
	t.Helper()
	database(t, server, "busy", "CREATE TABLE t (a int) ENGINE=InnoDB", "CREATE PROCEDURE `change`(times int) WHILE times > 0 DO INSERT INTO t VALUES (times); SET times = times - 1; END WHILE")
}

// killStreams ends all streams of a server. There may be none.
func killStreams(t *testing.T, server databaseServer) {
	t.Helper()
	rows, err := open(t, server, "").Query("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'")
	if err != nil {
		t.Error(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Error(err)
		}
		_ = server.Exec("", fmt.Sprint("KILL ", id)) // it may have ended
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}
