package userstore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newGroup is a group of Group Replication for one test alone.
func newGroup(t *testing.T, size int) *testmysql.Group {
	t.Helper()
	g, err := testmysql.StartGroup(t.TempDir(), size)
	if errors.Is(err, testmysql.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

// TestGroupReplication uses a group all of whose members accept writes, then the same
// with a primary, and then ends that: another member takes over.
func TestGroupReplication(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3)
	var of engine
	for _, member := range g.Members {
		of.dsns = append(of.dsns, member.DSN(""))
	}
	t.Run("all members accept writes", func(t *testing.T) { testEngine(t, of) })
	t.Run("reads after writes over another member", func(t *testing.T) { testReadsAfterWrites(t, of) })
	t.Run("the gateway's account", func(t *testing.T) { testGroupAccount(t, g) })
	if err := g.SinglePrimary(); err != nil {
		t.Fatal(err)
	}
	t.Run("one member accepts writes", func(t *testing.T) { testEngine(t, of) })
	t.Run("the primary is gone", func(t *testing.T) { testPrimaryGone(t, g, of) })
}

// testPrimaryGone ends the primary. Nothing is answered before the group has another.
func testPrimaryGone(t *testing.T, g *testmysql.Group, of engine) {
	_, gateways := of.makeDatabase(t)
	var stores []*userstore.MySQL
	for _, waits := range []bool{false, true} {
		cfg := gateways[0]
		cfg.QueryTimeout, cfg.ReadAfterWrite = caddy.Duration(5*time.Second), waits
		stores = append(stores, openStore(t, cfg, engineNeeds))
	}
	u := lookup(t, stores[0], token.IntKey(2))
	lookup(t, stores[1], token.IntKey(2))
	if err := g.Kill(g.Members[0]); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := g.AwaitOnline(g.Members[1], 2); err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		eventually(t, func() error {
			_, err := s.Lookup(t.Context(), token.IntKey(2))
			return err
		})
		t.Logf("lookups were back after %s", time.Since(began))
	}
	eventually(t, func() error { return stores[0].Consume(t.Context(), u, time.Now()) })
	t.Logf("uses were back after %s", time.Since(began))
	if err := stores[1].Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("the token is used twice: %v", err)
	}
}

// testGroupAccount uses an account with the privileges of docs/mysql.md alone.
func testGroupAccount(t *testing.T, g *testmysql.Group) {
	err := g.Members[0].Exec("", "CREATE DATABASE django")
	if err == nil {
		err = g.Members[0].Exec("django", authUser, threeUsers, "CREATE USER gateway IDENTIFIED BY 's3cret'",
			"GRANT SELECT (id, username, email, password, is_active, last_login), UPDATE (last_login) ON auth_user TO gateway")
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg := userstore.Config{ReadAfterWrite: true}
	for _, member := range g.Members {
		eventually(t, openDSN(t, member.UserDSN("gateway", "s3cret", "django")).Ping) // it may have the account later
		cfg.MoreDSNs = append(cfg.MoreDSNs, member.UserDSN("gateway", "s3cret", "django"))
	}
	cfg.DSN, cfg.MoreDSNs = cfg.MoreDSNs[0], cfg.MoreDSNs[1:]
	_, err = userstore.Open(t.Context(), patient(cfg), userstore.Needs{LastLogin: true}, nil)
	wantError(t, err, "performance_schema.replication_group_members")
	if err := g.Members[0].Exec("", "GRANT SELECT ON performance_schema.replication_group_members TO gateway"); err != nil {
		t.Fatal(err)
	}
	for _, member := range g.Members {
		db := openDSN(t, member.UserDSN("gateway", "s3cret", "django"))
		eventually(t, func() error { // it may have the privilege later
			return db.QueryRow("SELECT COUNT(*) FROM performance_schema.replication_group_members").Scan(new(int))
		})
	}
	s := openStore(t, cfg, userstore.Needs{LastLogin: true})
	u := lookup(t, s, token.IntKey(1))
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Error(err)
	}
}

// testReadsAfterWrites changes a row over one member, and reads it over another.
func testReadsAfterWrites(t *testing.T, of engine) {
	d, gateways := of.makeDatabase(t)
	s := openStore(t, gateways[1], engineNeeds)
	for i := range 200 {
		d.exec(fmt.Sprintf("UPDATE auth_user SET password = 'p%d' WHERE id = 3", i))
		if got := *lookup(t, s, token.IntKey(3)).Password; got != fmt.Sprint("p", i) {
			t.Fatalf("after change %d, the password is %s", i, got)
		}
	}
}
