package userstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// djangoSession is what Django makes on MySQL.
const djangoSession = `CREATE TABLE django_session (
  session_key varchar(40) NOT NULL,
  session_data longtext NOT NULL,
  expire_date datetime(6) NOT NULL,
  PRIMARY KEY (session_key),
  KEY django_session_expire_date_a5c62663 (expire_date)
) ENGINE=InnoDB`

const (
	sessionKey  = "abcdefghijklmnopqrstuvwxyz012345"
	otherKey    = "0123456789abcdefghijklmnopqrstuv"
	sessionText = "eyJfYXV0aF91c2VyX2lkIjoiMSJ9:1sX:c2lnbmF0dXJl"
)

var writesSessions = userstore.Needs{SessionTable: userstore.DefaultSessionTable}

// sessions returns the rows of the table, as text.
func (d *database) sessions() string {
	d.t.Helper()
	return d.text("SELECT COALESCE(GROUP_CONCAT(CONCAT_WS(' ', session_key, session_data, expire_date) ORDER BY session_key SEPARATOR '|'), '') FROM django_session")
}

func TestSessionsAreWrittenAsDjangoWritesThem(t *testing.T) {
	t.Parallel()
	off := false
	// One hour before clocks are put back in Chicago.
	autumn := time.Date(2026, 11, 1, 6, 30, 0, 0, time.UTC)
	tests := []struct {
		name, expires string
		cfg           userstore.Config
		now           time.Time
		want          string // what Django writes for an age of two days
	}{
		{"USE_TZ", "datetime(6)", userstore.Config{}, startOfTests, "2026-05-08 07:08:09.123456"},
		{"whole seconds", "datetime", userstore.Config{}, startOfTests, "2026-05-08 07:08:09"},
		{"milliseconds", "datetime(3)", userstore.Config{}, startOfTests, "2026-05-08 07:08:09.123"},
		{"timestamp", "timestamp(6) NULL", userstore.Config{}, startOfTests, "2026-05-08 07:08:09.123456"},
		{"without USE_TZ", "datetime(6)", userstore.Config{UseTZ: &off, TimeZone: "America/Chicago"}, startOfTests, "2026-05-08 02:08:09.123456"},
		{"clocks that are put back meanwhile", "datetime(6)", userstore.Config{UseTZ: &off, TimeZone: "America/Chicago"}, autumn, "2026-11-03 01:30:00.000000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, strings.Replace(djangoSession, "datetime(6) NOT NULL", test.expires, 1))
			cfg := test.cfg
			cfg.DSN = d.dsn()
			s := openStore(t, cfg, writesSessions)
			row := userstore.SessionRow{Key: sessionKey, Data: sessionText, Age: 48 * time.Hour}
			if err := s.CreateSession(t.Context(), row, test.now); err != nil {
				t.Fatal(err)
			}
			d.db.SetMaxOpenConns(1)
			d.exec("SET time_zone = '+00:00'")
			if got, want := d.sessions(), sessionKey+" "+sessionText+" "+test.want; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func TestSessionsAreCreatedSavedReplacedAndDeleted(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, djangoSession)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, writesSessions)
	ctx, now := t.Context(), startOfTests
	const ends = " 2026-05-06 08:08:09.123456"
	row := func(key, data string) userstore.SessionRow {
		return userstore.SessionRow{Key: key, Data: data, Age: time.Hour}
	}
	upper := strings.ToUpper(sessionKey) // the collation takes it for the same key
	for _, step := range []struct {
		name       string
		do         func() error
		want       error
		wantedRows string
	}{
		{"saving one that isn't there", func() error { return s.SaveSession(ctx, row(sessionKey, "a"), now) }, userstore.ErrGone, ""},
		{"creating it", func() error { return s.CreateSession(ctx, row(sessionKey, "a"), now) }, nil, sessionKey + " a" + ends},
		{"creating it again", func() error { return s.CreateSession(ctx, row(sessionKey, "b"), now) }, userstore.ErrExists, sessionKey + " a" + ends},
		{"creating one of another letter case", func() error { return s.CreateSession(ctx, row(upper, "b"), now) }, userstore.ErrExists, sessionKey + " a" + ends},
		{"saving it", func() error { return s.SaveSession(ctx, row(sessionKey, "c"), now) }, nil, sessionKey + " c" + ends},
		{"saving it without a change", func() error { return s.SaveSession(ctx, row(sessionKey, "c"), now) }, nil, sessionKey + " c" + ends},
		{"saving one of another letter case", func() error { return s.SaveSession(ctx, row(upper, "d"), now) }, userstore.ErrGone, sessionKey + " c" + ends},
		{"saving one with a space behind it", func() error { return s.SaveSession(ctx, row(sessionKey+" ", "d"), now) }, userstore.ErrGone, sessionKey + " c" + ends},
		{"saving one that no table has", func() error { return s.SaveSession(ctx, row("\xff", "d"), now) }, userstore.ErrGone, sessionKey + " c" + ends},
		{"replacing it by itself", func() error { return s.ReplaceSession(ctx, sessionKey, row(sessionKey, "d"), now) }, userstore.ErrExists, sessionKey + " c" + ends},
		{"replacing it", func() error { return s.ReplaceSession(ctx, sessionKey, row(otherKey, "d"), now) }, nil, otherKey + " d" + ends},
		{"replacing one that has ended", func() error { return s.ReplaceSession(ctx, sessionKey, row("e", "e"), now) }, nil, otherKey + " d" + ends + "|e e" + ends},
		{"deleting one of another letter case", func() error { return s.DeleteSession(ctx, strings.ToUpper(otherKey)) }, nil, otherKey + " d" + ends + "|e e" + ends},
		{"deleting it", func() error { return s.DeleteSession(ctx, otherKey) }, nil, "e e" + ends},
		{"deleting it again", func() error { return s.DeleteSession(ctx, otherKey) }, nil, "e e" + ends},
		{"deleting one that no table has", func() error { return s.DeleteSession(ctx, "é") }, nil, "e e" + ends},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
		if got := d.sessions(); got != step.wantedRows {
			t.Errorf("after %s: %q, want %q", step.name, got, step.wantedRows)
		}
	}
}

// TestSessionIsCreatedOnce has two gateways create sessions with one key.
func TestSessionIsCreatedOnce(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, djangoSession)
	var gateways []*userstore.MySQL
	for _, limit := range []int{20, 21} {
		cfg := userstore.Config{DSN: d.dsn(), MaxOpenConns: limit, QueryTimeout: caddy.Duration(20 * time.Second)}
		gateways = append(gateways, openStore(t, cfg, writesSessions))
	}
	const requests = 60
	var made, lost atomic.Int32
	var done sync.WaitGroup
	for i := range requests {
		done.Go(func() {
			s, row := gateways[i%2], userstore.SessionRow{Key: sessionKey, Data: fmt.Sprint(i), Age: time.Hour}
			create := func() error { return s.CreateSession(t.Context(), row, time.Now()) }
			if i%3 == 0 {
				create = func() error { return s.ReplaceSession(t.Context(), otherKey, row, time.Now()) }
			}
			switch err := create(); {
			case err == nil:
				made.Add(1)
			case errors.Is(err, userstore.ErrExists):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	done.Wait()
	if made.Load() != 1 || lost.Load() != requests-1 {
		t.Errorf("%d requests made a session, %d didn't", made.Load(), lost.Load())
	}
}

// TestErrorsOfWritesHoldNoSecrets: the server's errors quote values.
func TestErrorsOfWritesHoldNoSecrets(t *testing.T) {
	t.Parallel()
	secrets := []string{sessionKey, sessionText, "pbkdf2_sha256$2$salt$hash"}
	d := newDatabase(t, strings.Replace(authUser, "password varchar(128)", "password varchar(20)", 1), threeUsers, djangoSession)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{SessionTable: "django_session", UpgradePassword: true, LastLogin: true})
	u := d.lookup(s, 1)
	row := userstore.SessionRow{Key: sessionKey, Data: sessionText, Age: time.Hour}
	if err := s.CreateSession(t.Context(), row, time.Now()); err != nil {
		t.Fatal(err)
	}
	failing := []error{
		s.CreateSession(t.Context(), row, time.Now()),
		s.ReplaceSession(t.Context(), otherKey, row, time.Now()),
		s.UpgradePassword(t.Context(), u, secrets[2]), // too long
	}
	// A server's error with a value in it, made by a trigger.
	d.exec("CREATE TRIGGER said BEFORE UPDATE ON django_session FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'about " + sessionKey + "'")
	failing = append(failing, s.SaveSession(t.Context(), userstore.SessionRow{Key: sessionKey, Data: "new", Age: time.Hour}, time.Now()))
	for i, err := range failing {
		if err == nil {
			t.Errorf("error %d is missing", i)
			continue
		}
		for text := err.Error(); err != nil; err = errors.Unwrap(err) {
			for _, secret := range secrets {
				if strings.Contains(text+err.Error(), secret) {
					t.Errorf("error %d holds %q: %s", i, secret, text)
				}
			}
		}
	}
}

func TestTablesThatCantHoldSessions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, table, want string }{
		{"none", "", "\"django_session\" doesn't exist"},
		{"a short key", strings.Replace(djangoSession, "varchar(40)", "varchar(20)", 1), "VARCHAR(40)"},
		{"a key that isn't unique", strings.Replace(djangoSession, "PRIMARY KEY", "KEY", 1), "isn't unique"},
		{"no data", strings.Replace(djangoSession, "session_data", "data", 1), "session_data"},
		{"an expiry that is no time", strings.Replace(djangoSession, "datetime(6)", "bigint", 1), "DATETIME(6)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser)
			if test.table != "" {
				d.exec(test.table)
			}
			wantError(t, openError(t, userstore.Config{DSN: d.dsn()}, writesSessions), "django_session", test.want)
		})
	}
}
