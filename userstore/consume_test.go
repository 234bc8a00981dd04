package userstore_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// startOfTests is a clock's reading with more digits than MySQL stores.
var startOfTests = time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC)

// TestTokenIsConsumedOnceByManyRequests lets many requests over two gateways use
// one token. In the worst case, all of them read the row before any consumes the
// token.
func TestTokenIsConsumedOnceByManyRequests(t *testing.T) {
	t.Parallel()
	const requests = 200
	tests := []struct {
		name, columnType, lastLogin string
		now                         func(i int) time.Time
	}{
		{"never logged in", "datetime(6)", "NULL", func(int) time.Time { return time.Now() }},
		{"one clock", "datetime(6)", "NULL", func(int) time.Time { return startOfTests }},
		{"one clock, which the row has too", "datetime(6)", "'2026-05-06 07:08:09.123456'", func(int) time.Time { return startOfTests }},
		{"in one second", "datetime", "'2026-05-06 07:08:09'", func(i int) time.Time { return startOfTests.Add(time.Duration(i)) }},
		{"milliseconds", "datetime(3)", "'2026-05-06 07:08:09.123'", func(int) time.Time { return startOfTests }},
		{"row in the future", "datetime(6)", "'2999-12-31 23:59:59.999999'", func(int) time.Time { return time.Now() }},
		{"clocks apart", "datetime(6)", "'2026-05-06 07:08:09.123456'", func(i int) time.Time {
			return startOfTests.Add(time.Duration(i-100) * time.Hour)
		}},
		{"timestamp", "timestamp(6) NULL", "'2026-05-06 07:08:09.123456'", func(int) time.Time { return startOfTests }},
		{"text", "varchar(26)", "'2026-05-06 07:08:09'", func(int) time.Time { return startOfTests }},
		{"short text", "varchar(19)", "'2026-05-06 07:08:09'", func(int) time.Time { return startOfTests }},
		{"zero date", "datetime NOT NULL", "'0000-00-00'", func(int) time.Time { return startOfTests }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active bool, email text, last_login "+
				test.columnType+")")
			// IGNORE lets the zero date pass.
			d.exec("INSERT IGNORE INTO auth_user VALUES (1, 'ab', 1, 'ë@x', " + test.lastLogin + ")")
			before := d.text("SELECT last_login FROM auth_user")
			// Pools of different limits aren't shared: two gateways.
			var gateways []*userstore.MySQL
			for _, limit := range []int{20, 21} {
				cfg := userstore.Config{DSN: d.dsn(), MaxOpenConns: limit, QueryTimeout: caddy.Duration(20 * time.Second)}
				gateways = append(gateways, openStore(t, cfg, userstore.Needs{LastLogin: true, Email: true}))
			}
			var read, done sync.WaitGroup
			var won, lost atomic.Int32
			read.Add(requests)
			for i := range requests {
				done.Go(func() {
					gateway := gateways[i%len(gateways)]
					u, err := gateway.Lookup(t.Context(), token.IntKey(1))
					read.Done()
					if err != nil {
						t.Error(err)
						return
					}
					read.Wait()
					switch err := gateway.Consume(t.Context(), u, test.now(i)); {
					case err == nil:
						won.Add(1)
					case errors.Is(err, userstore.ErrConsumed):
						lost.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			done.Wait()
			if won.Load() != 1 || lost.Load() != requests-1 {
				t.Errorf("%d requests won, %d lost", won.Load(), lost.Load())
			}
			after := d.text("SELECT last_login FROM auth_user")
			if after == before || before != "NULL" && after < before {
				t.Errorf("last_login went from %s to %s", before, after)
			}
		})
	}
}

func TestConsumeAfterAChange(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, change string
		needs        userstore.Needs
		want         error
	}{
		{"nothing", "SELECT 1", userstore.Needs{LastLogin: true}, nil},
		{"last login", "UPDATE auth_user SET last_login = '2024-02-29 23:59:59.000002'", userstore.Needs{LastLogin: true}, userstore.ErrConsumed},
		{"last login to NULL", "UPDATE auth_user SET last_login = NULL", userstore.Needs{LastLogin: true}, userstore.ErrConsumed},
		{"password", "UPDATE auth_user SET password = 'new'", userstore.Needs{LastLogin: true}, userstore.ErrConsumed},
		{"password's letter case", "UPDATE auth_user SET password = UPPER(password)", userstore.Needs{LastLogin: true}, userstore.ErrConsumed},
		{"deactivated", "UPDATE auth_user SET is_active = 0", userstore.Needs{LastLogin: true}, userstore.ErrConsumed},
		{"e-mail", "UPDATE auth_user SET email = 'new'", userstore.Needs{LastLogin: true, Email: true}, userstore.ErrConsumed},
		{"e-mail, which doesn't matter", "UPDATE auth_user SET email = 'new'", userstore.Needs{LastLogin: true}, nil},
		{"other columns", "UPDATE auth_user SET first_name = 'new'", userstore.Needs{LastLogin: true, Email: true}, nil},
		{"deleted", "DELETE FROM auth_user", userstore.Needs{LastLogin: true}, userstore.ErrConsumed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			s := openStore(t, userstore.Config{DSN: d.dsn()}, test.needs)
			u, err := s.Lookup(t.Context(), token.IntKey(2))
			if err != nil {
				t.Fatal(err)
			}
			d.exec(test.change)
			if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

func TestConsumeWritesWhatDjangoWould(t *testing.T) {
	t.Parallel()
	off := false
	tests := []struct {
		name, columnType string
		cfg              userstore.Config
		want             string
	}{
		{"USE_TZ", "datetime(6)", userstore.Config{}, "2026-05-06 07:08:09.123456"},
		{"without USE_TZ", "datetime(6)", userstore.Config{UseTZ: &off, TimeZone: "America/Chicago"}, "2026-05-06 02:08:09.123456"},
		{"zone of half an hour", "datetime(6)", userstore.Config{UseTZ: &off, TimeZone: "Asia/Kolkata"}, "2026-05-06 12:38:09.123456"},
		{"seconds aren't rounded", "datetime", userstore.Config{}, "2026-05-06 07:08:09"},
		{"one digit", "datetime(1)", userstore.Config{}, "2026-05-06 07:08:09.1"},
		{"text", "varchar(40)", userstore.Config{}, "2026-05-06 07:08:09.123456"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, last_login "+test.columnType+")",
				"INSERT INTO auth_user VALUES (1, NULL, NULL)")
			cfg := test.cfg
			cfg.DSN = d.dsn()
			s := openStore(t, cfg, userstore.Needs{LastLogin: true})
			u, err := s.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Consume(t.Context(), u, startOfTests); err != nil {
				t.Fatal(err)
			}
			if got := d.text("SELECT last_login FROM auth_user"); got != test.want {
				t.Errorf("wrote %s, want %s", got, test.want)
			}
			u, err = s.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}
			if got := u.LastLogin.Format("2006-01-02 15:04:05.999999"); got != test.want {
				t.Errorf("read back %s, want %s", got, test.want)
			}
		})
	}
}

