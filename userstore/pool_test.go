package userstore_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestPoolIsSharedAndReleased(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	cfg := patient(userstore.Config{DSN: d.dsn()})
	first := openStore(t, cfg, userstore.Needs{})
	withDefaults := cfg
	withDefaults.MaxOpenConns = userstore.DefaultMaxOpenConns
	second := openStore(t, withDefaults, userstore.Needs{LastLogin: true})
	if n := userstore.PoolReferences(cfg); n != 2 {
		t.Errorf("two stores of one DSN: %d references", n)
	}
	for _, other := range []userstore.Config{
		{DSN: cfg.DSN, QueryTimeout: cfg.QueryTimeout, MaxOpenConns: 3},
		{DSN: cfg.DSN, QueryTimeout: cfg.QueryTimeout, MaxIdleConns: 3},
		{DSN: cfg.DSN, QueryTimeout: cfg.QueryTimeout, ConnMaxLifetime: caddy.Duration(time.Hour)},
		{DSN: cfg.DSN, QueryTimeout: cfg.QueryTimeout, ConnMaxIdleTime: caddy.Duration(time.Hour)},
		{DSN: cfg.DSN, QueryTimeout: caddy.Duration(time.Hour)},
		{DSN: cfg.DSN + "?charset=utf8mb4", QueryTimeout: cfg.QueryTimeout},
	} {
		if n := userstore.PoolReferences(other); n != 0 {
			t.Errorf("another configuration shares the pool: %+v", other)
		}
	}

	// A failed reload takes nothing from the running configuration.
	wrong := cfg
	wrong.Table = "nowhere"
	if _, err := userstore.Open(context.Background(), patient(wrong), userstore.Needs{}, zap.NewNop()); err == nil {
		t.Error("a store was opened without a table")
	}
	if n := userstore.PoolReferences(cfg); n != 2 {
		t.Errorf("after a failure: %d references", n)
	}

	for range 2 {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := userstore.PoolReferences(cfg); n != 1 {
		t.Errorf("after one of two stores was closed: %d references", n)
	}
	if _, err := second.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Errorf("the other store: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if n := userstore.PoolReferences(cfg); n != 0 {
		t.Errorf("after all were closed: %d references", n)
	}
	eventually(t, func() error { return connectionsTo(d) })
}

// connectionsTo fails while another client than d is connected to d's database.
func connectionsTo(d *database) error {
	d.t.Helper()
	n := d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> CONNECTION_ID()", d.name)
	if n != "0" {
		return errConnected
	}
	return nil
}

type testError string

func (e testError) Error() string { return string(e) }

const errConnected = testError("connections are left")

// TestNoGoroutineIsLeft isn't parallel, so that all goroutines are its own.
func TestNoGoroutineIsLeft(t *testing.T) { //nolint:paralleltest // counts goroutines
	d := newDatabase(t, authUser, threeUsers)
	// The test's own connection belongs to the count.
	d.exec("SELECT 1")
	before := runtime.NumGoroutine()
	for range 3 {
		s, err := userstore.Open(context.Background(), patient(userstore.Config{DSN: d.dsn()}), userstore.Needs{LastLogin: true}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	away, err := userstore.Open(context.Background(), patient(userstore.Config{DSN: "u@tcp(127.0.0.1:1)/app", StartWithout: true}),
		userstore.Needs{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.Schema(t.Context()); err == nil {
		t.Error("a server at port 1 answered")
	}
	if err := away.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		if n := runtime.NumGoroutine(); n > before {
			stacks := make([]byte, 1<<16)
			return testError(stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}

// TestConnectionsAreBounded has many users looked up and logged in at once, and
// asks the server how many connections there are.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 3
	d := newDatabase(t, authUser, threeUsers)
	d.db.SetMaxOpenConns(1) // this connection doesn't count
	s := openStore(t, userstore.Config{DSN: d.dsn(), MaxOpenConns: most, QueryTimeout: caddy.Duration(30 * time.Second)}, userstore.Needs{LastLogin: true})

	var all sync.WaitGroup
	for i := range 32 {
		key := token.IntKey(int64(1 + i%2))
		all.Go(func() {
			for range 20 {
				user, err := s.Lookup(t.Context(), key)
				if err == nil {
					err = s.Consume(t.Context(), user, time.Now())
				}
				if err != nil && !errors.Is(err, userstore.ErrConsumed) {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.Wait()
	}()
	largest := 0
	for isOver := false; !isOver; {
		select {
		case <-done:
			isOver = true
		default:
		}
		var n int
		if err := d.db.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> CONNECTION_ID()", d.name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		largest = max(largest, n)
	}
	if largest < 1 || largest > most {
		t.Errorf("there were %d connections at once, and max_open_conns is %d", largest, most)
	}
}
