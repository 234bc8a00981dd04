package userstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// addRevocations makes the table of ended tokens by the documented statement.
func addRevocations(t *testing.T, d *database) {
	t.Helper()
	statement, err := userstore.RevocationsTable("revoked")
	if err != nil {
		t.Fatal(err)
	}
	d.exec(statement)
}

// TestRevocationsEndTokensOfOneUserAndNoOther revokes tokens of one user, with keys
// of each kind, looked up alone or together.
func TestRevocationsEndTokensOfOneUserAndNoOther(t *testing.T) {
	t.Parallel()
	uuid := func(last byte) token.PrimaryKey { return token.UUIDKey([16]byte{1, 2, 15: last}) }
	for _, test := range []struct {
		column string
		values [2]string
		keys   [2]token.PrimaryKey
	}{
		{"int", [2]string{"1", "11"}, [2]token.PrimaryKey{token.IntKey(1), token.IntKey(11)}},
		{"bigint unsigned", [2]string{"1", "18446744073709551615"}, [2]token.PrimaryKey{token.UintKey(1), token.UintKey(18446744073709551615)}},
		{"char(32)", [2]string{"'01020000000000000000000000000001'", "'01020000000000000000000000000002'"}, [2]token.PrimaryKey{uuid(1), uuid(2)}},
		{"uuid", [2]string{"'01020000-0000-0000-0000-000000000001'", "'01020000-0000-0000-0000-000000000002'"}, [2]token.PrimaryKey{uuid(1), uuid(2)}},
		{"varchar(20) COLLATE utf8mb4_general_ci", [2]string{"'Ålice'", "'bob'"}, [2]token.PrimaryKey{token.StringKey("Ålice"), token.StringKey("bob")}},
		{"varbinary(12)", [2]string{"0xff00", "0xff"}, [2]token.PrimaryKey{token.BytesKey([]byte{0xff, 0}), token.BytesKey([]byte{0xff})}},
	} {
		t.Run(test.column, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE auth_user (id "+test.column+" PRIMARY KEY, password varchar(128), is_active bool)",
				"INSERT INTO auth_user VALUES ("+test.values[0]+", 'p', 1), ("+test.values[1]+", 'p', 1)")
			addRevocations(t, d)
			s := openStore(t, userstore.Config{DSN: d.dsn(), Revocations: "revoked"}, userstore.Needs{Kind: test.keys[0].Kind()})
			lookup := func(key token.PrimaryKey) *userstore.User {
				t.Helper()
				u, err := s.Lookup(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				return u
			}
			const first, second = "0123456789abcdef0123", "f123456789abcdef0123"
			u := lookup(test.keys[0])
			if u.HasRevocations() || u.IsRevoked(first, time.Now()) {
				t.Error("a token is revoked before it was")
			}
			if err := s.Revoke(t.Context(), u, first, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if err := s.Revoke(t.Context(), u, first, time.Time{}); err != nil { // again, and for ever
				t.Fatal(err)
			}
			users, err := s.LookupMany(t.Context(), test.keys[:])
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range []*userstore.User{lookup(test.keys[0]), users[test.keys[0]]} {
				if !u.HasRevocations() || !u.IsRevoked(first, time.Time{}) || u.IsRevoked(second, time.Now()) || u.IsRevoked("", time.Now()) {
					t.Errorf("user %s: another token is revoked than was", u.ID())
				}
			}
			for _, u := range []*userstore.User{lookup(test.keys[1]), users[test.keys[1]]} {
				if u.HasRevocations() || u.IsRevoked(first, time.Time{}) {
					t.Errorf("user %s: the token of another is revoked", u.ID())
				}
			}
			if _, err := s.RevokeAll(t.Context(), u, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			u = lookup(test.keys[0])
			now := time.Now()
			if !u.IsRevoked(second, now.Add(-time.Minute)) || !u.IsRevoked("", now.Add(-time.Minute)) || u.IsRevoked(second, now.Add(time.Minute)) || u.IsRevoked(second, time.Time{}) {
				t.Error("all up to now aren't what is revoked")
			}
			// An expired entry has no effect, and is deleted by the next
			// revocation.
			d.exec("UPDATE revoked SET expires = UTC_TIMESTAMP() - INTERVAL 1 HOUR")
			if u := lookup(test.keys[0]); u.HasRevocations() {
				t.Error("an expired entry counts")
			}
			if err := s.Revoke(t.Context(), u, second, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			if n := d.text("SELECT COUNT(*) FROM revoked"); n != "1" {
				t.Errorf("%s entries are left, want 1", n)
			}
		})
	}
}

// TestRevocationsAreReadWhole revokes more than MySQL puts in one list.
func TestRevocationsAreReadWhole(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	addRevocations(t, d)
	s := openStore(t, userstore.Config{DSN: d.dsn() + "?group_concat_max_len=1024", Revocations: "revoked"}, userstore.Needs{})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	for i := range 60 {
		if failed = s.Revoke(t.Context(), u, fmt.Sprintf("%020x", i+1), time.Time{}); failed != nil {
			break
		}
		u, err := s.Lookup(t.Context(), token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if !u.IsRevoked(fmt.Sprintf("%020x", i+1), time.Time{}) {
			t.Fatalf("entry %d is missing", i+1)
		}
	}
	wantError(t, failed, "group_concat_max_len")
	if !errors.Is(failed, userstore.ErrUnavailable) {
		t.Errorf("%v is not ErrUnavailable", failed)
	}
}

func TestRevocationsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	d.exec("CREATE TABLE short (user_key varbinary(255))")
	for _, table := range []string{"nothing", "short"} {
		_, err := userstore.Open(t.Context(), patient(userstore.Config{DSN: d.dsn(), Revocations: table}), userstore.Needs{}, nil)
		wantError(t, err, "revocations: the table "+table, "caddy sesame check --create")
	}
	_, err := userstore.Open(t.Context(), patient(userstore.Config{DSN: d.dsn(), Revocations: "a.b.c"}), userstore.Needs{}, nil)
	wantError(t, err, "a.b.c")
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Revoke(t.Context(), u, strings.Repeat("0", 20), time.Time{}), "names no table")
}

// TestRevocationsDoNotDependOnTheDatabasesClock has the server's clock far behind
// or ahead: earlier tokens are revoked, tokens from after the margin aren't, and an
// entry lasts until the token would have expired.
func TestRevocationsDoNotDependOnTheDatabasesClock(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"right": 0, "a minute behind": -time.Minute, "an hour ahead": time.Hour, "two days behind": -48 * time.Hour, "a year ahead": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newUsers(t, 2)
			addRevocations(t, d)
			// The clock of a session: it is what UTC_TIMESTAMP() reads.
			parameter := ""
			if ahead != 0 {
				parameter = fmt.Sprintf("?timestamp=%d", time.Now().Add(ahead).Unix())
			}
			s := openStore(t, userstore.Config{DSN: d.dsn() + parameter, Revocations: "revoked"}, userstore.Needs{})
			u, err := s.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}
			const one = "0123456789abcdef0123"
			if err := s.Revoke(t.Context(), u, one, time.Now().Add(10*time.Minute)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			until, err := s.RevokeAll(t.Context(), u, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			if until.Before(began) || until.After(time.Now().Add(userstore.RevocationMargin)) {
				t.Errorf("all is ended up to %s", until)
			}
			if u, err = s.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Fatal(err)
			}
			if !u.IsRevoked(one, time.Time{}) {
				t.Error("the token isn't ended")
			}
			if !u.IsRevoked("", began) || !u.IsRevoked("", began.Add(-3*time.Second)) {
				t.Error("a session from before isn't ended")
			}
			if u.IsRevoked("", until.Add(time.Second)) {
				t.Error("a session of later is ended")
			}
		})
	}
}

