package userstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestConnectionsAreNotKeptToAFormerPrimary points an address to another server, as
// a failover does, while the former primary still answers, but is read-only. A write
// is repeated on the new primary, and no lookup uses a connection to the former one.
func TestConnectionsAreNotKeptToAFormerPrimary(t *testing.T) {
	t.Parallel()
	former, newest := newServer(t), newServer(t)
	for name, of := range map[string]*testmariadb.Server{"old": former, "new": newest} {
		if err := of.CreateDatabase("django"); err != nil {
			t.Fatal(err)
		}
		if err := of.Exec("django", authUser, threeUsers, "UPDATE auth_user SET username = '"+name+"' WHERE id = 1",
			"CREATE USER gateway@'%'", "GRANT SELECT, UPDATE ON django.* TO gateway@'%'"); err != nil {
			t.Fatal(err)
		}
	}
	proxy, err := faultproxy.Start(former.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	s := openStore(t, userstore.Config{DSN: "gateway@tcp(" + proxy.Addr() + ")/django"}, userstore.Needs{LastLogin: true})
	u, err := s.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if u.Username != "old" {
		t.Fatalf("the user is %s", u.Username)
	}
	proxy.Lead(newest.Addr())
	if err := former.Exec("", "SET GLOBAL read_only = 1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); err != nil {
		t.Errorf("after the name leads to the new primary: %v", err)
	}
	if u, err = s.Lookup(t.Context(), token.IntKey(1)); err != nil || u.Username != "new" || u.LastLogin == nil {
		t.Fatalf("the user is still read from the former primary: %v, %v", u, err)
	}
	if err := newest.Exec("", "SET GLOBAL read_only = 1"); err != nil {
		t.Fatal(err)
	}
	err = s.Consume(t.Context(), u, time.Now())
	if !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("on a server that can't be written to: %v, want ErrUnavailable", err)
	}
	wantError(t, err, "the server is read-only")
}
