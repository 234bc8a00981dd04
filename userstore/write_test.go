package userstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// openError returns the error of Open, which must fail.
func openError(t *testing.T, cfg userstore.Config, needs userstore.Needs) error {
	t.Helper()
	s, err := userstore.Open(context.Background(), patient(cfg), needs, zaptest.NewLogger(t))
	if err == nil {
		_ = s.Close() // the test has failed
		t.Fatal("it opens")
	}
	return err
}

// lookup reads a user of an integer key.
func (d *database) lookup(s *userstore.MySQL, id int64) *userstore.User {
	d.t.Helper()
	u, err := s.Lookup(d.t.Context(), token.IntKey(id))
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

func TestUpgradePassword(t *testing.T) {
	t.Parallel()
	const upgraded = "argon2$argon2id$v=19$new"
	for _, test := range []struct {
		name, change, hash string
		want               error
		password           string // of alice, at the end
	}{
		{"nothing has changed", "SELECT 1", upgraded, nil, upgraded},
		{"last_login has", "UPDATE auth_user SET last_login = NOW()", upgraded, nil, upgraded},
		{"the password has", "UPDATE auth_user SET password = 'other'", upgraded, userstore.ErrChanged, "other"},
		{"its letter case has", "UPDATE auth_user SET password = UPPER(password)", upgraded, userstore.ErrChanged, "PBKDF2_SHA256$1$A$B"},
		{"a space was added", "UPDATE auth_user SET password = CONCAT(password, ' ')", upgraded, userstore.ErrChanged, "pbkdf2_sha256$1$a$b "},
		{"the user is gone", "DELETE FROM auth_user WHERE id = 1", upgraded, userstore.ErrChanged, "NULL"},
		{"it is the same hash", "SELECT 1", "pbkdf2_sha256$1$a$b", nil, "pbkdf2_sha256$1$a$b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{UpgradePassword: true})
			u := d.lookup(s, 1)
			d.exec(test.change)
			if err := s.UpgradePassword(t.Context(), u, test.hash); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if got := d.text("SELECT MAX(password) FROM auth_user WHERE id = 1"); got != test.password {
				t.Errorf("the password is %q, want %q", got, test.password)
			}
			if got := d.text("SELECT password FROM auth_user WHERE id = 2"); got != "!unusable" && got != "other" && got != "!UNUSABLE" && got != "!unusable " {
				t.Errorf("bob's password is %q", got)
			}
		})
	}
}

// TestWritesWithoutTheNeedForThem: a store that was opened without a need can't
// write.
func TestWritesWithoutTheNeedForThem(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, djangoSession)
	row := userstore.SessionRow{Key: sessionKey, Data: sessionText, Age: time.Hour}
	reading, err := userstore.OpenReadOnly(t.Context(), userstore.Config{DSN: d.dsn()},
		userstore.Needs{SessionTable: "django_session", UpgradePassword: true}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer reading.Close()
	for _, s := range []*userstore.MySQL{openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}), reading} {
		for _, err := range []error{
			s.CreateSession(t.Context(), row, time.Now()),
			s.SaveSession(t.Context(), row, time.Now()),
			s.ReplaceSession(t.Context(), otherKey, row, time.Now()),
			s.DeleteSession(t.Context(), sessionKey),
			s.UpgradePassword(t.Context(), d.lookup(s, 1), "x"),
		} {
			if !errors.Is(err, userstore.ErrUnavailable) {
				t.Error(err)
			}
		}
	}
	if got := d.sessions(); got != "" {
		t.Errorf("%s was written", got)
	}
}

// TestWritesWithLeastRights: the error at the start names the grants, and with
// these the store can write.
func TestWritesWithLeastRights(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		needs   userstore.Needs
		grants  []string // the grants, which aren't enough
		grantee string   // what the error says is missing
	}{
		{"last_login", userstore.Needs{LastLogin: true}, []string{readsUsers}, "UPDATE (`last_login`) ON "},
		{"upgraded passwords", userstore.Needs{UpgradePassword: true}, []string{readsUsers}, "UPDATE (`password`) ON "},
		{
			"sessions that may only be read", writesSessions,
			[]string{readsUsers, "SELECT (session_key, session_data, expire_date) ON django_session"},
			"INSERT (`session_key`, `session_data`, `expire_date`), UPDATE (`session_data`, `expire_date`), DELETE ON ",
		},
		{
			"sessions that may not be deleted", writesSessions,
			[]string{readsUsers, "SELECT, INSERT, UPDATE ON django_session"},
			"DELETE ON ",
		},
		{
			"what ends",
			userstore.Needs{Vias: []*userstore.Via{knoxVia()}},
			[]string{readsUsers, "SELECT ON knox_authtoken"},
			"UPDATE (`expiry`) ON ",
		},
		{
			"sessions that may not be updated", writesSessions,
			[]string{readsUsers, "SELECT, INSERT, DELETE ON django_session"},
			"UPDATE (`session_data`, `expire_date`)",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers, djangoSession, knoxTokens)
			cfg := d.account(test.grants...)
			account := d.name + "_gw"
			err := openError(t, cfg, test.needs)
			wantError(t, err, "GRANT SELECT (", test.grantee, " TO '"+account+"'@'%'")
			for _, statement := range d.least(userstore.Config{DSN: d.dsn()}, test.needs) {
				d.exec(strings.Replace(statement, "'somebody'@'%'", "'"+account+"'@'%'", 1))
			}
			openStore(t, cfg, test.needs)
		})
	}
}

