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