// TestRevokingAgainWeakensNothing revokes again from a host with a slow clock, or
// with a shorter max_age.
func TestRevokingAgainWeakensNothing(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	addRevocations(t, d)
	s := openStore(t, userstore.Config{DSN: d.dsn(), Revocations: "revoked"}, userstore.Needs{})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	d.exec("INSERT INTO revoked VALUES ('1', '', '2090-01-01 00:00:00', '2091-01-01 00:00:00'), ('1', 0x0123456789abcdef0123, '2020-01-01', NULL)")
	if _, err := s.RevokeAll(t.Context(), u, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context(), u, "0123456789abcdef0123", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := d.text("SELECT GROUP_CONCAT(revoked, ' ', COALESCE(expires, 'never') ORDER BY fingerprint) FROM revoked WHERE fingerprint = ''"); got != "2090-01-01 00:00:00 2091-01-01 00:00:00" {
		t.Errorf("the entry for all is %s", got)
	}
	if got := d.text("SELECT COALESCE(expires, 'never') FROM revoked WHERE fingerprint <> ''"); got != "never" {
		t.Errorf("the token's entry lasts until %s", got)
	}
}

// TestRevocationsWithoutEffectAreReported has the table drop each entry.
func TestRevocationsWithoutEffectAreReported(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	addRevocations(t, d)
	d.exec("CREATE TRIGGER lost BEFORE INSERT ON revoked FOR EACH ROW SET NEW.user_key = 'nobody'")
	s := openStore(t, userstore.Config{DSN: d.dsn(), Revocations: "revoked"}, userstore.Needs{})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RevokeAll(t.Context(), u, time.Now().Add(time.Hour)); !errors.Is(err, userstore.ErrNoEffect) {
		t.Errorf("all: %v, want ErrNoEffect", err)
	}
	if err := s.Revoke(t.Context(), u, "0123456789abcdef0123", time.Time{}); !errors.Is(err, userstore.ErrNoEffect) {
		t.Errorf("one: %v, want ErrNoEffect", err)
	}
}
