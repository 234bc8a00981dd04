package userstore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestCachedRowIsUsedNoLongerThanItsAge looks a user up all the time after the
// server's row has changed: a lookup that begins after the kept row's age sees the
// change.
func TestCachedRowIsUsedNoLongerThanItsAge(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	const age = 300 * time.Millisecond
	c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(age)})
	wantPassword(t, c, "p", true)
	if _, _, err := c.Lookup(t.Context(), token.IntKey(2)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatal(err)
	}
	answered := time.Now()
	d.exec("UPDATE auth_user SET password = 'q'", "INSERT INTO auth_user VALUES (2, 'user2', 'p', NULL, 1)")
	for {
		began := time.Now()
		isOld := began.Sub(answered) > age
		kept, known := c.Kept(token.IntKey(1))
		if isOld && known && *kept.Password == "p" {
			t.Fatalf("a row is kept %s after it was answered", began.Sub(answered))
		}
		u, _, err := c.Lookup(t.Context(), token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if isOld && *u.Password != "q" {
			t.Fatalf("a row is used %s after it was answered", began.Sub(answered))
		}
		_, _, err = c.Lookup(t.Context(), token.IntKey(2))
		if isOld && err != nil {
			t.Fatalf("a user is absent %s after that was answered: %v", began.Sub(answered), err)
		}
		if isOld {
			return
		}
	}
}

// TestAgeOfACachedRowCountsFromItsLookup has MySQL's answer take longer
// than a row may be kept: the row isn't used again.
func TestAgeOfACachedRowCountsFromItsLookup(t *testing.T) {
	t.Parallel()
	const age = time.Second
	for _, test := range []struct {
		name string
		id   int64
		ask  func(t *testing.T, c *userstore.Cache, pk token.PrimaryKey) error
	}{
		{"a row that a lookup keeps", 1, func(t *testing.T, c *userstore.Cache, pk token.PrimaryKey) error {
			_, isFresh, err := c.Lookup(t.Context(), pk)
			if err == nil && !isFresh {
				t.Error("the row that was waited for isn't fresh")
			}
			return err
		}},
		{"a row that a fresh lookup keeps", 1, func(t *testing.T, c *userstore.Cache, pk token.PrimaryKey) error {
			_, err := c.LookupFresh(t.Context(), pk)
			return err
		}},
		{"a user who isn't there", 2, func(t *testing.T, c *userstore.Cache, pk token.PrimaryKey) error {
			_, _, err := c.Lookup(t.Context(), pk)
			if !errors.Is(err, userstore.ErrNotFound) {
				return err
			}
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newUsers(t, 1)
			c := newCache(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(time.Minute)}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(age)})
			unlock := lockTable(t, d)
			asked := time.Now()
			answered := make(chan error)
			go func() { answered <- test.ask(t, c, token.IntKey(test.id)) }()
			<-time.After(time.Until(asked.Add(age * 3 / 2)))
			unlock()
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			if u, known := c.Kept(token.IntKey(test.id)); known {
				t.Errorf("%s is kept longer than since it was asked for", describe(u))
			}
		})
	}
}

// TestKeptReturnsRowsWithoutAskingMySQL is for clients over the limit: their
// requests don't ask MySQL.
func TestKeptReturnsRowsWithoutAskingMySQL(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 2)
	c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	wantKept := func(key int64, user, known bool) {
		t.Helper()
		u, isKnown := c.Kept(token.IntKey(key))
		if (u != nil) != user || isKnown != known || u != nil && u.PrimaryKey != token.IntKey(key) {
			t.Errorf("of user %d, %v is kept (%t)", key, describe(u), isKnown)
		}
	}
	wantKept(1, false, false)
	wantPassword(t, c, "p", true)
	if _, _, err := c.Lookup(t.Context(), token.IntKey(3)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := c.LookupFresh(t.Context(), token.IntKey(2)); err != nil {
		t.Fatal(err)
	}
	wantKept(1, true, true)
	wantKept(2, true, true)
	wantKept(3, false, true)
	wantKept(4, false, false)
	wantPassword(t, c, "p", false)
	if _, _, err := c.Lookup(t.Context(), token.IntKey(3)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatal(err)
	}
	if stats := c.Stats(); stats.Hits != 1 || stats.Misses != 2 || stats.Denied != 1 || stats.Users != 2 || stats.Absent != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestCacheThatCannotBeIsRejected(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]userstore.CacheConfig{
		"is missing": {}, "is too long": {For: caddy.Duration(userstore.LongestCache + 1)},
		"max_users is negative": {For: 1, MaxUsers: -1}, "max_size is negative": {For: 1, MaxSize: -1},
	} {
		if c, err := userstore.NewCache(nil, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v; want %q", cfg, c, err, want)
		}
	}
}
