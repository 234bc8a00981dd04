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
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
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
	server    *testmariadb.Server
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

func newStaleness(t *testing.T) *staleness {
	t.Helper()
	s := &staleness{server: startServer(t, "--max-binlog-size=1M"), ledger: ledger{rows: make([][]commit, staleUsers)}}
	name := database(t, s.server, "stale", staleTable, "CREATE TABLE many (id int PRIMARY KEY, note varchar(100))")
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

// TestNoRowIsUsedLongerThanTheLease breaks the network and the server in many ways,
// while rows are changed and looked up all the time.
func TestNoRowIsUsedLongerThanTheLease(t *testing.T) {
	t.Parallel()
	s := newStaleness(t)
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
	exec(t, s.server, "", "CREATE DATABASE busy", "CREATE TABLE busy.t (a int) ENGINE=InnoDB")
	statement := func(statements ...string) func() error {
		return func() error { return s.server.Exec("stale", statements...) }
	}
	pass := func() error { s.proxy.Pass(); return nil }
	for _, fault := range []struct {
		name       string
		begin, end func() error
	}{
		{"nothing", pass, pass},
		{"the network freezes", func() error { s.proxy.Freeze(); return nil }, pass},
		{"the network is slow", func() error { s.proxy.Delay(300 * time.Millisecond); return nil }, pass},
		{"the network trickles", func() error { s.proxy.Trickle(time.Millisecond); return nil }, pass},
		{"connections are reset", func() error { s.proxy.Reset(); return nil }, pass},
		{"connections are reset in the midst", func() error { s.proxy.ResetAfter(300); return nil }, pass},
		{"the server freezes", s.server.Freeze, func() error { s.server.Thaw(); return nil }},
		{"the server is restarted", func() error { s.server.Stop(); return nil }, func() error { return s.server.Restart() }},
		{"files begin", statement("FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS"), pass},
		{"the log is reset", statement("RESET MASTER"), pass},
		{"files are removed", statement("FLUSH BINARY LOGS", "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY"), pass},
		{"the table changes", statement("ALTER TABLE auth_user ADD COLUMN first int FIRST", "ALTER TABLE auth_user DROP COLUMN first"), pass},
		{"the table is replaced", statement("CREATE TABLE next LIKE auth_user", "INSERT INTO next SELECT * FROM auth_user", "RENAME TABLE auth_user TO former, next TO auth_user", "DROP TABLE former"), pass},
		{"a large transaction", statement("INSERT INTO many SELECT seq, REPEAT('x', 100) FROM seq_1_to_100000"), statement("TRUNCATE many")},
		{"another database is busy", statement("BEGIN NOT ATOMIC FOR i IN 1..5000 DO INSERT INTO busy.t VALUES (i); END FOR; END"), pass},
		{"the stream is killed", func() error { killStreams(s.server); return nil }, pass},
	} {
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
	s.replaceServer(t)
	stats := s.following.Stats()
	s.mu.Lock() // those who ask still do
	defer s.mu.Unlock()
	t.Logf("%d answers, %d failures, %d hits, %d misses, %d interruptions", s.answers, s.failures, stats.Hits, stats.Misses, stats.Interruptions)
}

// replaceServer has the address lead to a server with another history.
func (s *staleness) replaceServer(t *testing.T) {
	t.Helper()
	other := startServer(t)
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

// killStreams ends all streams of a server. There may be none.
func killStreams(server *testmariadb.Server) {
	_ = server.Exec("", "BEGIN NOT ATOMIC DECLARE stream int; "+
		"SELECT ID INTO stream FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'; KILL stream; END")
}
