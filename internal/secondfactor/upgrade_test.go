package secondfactor

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// writes is a store that answers each write of a hash with an error.
type writes struct {
	Store
	err   error
	wrote string
}

func (s *writes) UpgradePassword(_ context.Context, user *userstore.User, hash string) error {
	s.wrote = *user.Password + " " + hash
	return s.err
}

// TestBetterHashIsOfTheSessionThatBegins, if it could be written.
func TestBetterHashIsOfTheSessionThatBegins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, better string
		err          error
		want         string // the user's hash then; empty where the login ends
		wrote        string
	}{
		{"no better hash", "", nil, "old", ""},
		{"a better hash", "new", nil, "new", "old new"},
		{"a changed password", "new", userstore.ErrChanged, "", "old new"},
		{"no answer of the database", "new", userstore.ErrUnavailable, "old", "old new"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store := &writes{err: test.err}
			a := New(Environment{Store: func() Store { return store }, Now: time.Now, Logger: zap.NewNop()})
			user := &userstore.User{User: token.User{Password: new("old")}, PrimaryKey: token.IntKey(1)}
			got, err := a.Upgrade(t.Context(), &Pending{better: test.better}, user)
			switch {
			case test.want == "" && !HasEnded(err):
				t.Errorf("%v, %v; want the end of the login", got, err)
			case test.want != "" && (err != nil || *got.Password != test.want):
				t.Errorf("%v, %v; want the hash %s", got, err, test.want)
			}
			if store.wrote != test.wrote || *user.Password != "old" {
				t.Errorf("written is %q, and the row that was read has %q", store.wrote, *user.Password)
			}
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	store := &writes{err: userstore.ErrUnavailable}
	a := New(Environment{Store: func() Store { return store }, Now: time.Now, Logger: zap.NewNop()})
	if _, err := a.Upgrade(ctx, &Pending{better: "new"}, &userstore.User{User: token.User{Password: new("old")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("for a client that has left: %v", err)
	}
}
