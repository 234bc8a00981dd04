package userstore_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newProxy is a proxy in front of the test server, and the DSN of a database
// behind it.
func newProxy(t *testing.T, d *database) (*faultproxy.Proxy, string) {
	t.Helper()
	proxy, err := faultproxy.Start(serverAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return proxy, serverConfig(t, func(cfg *mysql.Config) { cfg.DBName, cfg.Addr = d.name, proxy.Addr() })
}

// openLogged is openStore with a log at INFO and above.
func openLogged(t *testing.T, cfg userstore.Config, needs userstore.Needs) (*userstore.MySQL, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	s, err := userstore.Open(context.Background(), patient(cfg), needs, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, logs
}

// awaitSilence waits until a store's primary is known not to answer, or to
// answer.
func awaitSilence(t *testing.T, s *userstore.MySQL, silent bool) {
	t.Helper()
	eventually(t, func() error {
		if s.Servers()[0].Silent.IsZero() == silent {
			return errors.New("the breaker is not what it should be")
		}
		return nil
	})
}

func TestBreakerAnswersForAServerThatIsAway(t *testing.T) {
	t.Parallel()
	const opened, closed = "MySQL doesn't answer: requests get 503 at once until it does", "MySQL answers again"
	tests := []struct {
		name       string
		timeout    time.Duration
		begin, end func(*faultproxy.Proxy)
	}{
		{"frozen", briefly, (*faultproxy.Proxy).Freeze, (*faultproxy.Proxy).Pass},
		{"frozen, with patience", 5 * time.Second, (*faultproxy.Proxy).Freeze, (*faultproxy.Proxy).Pass},
		{"gone", 20 * time.Second, (*faultproxy.Proxy).Reset, (*faultproxy.Proxy).Pass},
		{"gone in the midst of answers", 20 * time.Second, func(p *faultproxy.Proxy) { p.ResetAfter(10) }, (*faultproxy.Proxy).Pass},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			proxy, dsn := newProxy(t, d)
			cfg := userstore.Config{DSN: dsn, QueryTimeout: caddy.Duration(test.timeout)}
			other := openStore(t, cfg, userstore.Needs{}) // shares the connections
			// The lines are the newest configuration's.
			s, logs := openLogged(t, cfg, userstore.Needs{LastLogin: true})
			alice, err := s.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}

			test.begin(proxy)
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("a lookup: %v, want ErrUnavailable", err)
			}
			awaitSilence(t, s, true)
			for what, ask := range map[string]func() error{
				"a lookup":       func() error { _, err := s.Lookup(t.Context(), token.IntKey(1)); return err },
				"another site's": func() error { _, err := other.Lookup(t.Context(), token.IntKey(1)); return err },
				"many": func() error {
					_, err := s.LookupMany(t.Context(), []token.PrimaryKey{token.IntKey(1), token.IntKey(2)})
					return err
				},
				"a one-time token": func() error { return s.Consume(t.Context(), alice, time.Now()) },
			} {
				err := ask()
				if !errors.Is(err, userstore.ErrUnavailable) {
					t.Errorf("%s: %v, want ErrUnavailable", what, err)
				}
				wantError(t, err, "MySQL doesn't answer, and is asked again until it does")
			}
			if got := s.Servers()[0].Address; got != proxy.Addr() {
				t.Errorf("the address is %s", got)
			}
			eventually(t, func() error { // the breaker's own probes, and unused connections
				if n := s.Stats().Pool.OpenConnections; n > 0 {
					return errors.New("connections of before are kept")
				}
				return nil
			})

			test.end(proxy)
			awaitSilence(t, s, false) // with no request that would cause it
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Errorf("a lookup after the end: %v", err)
			}
			if n := len(logs.FilterMessage(opened).All()); n != 1 {
				t.Errorf("%d lines say that it opened", n)
			}
			if n := len(logs.FilterMessage(closed).All()); n != 1 {
				t.Errorf("%d lines say that it closed", n)
			}
			for _, line := range logs.All() {
				if line.Message != opened && line.Message != closed {
					t.Errorf("logged %v", line)
				}
			}
		})
	}
}

// TestBreakerStaysClosed if the server answers queries with errors.
func TestBreakerStaysClosed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers,
		"CREATE TABLE other (id int PRIMARY KEY, password text, is_active bool)", "INSERT INTO other VALUES (1, 'x', 1)")
	cfg := userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)}
	s, logs := openLogged(t, cfg, userstore.Needs{})
	cfg.Table = "other"
	other := openStore(t, cfg, userstore.Needs{})
	conn, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	var locked sync.WaitGroup
	for range 4 {
		locked.Go(func() {
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("a lookup behind the lock: %v", err)
			}
		})
	}
	done := make(chan struct{})
	go func() { locked.Wait(); close(done) }()
	for locks := true; locks; {
		select {
		case <-done:
			locks = false
		default:
		}
		if _, err := other.Lookup(t.Context(), token.IntKey(1)); err != nil {
			t.Errorf("a site with another table: %v", err)
		}
	}
	d.exec("ALTER TABLE other RENAME COLUMN password TO secret")
	if _, err := other.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("without the column: %v", err)
	}
	if n := logs.Len(); n > 0 {
		t.Errorf("logged %v", logs.All())
	}
	if !s.Servers()[0].Silent.IsZero() {
		t.Error("the breaker is open")
	}
}

// TestBreakerAndStart opens a store while the proxy lets nothing through.
func TestBreakerAndStart(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	proxy, dsn := newProxy(t, d)
	proxy.Freeze()
	s, err := userstore.Open(t.Context(), userstore.Config{DSN: dsn, StartWithout: true, QueryTimeout: caddy.Duration(300 * time.Millisecond)},
		userstore.Needs{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		if !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("a lookup: %v", err)
		}
		if s.Servers()[0].Silent.IsZero() {
			return errors.New("the breaker is closed")
		}
		return nil
	})
	proxy.Pass()
	eventually(t, func() error { _, err := s.Lookup(t.Context(), token.IntKey(1)); return err })
}

// TestClosingWhileNothingAnswers isn't parallel, so that all goroutines are its
// own.
func TestClosingWhileNothingAnswers(t *testing.T) { //nolint:paralleltest // counts goroutines
	d := newDatabase(t, authUser, threeUsers)
	d.exec("SELECT 1")
	before := runtime.NumGoroutine()
	proxy, dsn := newProxy(t, d)
	s, err := userstore.Open(t.Context(), userstore.Config{DSN: dsn, QueryTimeout: caddy.Duration(3 * time.Second)},
		userstore.Needs{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	proxy.Freeze()
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err == nil {
		t.Error("a frozen server answered")
	}
	awaitSilence(t, s, true)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	proxy.Close()
	eventually(t, func() error {
		if n := runtime.NumGoroutine(); n > before {
			stacks := make([]byte, 1<<16)
			return testError(stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}
