package userstore_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testgalera"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newGalera is a Galera cluster for one test alone.
func newGalera(t *testing.T, size int) *testgalera.Cluster {
	t.Helper()
	c, err := testgalera.Start(size)
	if errors.Is(err, testgalera.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// makeUsers makes the three users in a database of a server, and an account.
func makeUsers(t *testing.T, of *testmariadb.Server) {
	t.Helper()
	if err := of.CreateDatabase("django"); err != nil {
		t.Fatal(err)
	}
	if err := of.Exec("django", authUser, threeUsers, "CREATE USER gateway@'%'", "GRANT SELECT, UPDATE ON django.* TO gateway@'%'"); err != nil {
		t.Fatal(err)
	}
}

// TestServerThatAnswersButCannotServe has a Galera node reject all statements on
// tables, as a node without quorum does, while it takes connections, answers pings and
// prepares statements. It counts as one that doesn't answer.
func TestServerThatAnswersButCannotServe(t *testing.T) {
	t.Parallel()
	node := newGalera(t, 1).Nodes[0]
	other := newServer(t)
	for _, of := range []*testmariadb.Server{node.Server, other} {
		makeUsers(t, of)
	}
	if err := other.Exec("django", "UPDATE auth_user SET username = 'other' WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.Start(node.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	cfg := userstore.Config{DSN: "gateway@tcp(" + proxy.Addr() + ")/django"}
	needs := userstore.Needs{LastLogin: true}
	s := openStore(t, cfg, needs)
	ctx := t.Context()
	u, err := s.Lookup(ctx, token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}

	reject(t, node, "ALL")
	_, err = s.Lookup(ctx, token.IntKey(1))
	if !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a lookup: %v, want ErrUnavailable", err)
	}
	wantError(t, err, "the server can't serve now", "wsrep_cluster_status")
	if err := s.Consume(ctx, u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a write: %v, want ErrUnavailable", err)
	}
	if err := s.Ping(ctx); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("Ping: %v, want ErrUnavailable", err)
	}
	awaitSilence(t, s, true)
	unknown := cfg // what an open store knows of its table opens an equal one as well
	unknown.MaxIdleConns = 3
	wantError(t, openError(t, unknown, needs), "can't serve now")
	if _, err := userstore.OpenReadOnly(ctx, cfg, needs, zaptest.NewLogger(t)); err == nil {
		t.Error("it opens to read")
	}
	inspector, err := userstore.NewInspector(cfg, needs)
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	if _, err := inspector.Table(ctx); err != nil {
		t.Error(err)
	}
	wantError(t, inspector.Needed(ctx), "can't serve now")
	late := openStore(t, userstore.Config{DSN: cfg.DSN, StartWithout: true, QueryTimeout: caddy.Duration(time.Second)}, needs)
	if err := late.Ping(ctx); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("Ping after a start without: %v, want ErrUnavailable", err)
	}

	reject(t, node, "NONE")
	awaitSilence(t, s, false)
	if err := s.Consume(ctx, u, time.Now()); err != nil {
		t.Error(err)
	}

	reject(t, node, "ALL")
	proxy.Lead(other.Addr())
	if u, err := s.Lookup(ctx, token.IntKey(1)); err != nil || u.Username != "other" {
		t.Errorf("after the name leads elsewhere: %v, %v", u, err)
	}
}

// reject has a node reject statements, or take them again.
func reject(t *testing.T, node *testgalera.Node, what string) {
	t.Helper()
	if err := node.Exec("", "SET GLOBAL wsrep_reject_queries = '"+what+"'"); err != nil {
		t.Fatal(err)
	}
}