// TestWritesOnAReadOnlyServer has a server of its own, because read_only applies to
// a whole server.
func TestWritesOnAReadOnlyServer(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	d.exec(authUser, threeUsers, djangoSession, "CREATE USER gateway@'%' IDENTIFIED BY 's3cret'", "GRANT SELECT, INSERT, UPDATE, DELETE ON django.* TO gateway@'%'")
	s := openStore(t, userstore.Config{DSN: server.UserDSN("gateway", "s3cret", "django")}, userstore.Needs{SessionTable: "django_session", UpgradePassword: true})
	u := d.lookup(s, 1)
	row := userstore.SessionRow{Key: sessionKey, Data: sessionText, Age: time.Hour}
	if err := s.CreateSession(t.Context(), row, time.Now()); err != nil {
		t.Fatal(err)
	}
	before := d.sessions()
	d.exec("SET GLOBAL read_only = 1")
	for i, err := range []error{
		s.CreateSession(t.Context(), userstore.SessionRow{Key: otherKey}, time.Now()),
		s.SaveSession(t.Context(), userstore.SessionRow{Key: sessionKey, Data: "new"}, time.Now()),
		s.ReplaceSession(t.Context(), sessionKey, userstore.SessionRow{Key: otherKey}, time.Now()),
		s.DeleteSession(t.Context(), sessionKey),
		s.UpgradePassword(t.Context(), u, "new"),
	} {
		if !errors.Is(err, userstore.ErrUnavailable) || !strings.Contains(err.Error(), "the server is read-only") {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if got := d.sessions(); got != before {
		t.Errorf("%s became %s", before, got)
	}
	d.exec("SET GLOBAL read_only = 0")
	if err := s.DeleteSession(t.Context(), sessionKey); err != nil {
		t.Errorf("after the server became writable: %v", err)
	}
}

// TestWritesDontWaitForLocks: a write to a locked row ends in time, and has no
// effect after the lock is released.
func TestWritesDontWaitForLocks(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, djangoSession)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)},
		userstore.Needs{SessionTable: "django_session", UpgradePassword: true})
	u := d.lookup(s, 1)
	row := userstore.SessionRow{Key: sessionKey, Data: sessionText, Age: time.Hour}
	if err := s.CreateSession(t.Context(), row, time.Now()); err != nil {
		t.Fatal(err)
	}
	before := d.sessions()
	tx, err := d.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, lock := range []string{"SELECT * FROM auth_user WHERE id = 1 FOR UPDATE", "SELECT * FROM django_session FOR UPDATE"} {
		if _, err := tx.Exec(lock); err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range []error{
		s.UpgradePassword(t.Context(), u, "new"),
		s.SaveSession(t.Context(), userstore.SessionRow{Key: sessionKey, Data: "new", Age: time.Hour}, time.Now()),
		s.ReplaceSession(t.Context(), sessionKey, userstore.SessionRow{Key: otherKey, Age: time.Hour}, time.Now()),
		s.DeleteSession(t.Context(), sessionKey),
	} {
		if !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("write %d: %v, want ErrUnavailable", i, err)
		}
	}
	eventually(t, func() error {
		const waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND (INFO LIKE 'UPDATE%' OR INFO LIKE 'DELETE%' OR INFO LIKE 'INSERT%')"
		if n := d.text(waiting, d.name); n != "0" {
			return errors.New("the server still waits for the lock")
		}
		return nil
	})
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := d.sessions(); got != before {
		t.Errorf("%s became %s", before, got)
	}
	if got := d.text("SELECT password FROM auth_user WHERE id = 1"); got != "pbkdf2_sha256$1$a$b" {
		t.Errorf("the password became %s", got)
	}
	if err := s.UpgradePassword(t.Context(), u, "new"); err != nil {
		t.Errorf("without the lock: %v", err)
	}
}

