package follow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// djangoUsers is Django's table of users, as far as it is read.
const djangoUsers = "CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150) NOT NULL UNIQUE, password varchar(128) NOT NULL, " +
	"last_login datetime(6) NULL, is_active bool NOT NULL DEFAULT 1, is_superuser bool NOT NULL DEFAULT 0)"

// followedStore is a user store that follows the binlog of its server.
type followedStore struct {
	store     *userstore.MySQL
	following *userstore.Following
	users     userstore.Finder
	logs      *observer.ObservedLogs
}

// followStore opens a store that follows until the test ends.
func followStore(t *testing.T, cfg userstore.Config, needs userstore.Needs) *followedStore {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	if cfg.QueryTimeout == 0 {
		cfg.QueryTimeout = caddy.Duration(patience / 2) // a busy machine may be slow
	}
	store, err := userstore.Open(t.Context(), cfg, needs, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	following := store.Follow(follow.Follower{})
	t.Cleanup(func() { following.Close() })
	return &followedStore{store, following, userstore.Finder{Store: store, Following: following}, logs}
}

// errNoUser is the verdict where there is no row.
var errNoUser = errors.New("no user")

// find looks a key up as a request does that is accepted with any row, and reports
// whether that took no query. The user is nil if there is none.
func (s *followedStore) find(t *testing.T, key userstore.Key) (user *userstore.User, isKept bool) {
	t.Helper()
	before := s.store.Stats().Lookups
	user, err := s.users.Find(t.Context(), key, false, func(user *userstore.User) error {
		if user == nil {
			return errNoUser
		}
		return nil
	})
	if err != nil && !errors.Is(err, errNoUser) {
		t.Fatal(err)
	}
	return user, s.store.Stats().Lookups == before
}

// keep looks a key up until that takes no query, and returns the user.
func (s *followedStore) keep(t *testing.T, key userstore.Key) *userstore.User {
	t.Helper()
	var user *userstore.User
	s.await(t, "a row is kept", func() bool {
		found, isKept := s.find(t, key)
		user = found
		return isKept
	})
	return user
}

// awaitState waits for a state of the following.
func (s *followedStore) awaitState(t *testing.T, state string) userstore.FollowStats {
	t.Helper()
	var stats userstore.FollowStats
	s.await(t, "the state is "+state, func() bool {
		stats = s.following.Stats()
		return stats.State == state
	})
	return stats
}

// await waits until a condition holds.
func (s *followedStore) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("after %s it isn't so that %s: %+v", patience, what, s.following.Stats())
		}
	}
}

// password is the password of a user, or empty without one.
func password(user *userstore.User) string {
	if user == nil {
		return ""
	}
	return *user.Password
}

func userKey(id int64) userstore.Key { return userstore.ByPrimaryKey(token.IntKey(id)) }
