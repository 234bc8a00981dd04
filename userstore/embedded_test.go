package userstore_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testdevmysql"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newEmbedded is a database of the demo's server, with the demo's tables.
func newEmbedded(t *testing.T) (d *database, dsn string) {
	t.Helper()
	dsn, stop, err := testdevmysql.Start("../internal/devmysql", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &database{t: t, name: "django", db: db}, dsn
}

// TestWritesOnTheEmbeddedServer makes all the store's writes on the demo's server,
// which isn't MySQL.
func TestWritesOnTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	d, dsn := newEmbedded(t)
	d.exec("DELETE FROM auth_user", threeUsers, strings.Replace(djangoSession, "ENGINE=InnoDB", "", 1), strings.Replace(knoxTokens, "ENGINE=InnoDB", "", 1),
		"INSERT INTO knox_authtoken VALUES ('"+digest+"', '2026-05-06', 1, '2026-05-06 07:10:00', '')", totpDevices,
		"INSERT INTO otp_totp_totpdevice (user_id, confirmed) VALUES (1, 1), (2, 0)")
	via := knoxVia()
	s := openStore(t, userstore.Config{DSN: dsn}, userstore.Needs{
		SessionTable: "django_session", UpgradePassword: true, LastLogin: true, SecondFactors: true, Vias: []*userstore.Via{via},
	})
	ctx, now := t.Context(), startOfTests
	u := d.lookup(s, 1)
	if !u.HasSecondFactor() || d.lookup(s, 2).HasSecondFactor() {
		t.Error("second factors are mixed up")
	}
	row := func(key, data string) userstore.SessionRow {
		return userstore.SessionRow{Key: key, Data: data, Age: time.Hour}
	}
	for _, step := range []struct {
		name string
		do   func() error
		want error
	}{
		{"create", func() error { return s.CreateSession(ctx, row(sessionKey, "a"), now) }, nil},
		{"create again", func() error { return s.CreateSession(ctx, row(sessionKey, "b"), now) }, userstore.ErrExists},
		{"save", func() error { return s.SaveSession(ctx, row(sessionKey, "c"), now) }, nil},
		{"save without a change", func() error { return s.SaveSession(ctx, row(sessionKey, "c"), now) }, nil},
		{"save another", func() error { return s.SaveSession(ctx, row(otherKey, "c"), now) }, userstore.ErrGone},
		{"replace", func() error { return s.ReplaceSession(ctx, sessionKey, row(otherKey, "d"), now) }, nil},
		{"delete another", func() error { return s.DeleteSession(ctx, strings.ToUpper(otherKey)) }, nil},
		{"extend", func() error {
			extended, err := s.Extend(ctx, via.Key(digest), u, now, userstore.Extension{By: time.Hour, AtLeast: time.Minute})
			if !extended {
				t.Error("it isn't extended")
			}
			return err
		}, nil},
		{"extend again", func() error {
			extended, err := s.Extend(ctx, via.Key(digest), u, now, userstore.Extension{By: time.Hour, AtLeast: time.Minute})
			if extended {
				t.Error("it is extended twice")
			}
			return err
		}, nil},
		{"upgrade", func() error { return s.UpgradePassword(ctx, u, "new") }, nil},
		{"upgrade again", func() error { return s.UpgradePassword(ctx, u, "newer") }, userstore.ErrChanged},
		{"consume", func() error { return s.Consume(ctx, d.lookup(s, 1), now) }, nil},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	if got, want := d.text("SELECT CONCAT(session_key, session_data, expire_date) FROM django_session"), otherKey+"d2026-05-06 08:08:09.123456"; got != want {
		t.Errorf("the session is %s, want %s", got, want)
	}
	if got := d.text("SELECT CONCAT(expiry, '') FROM knox_authtoken"); !strings.HasPrefix(got, "2026-05-06 08:08:09") {
		t.Errorf("the token ends at %s", got)
	}
}