// TestWritesAreRepeatedAfterADeadlock: a trigger raises the server's errors, as
// many as a table's rows say.
func TestWritesAreRepeatedAfterADeadlock(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"1213", "1205"} {
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers, djangoSession,
				// MyISAM isn't rolled back with the statement.
				"CREATE TABLE deadlocks (n int) ENGINE=MyISAM", "INSERT INTO deadlocks VALUES (0)")
			addRevocations(t, d)
			s := openStore(t, userstore.Config{DSN: d.dsn(), Revocations: "revoked"}, userstore.Needs{SessionTable: "django_session", UpgradePassword: true, LastLogin: true})
			raise := " FOR EACH ROW BEGIN IF (SELECT n FROM deadlocks) > 0 THEN UPDATE deadlocks SET n = n - 1;" +
				" SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = " + number + "; END IF; END"
			d.exec("CREATE TRIGGER users BEFORE UPDATE ON auth_user"+raise, "CREATE TRIGGER created BEFORE INSERT ON django_session"+raise,
				"CREATE TRIGGER deleted BEFORE DELETE ON django_session"+raise, "CREATE TRIGGER revoked BEFORE INSERT ON revoked"+raise)
			row := userstore.SessionRow{Key: sessionKey, Data: sessionText, Age: time.Hour}
			for _, write := range []struct {
				name string
				do   func() error
			}{
				{"consume", func() error { return s.Consume(t.Context(), d.lookup(s, 1), time.Now()) }},
				{"upgrade", func() error { return s.UpgradePassword(t.Context(), d.lookup(s, 1), "new") }},
				{"create", func() error { return s.CreateSession(t.Context(), row, time.Now()) }},
				{"replace", func() error {
					return s.ReplaceSession(t.Context(), sessionKey, userstore.SessionRow{Key: otherKey, Age: time.Hour}, time.Now())
				}},
				{"delete", func() error { return s.DeleteSession(t.Context(), otherKey) }},
				{"revoke", func() error { return s.Revoke(t.Context(), d.lookup(s, 1), "0123456789abcdef0123", time.Time{}) }},
			} {
				d.exec("UPDATE deadlocks SET n = 3")
				if err := write.do(); err != nil {
					t.Errorf("%s: %v", write.name, err)
				}
				if left := d.text("SELECT n FROM deadlocks"); left != "0" {
					t.Errorf("%s: %s deadlocks are left", write.name, left)
				}
			}
			if got := d.sessions(); got != "" {
				t.Errorf("%s is left", got)
			}
			d.exec("UPDATE deadlocks SET n = 1000000")
			if err := s.Consume(t.Context(), d.lookup(s, 2), time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("deadlocks without an end: %v", err)
			}
		})
	}
}

// TestDeadlockOfTwoTransactions uses a token while a transaction locks rows in
// another order. The server undoes one of the two: if it undoes the gateway's, the
// token is used up at the second try.
func TestDeadlockOfTwoTransactions(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers, djangoSession)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(20 * time.Second)}, writesSessions)
	for _, key := range []string{sessionKey, otherKey} {
		if err := s.CreateSession(t.Context(), userstore.SessionRow{Key: key, Data: "a", Age: time.Hour}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	// The other transaction has changed more rows, so that the server undoes the
	// gateway's, which has inserted one row and waits for another.
	d.exec("CREATE TABLE other (id int PRIMARY KEY)")
	tx, err := d.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{
		"INSERT INTO other SELECT seq FROM seq_1_to_1000",
		"UPDATE django_session SET session_data = 'b' WHERE session_key = '" + sessionKey + "'",
	} {
		if _, err := tx.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	const made = "zyxwvutsrqponmlkjihgfedcba543210"
	replaced := make(chan error, 1)
	go func() {
		replaced <- s.ReplaceSession(t.Context(), sessionKey, userstore.SessionRow{Key: made, Data: "c", Age: time.Hour}, time.Now())
	}()
	eventually(t, func() error {
		if n := d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND INFO LIKE 'DELETE%'", d.name); n == "0" {
			return errors.New("nothing waits for the lock")
		}
		return nil
	})
	// The row that the gateway has inserted.
	if _, err := tx.Exec("UPDATE django_session SET session_data = 'b' WHERE session_key = '" + made + "'"); err != nil {
		t.Fatalf("the server has undone the other transaction: %v", err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-replaced; err != nil {
		t.Error(err)
	}
	if got := d.text("SELECT GROUP_CONCAT(session_key, session_data ORDER BY session_key) FROM django_session"); got != otherKey+"a,"+made+"c" {
		t.Errorf("the sessions are %s", got)
	}
}
