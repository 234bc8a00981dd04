package userstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestStatesOfMySQL has a server that becomes read-only, ends connections, and restarts,
// and a replica of it.
func TestStatesOfMySQL(t *testing.T) {
	t.Parallel()
	primary := newMySQL(t, testmysql.PrimaryOptions...)
	if err := primary.CreateDatabase("django"); err != nil {
		t.Fatal(err)
	}
	if err := primary.Exec("django", authUser, threeUsers, "CREATE USER gateway IDENTIFIED BY 's3cret'", "GRANT SELECT, UPDATE ON django.auth_user TO gateway"); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, userstore.Config{DSN: primary.UserDSN("gateway", "s3cret", "django")}, userstore.Needs{LastLogin: true})
	do := func(statements ...string) {
		t.Helper()
		if err := primary.Exec("django", statements...); err != nil {
			t.Fatal(err)
		}
	}
	u := lookup(t, s, token.IntKey(1))
	for _, on := range []string{"read_only", "super_read_only", "offline_mode"} {
		do("SET GLOBAL " + on + " = ON")
		if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("a use with %s: %v, want ErrUnavailable", on, err)
		}
		do("SET GLOBAL "+on+" = OFF", "SET GLOBAL read_only = OFF")
		eventually(t, func() error {
			_, err := s.Lookup(t.Context(), token.IntKey(1))
			return err
		})
	}
	eventually(t, func() error { return s.Consume(t.Context(), u, time.Now()) })

	for _, how := range []string{"KILL", "KILL QUERY"} {
		killAll(t, primary, how)
		eventually(t, func() error {
			_, err := s.Lookup(t.Context(), token.IntKey(1))
			return err
		})
	}
	primary.Kill()
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a lookup at a server that is gone: %v, want ErrUnavailable", err)
	}
	if err := primary.Restart(); err != nil {
		t.Fatal(err)
	}
	u = nil
	eventually(t, func() (err error) {
		u, err = s.Lookup(t.Context(), token.IntKey(1))
		return err
	})
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Error(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("a second use: %v, want ErrConsumed", err)
	}
	testReplicaOfMySQL(t, primary)
}

// killAll ends all connections of gateways, or what they execute.
func killAll(t *testing.T, server *testmysql.Server, how string) {
	t.Helper()
	db := openDSN(t, server.DSN(""))
	rows, err := db.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'gateway'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	number := 0
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(fmt.Sprintf("%s %d", how, id)); err != nil {
			t.Fatal(err)
		}
		number++
	}
	if err := rows.Err(); err != nil || number == 0 {
		t.Fatalf("%d connections, %v", number, err)
	}
}

// testReplicaOfMySQL replicates the primary server. The replica is named first alone and
// then as a replica.
func testReplicaOfMySQL(t *testing.T, primary *testmysql.Server) {
	t.Helper()
	replica := newMySQL(t, testmysql.ReplicaOptions...)
	if err := replica.Replicate(primary); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		db, err := sql.Open("mysql", replica.DSN("django"))
		if err != nil {
			return err
		}
		defer db.Close()
		return db.QueryRow("SELECT 1 FROM auth_user WHERE id = 1 AND last_login IS NOT NULL").Scan(new(int))
	})
	cfg := userstore.Config{DSN: replica.UserDSN("gateway", "s3cret", "django")}
	_, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{LastLogin: true}, nil)
	if err == nil {
		s := openStore(t, cfg, userstore.Needs{LastLogin: true})
		err = s.Consume(t.Context(), lookup(t, s, token.IntKey(2)), time.Now())
	}
	wantError(t, err, "read-only", "primary server")
	cfg = userstore.Config{DSN: primary.UserDSN("gateway", "s3cret", "django"), Replicas: []string{cfg.DSN}}
	s := openStore(t, cfg, userstore.Needs{LastLogin: true})
	u := lookup(t, s, token.IntKey(2))
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Error(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("a second use: %v, want ErrConsumed", err)
	}
	if err := replica.Exec("", "STOP REPLICA SQL_THREAD"); err != nil {
		t.Fatal(err)
	}
	if err := primary.Exec("django", "UPDATE auth_user SET password = 'changed' WHERE id = 3"); err != nil {
		t.Fatal(err)
	}
	if got := *lookup(t, s, token.IntKey(3)).Password; got != "changed" {
		t.Errorf("a fresh lookup reads the password %s", got)
	}
	if u, isFresh, err := s.LookupAny(t.Context(), token.IntKey(3)); err != nil || isFresh || *u.Password != "x" {
		t.Errorf("a lookup at the replica, which is behind: %v, fresh: %v, %v", u, isFresh, err)
	}
}