// TestConsumeOnAReadOnlyServer has a server of its own, because read_only applies
// to a whole server.
func TestConsumeOnAReadOnlyServer(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	run := func(statements ...string) {
		t.Helper()
		if err := server.Exec("app", statements...); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.CreateDatabase("app"); err != nil {
		t.Fatal(err)
	}
	run(authUser, threeUsers, "CREATE USER gateway@'%' IDENTIFIED BY 's3cret'",
		"GRANT SELECT, UPDATE ON app.auth_user TO gateway@'%'")
	cfg := userstore.Config{DSN: server.UserDSN("gateway", "s3cret", "app")}
	s := openStore(t, cfg, userstore.Needs{LastLogin: true})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	run("SET GLOBAL read_only = 1")
	err = s.Consume(t.Context(), u, time.Now())
	if !errors.Is(err, userstore.ErrUnavailable) {
		t.Error(err)
	}
	wantError(t, err, "the server is read-only")
	run("SET GLOBAL read_only = 0")
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Errorf("after the server became writable: %v", err)
	}
}

func TestConsumeThroughAView(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers,
		"CREATE VIEW people AS SELECT id, password, last_login, is_active AND NOT is_superuser AS is_active, email FROM auth_user")
	s := openStore(t, userstore.Config{DSN: d.dsn(), Table: "people"}, userstore.Needs{LastLogin: true, Email: true})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if u.IsActive {
		t.Error("the view's condition doesn't count")
	}
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("an inactive user's: %v", err)
	}
	if u, err = s.Lookup(t.Context(), token.IntKey(2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestConsumeNeedsOneTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []*userstore.User{u, {}} {
		if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
			t.Error(err)
		}
	}
}

// TestConsumeDoesNotLinger: an UPDATE that was given up while it waited for a lock
// has no effect after the lock is released.
func TestConsumeDoesNotLinger(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)},
		userstore.Needs{LastLogin: true})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := d.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("SELECT * FROM auth_user WHERE id = 1 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a locked row: %v", err)
	}
	eventually(t, func() error {
		const waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND INFO LIKE 'UPDATE%'"
		if n := d.text(waiting, d.name); n != "0" {
			return errors.New("the server still waits for the lock")
		}
		return nil
	})
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := d.text("SELECT last_login FROM auth_user WHERE id = 1"); got != "NULL" {
		t.Errorf("last_login became %s", got)
	}
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Errorf("without the lock: %v", err)
	}
}

// TestConsumeWhenTheDiskIsFull: rows are read, and no token is used up. A
// trigger raises the server's errors, as no disk of a test can be filled.
func TestConsumeWhenTheDiskIsFull(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"1021", "1114"} { // ER_DISK_FULL, ER_RECORD_FILE_FULL
		d := newDatabase(t, authUser, threeUsers)
		s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{LastLogin: true})
		d.exec("CREATE TRIGGER full BEFORE UPDATE ON auth_user FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = " + number)
		for range 2 {
			u, err := s.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("error %s: %v, want ErrUnavailable", number, err)
			}
		}
		if !s.Servers()[0].Silent.IsZero() {
			t.Errorf("error %s: the breaker is open, though the server answers", number)
		}
		d.exec("DROP TRIGGER full")
		u, err := s.Lookup(t.Context(), token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Consume(t.Context(), u, time.Now()); err != nil {
			t.Errorf("error %s: with space again: %v", number, err)
		}
	}
}
