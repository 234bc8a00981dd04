package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// awaitServes waits until a store says that lookups work, or that they don't.
func awaitServes(t *testing.T, s *userstore.MySQL, serves bool) {
	t.Helper()
	eventually(t, func() error {
		err := s.Serves(t.Context())
		switch {
		case err == nil && serves, errors.Is(err, userstore.ErrUnavailable) && !serves:
			return nil
		case err == nil:
			return errors.New("it says that lookups work")
		}
		return err
	})
}

// TestServesFollowsTheServer while there is no request: the server goes away, is
// frozen, is locked out of the table, and comes back.
func TestServesFollowsTheServer(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	proxy, dsn := newProxy(t, d)
	s := openStore(t, userstore.Config{DSN: dsn, QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{})
	awaitServes(t, s, true)
	for name, fault := range map[string]struct{ begin, end func() }{
		"gone":   {proxy.Reset, proxy.Pass},
		"frozen": {proxy.Freeze, proxy.Pass},
		"a column is gone": {
			func() { d.exec("ALTER TABLE auth_user RENAME COLUMN password TO secret") },
			func() { d.exec("ALTER TABLE auth_user RENAME COLUMN secret TO password") },
		},
	} {
		t.Log(name)
		fault.begin()
		awaitServes(t, s, false)
		fault.end()
		awaitServes(t, s, true)
	}
}

// TestServesAfterAStartWithoutMySQL turns right without a request.
func TestServesAfterAStartWithoutMySQL(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	proxy, dsn := newProxy(t, d)
	proxy.Reset()
	s := openStore(t, userstore.Config{DSN: dsn, StartWithout: true}, userstore.Needs{})
	awaitServes(t, s, false)
	proxy.Pass()
	awaitServes(t, s, true)
}

// TestServesSharesItsQueries among its callers, and needs none beside lookups.
func TestServesSharesItsQueries(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn(), MaxOpenConns: 1, QueryTimeout: caddy.Duration(20 * time.Second)}, userstore.Needs{})
	const calls = 300
	for name, lookup := range map[string]bool{"alone": false, "beside lookups": true} {
		before, err := userstore.SessionStatus(t.Context(), s, "Com_stmt_execute")
		if err != nil {
			t.Fatal(err)
		}
		began, own := time.Now(), 0
		var callers sync.WaitGroup
		for range calls {
			if lookup {
				own++
				if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
					t.Fatal(err)
				}
			}
			callers.Go(func() {
				if err := s.Serves(t.Context()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		callers.Wait()
		most := own + 1 + int(time.Since(began)/userstore.SignAge)
		after, err := userstore.SessionStatus(t.Context(), s, "Com_stmt_execute")
		if err != nil {
			t.Fatal(err)
		}
		if sent := after - before; sent > most {
			t.Errorf("%s: %d calls sent %d queries, and may send %d", name, calls, sent, most)
		}
	}
}

// TestServesBehindALock says that lookups don't work, although the server answers.
func TestServesBehindALock(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{})
	locker, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer locker.Close()
	if _, err := locker.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	awaitServes(t, s, false)
	if _, err := locker.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	awaitServes(t, s, true)
}

// TestServesByAReplica while the primary doesn't answer.
func TestServesByAReplica(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	primary, primaryDSN := newProxy(t, d)
	replica, replicaDSN := newProxy(t, d)
	s := openStore(t, userstore.Config{DSN: primaryDSN, Replicas: []string{replicaDSN}}, userstore.Needs{})
	awaitServes(t, s, true)
	primary.Reset()
	awaitSilent(t, s, 1, func() { _ = s.Serves(t.Context()) })
	awaitServes(t, s, true)
	replica.Reset()
	awaitServes(t, s, false)
	replica.Pass()
	awaitServes(t, s, true)
}

// awaitSilent waits until a store knows of as many servers that they don't answer. Each
// try finds out more.
func awaitSilent(t *testing.T, s *userstore.MySQL, want int, try func()) {
	t.Helper()
	eventually(t, func() error {
		try()
		silent := 0
		for _, server := range s.Servers() {
			if !server.Silent.IsZero() {
				silent++
			}
		}
		if silent != want {
			return fmt.Errorf("%d servers are silent, want %d", silent, want)
		}
		return nil
	})
}

// TestServesEndsWithItsCaller while the server doesn't answer.
func TestServesEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	proxy, dsn := newProxy(t, d)
	s := openStore(t, userstore.Config{DSN: dsn, QueryTimeout: caddy.Duration(20 * time.Second)}, userstore.Needs{})
	proxy.Freeze()
	defer proxy.Pass()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serves(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
}
