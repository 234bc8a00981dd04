package userstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestTricklingAnswersEndAtTheQueryTimeout has the server's answers come a byte at
// a time, each long before the time for an answer is over. The test counts the
// bytes: no more arrive than fit into the time limit.
func TestTricklingAnswersEndAtTheQueryTimeout(t *testing.T) {
	t.Parallel()
	const (
		limit = 1500 * time.Millisecond
		pause = 250 * time.Millisecond
		most  = int64(limit / pause) // bytes that can come in the time
	)
	ask := func(s *userstore.MySQL) error { _, err := s.Lookup(t.Context(), token.IntKey(1)); return err }
	tests := []struct {
		name string
		anew bool // without a connection that is open already
		ask  func(*userstore.MySQL, *userstore.User) error
	}{
		{"a lookup", false, func(s *userstore.MySQL, _ *userstore.User) error { return ask(s) }},
		{"a lookup for which a connection is made", true, func(s *userstore.MySQL, _ *userstore.User) error { return ask(s) }},
		{"several users", false, func(s *userstore.MySQL, _ *userstore.User) error {
			_, err := s.LookupMany(t.Context(), []token.PrimaryKey{token.IntKey(1), token.IntKey(2)})
			return err
		}},
		{"a user by name", false, func(s *userstore.MySQL, _ *userstore.User) error {
			_, err := s.FindMany(t.Context(), userstore.Username, []string{"alice"})
			return err
		}},
		{"a one-time token", false, func(s *userstore.MySQL, u *userstore.User) error { return s.Consume(t.Context(), u, time.Now()) }},
		{"a one-time token for which a connection is made", true, func(s *userstore.MySQL, u *userstore.User) error {
			return s.Consume(t.Context(), u, time.Now())
		}},
		{"a revocation", false, func(s *userstore.MySQL, u *userstore.User) error {
			return s.Revoke(t.Context(), u, "0123456789abcdef0123", time.Time{})
		}},
		{"a ping", false, func(s *userstore.MySQL, _ *userstore.User) error { return s.Ping(t.Context()) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, authUser, threeUsers)
			addRevocations(t, d)
			proxy, dsn := newProxy(t, d)
			cfg := userstore.Config{
				DSN: dsn, Revocations: "revoked", QueryTimeout: caddy.Duration(limit), MaxOpenConns: 1,
			}
			s := openStore(t, cfg, userstore.Needs{LastLogin: true})
			u, err := s.Lookup(t.Context(), token.IntKey(1))
			if err != nil {
				t.Fatal(err)
			}
			if test.anew {
				proxy.ResetOnce()
				eventually(t, func() error {
					if proxy.Connections() > 0 {
						return errors.New("the connections are still there")
					}
					return nil
				})
			}
			proxy.Trickle(pause)
			err = test.ask(s, u)
			got := proxy.Trickled()
			proxy.Pass()
			if !errors.Is(err, userstore.ErrUnavailable) {
				t.Fatalf("%v, want ErrUnavailable", err)
			}
			// The breaker's ping may have begun.
			if got > 2*most {
				t.Errorf("%d bytes came until it was given up, and %d fit into the time", got, most)
			}
			awaitSilence(t, s, false)
		})
	}
}

// TestTricklingStartEndsAtTheQueryTimeout opens stores while the server's greeting,
// or its part of a TLS handshake, arrives a byte at a time.
func TestTricklingStartEndsAtTheQueryTimeout(t *testing.T) {
	t.Parallel()
	const (
		limit = 1500 * time.Millisecond
		pause = 250 * time.Millisecond
		most  = int64(limit / pause)
	)
	server, _, _ := newTLSServer(t)
	for _, parameters := range []string{"", "?tls=skip-verify"} {
		t.Run("parameters "+parameters, func(t *testing.T) {
			t.Parallel()
			proxy, err := faultproxy.Start(server.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			proxy.Trickle(pause)
			cfg := userstore.Config{DSN: "plain:s3cret@tcp(" + proxy.Addr() + ")/django" + parameters, QueryTimeout: caddy.Duration(limit)}
			_, err = userstore.Open(t.Context(), cfg, userstore.Needs{}, zap.NewNop())
			if !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("%v, want ErrUnavailable", err)
			}
			if got := proxy.Trickled(); got > 2*most {
				t.Errorf("%d bytes came until it was given up, and %d fit into the time", got, most)
			}
		})
	}
}
