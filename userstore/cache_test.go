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

// newCache makes a cache in front of a store of its own.
func newCache(t testing.TB, cfg userstore.Config, needs userstore.Needs, cacheCfg userstore.CacheConfig) *userstore.Cache {
	t.Helper()
	c, err := userstore.NewCache(openStore(t, cfg, needs), cacheCfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// wantPassword looks user 1 up in a cache.
func wantPassword(t *testing.T, c *userstore.Cache, want string, fresh bool) {
	t.Helper()
	u, isFresh, err := c.Lookup(t.Context(), token.IntKey(1))
	if err != nil {
		t.Fatal(err)
	}
	if *u.Password != want || isFresh != fresh {
		t.Errorf("password %s (fresh: %t), want %s (%t)", *u.Password, isFresh, want, fresh)
	}
}

func TestCacheKeepsRowsUntilAFreshOneIsRead(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 3)
	c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	wantPassword(t, c, "p", true)
	d.exec("UPDATE auth_user SET password = 'q'")
	wantPassword(t, c, "p", false)
	u, err := c.LookupFresh(t.Context(), token.IntKey(1))
	if err != nil || *u.Password != "q" {
		t.Fatalf("%v, %v: want the row as it is", describe(u), err)
	}
	wantPassword(t, c, "q", false)

	// Once one lookup has found that a user is gone, all lookups do.
	d.exec("DELETE FROM auth_user WHERE id = 1")
	wantPassword(t, c, "q", false)
	if _, err := c.LookupFresh(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatal(err)
	}
	if _, _, err := c.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatal(err)
	}
	// A missing user is remembered as well, until a lookup finds the user.
	d.exec("INSERT INTO auth_user VALUES (1, 'user1', 'r', NULL, 1)")
	if _, _, err := c.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatalf("%v, want no user still", err)
	}
	if _, err := c.LookupFresh(t.Context(), token.IntKey(1)); err != nil {
		t.Fatal(err)
	}
	wantPassword(t, c, "r", false)
}

// TestKeptAnswersAreNotFresh: an answer is fresh for the lookup alone that MySQL
// answered, whether there is a user or none.
func TestKeptAnswersAreNotFresh(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	for id, want := range map[int64]error{1: nil, 2: userstore.ErrNotFound} {
		for _, wantFresh := range []bool{true, false} {
			_, isFresh, err := c.Lookup(t.Context(), token.IntKey(id))
			if !errors.Is(err, want) || isFresh != wantFresh {
				t.Errorf("user %d: fresh: %t, %v; want %t, %v", id, isFresh, err, wantFresh, want)
			}
		}
	}
}

// TestAnswerOfAnotherLookupsQueryIsNotFresh: the query was sent before the second
// lookup began, so that its row may be older.
func TestAnswerOfAnotherLookupsQueryIsNotFresh(t *testing.T) {
	t.Parallel()
	for id, want := range map[int64]error{1: nil, 2: userstore.ErrNotFound} {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			t.Parallel()
			d := newUsers(t, 1)
			c := newCache(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(time.Minute)}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
			unlock := lockTable(t, d)
			var lookups sync.WaitGroup
			lookUp := func(wantFresh bool) {
				lookups.Go(func() {
					if _, isFresh, err := c.Lookup(t.Context(), token.IntKey(id)); isFresh != wantFresh || !errors.Is(err, want) {
						t.Errorf("fresh: %t, %v; want %t, %v", isFresh, err, wantFresh, want)
					}
				})
			}
			lookUp(true)
			eventually(t, func() error {
				if d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%' AND DB = '"+d.name+"'") != "1" {
					return errors.New("the first lookup is not on its way")
				}
				return nil
			})
			lookUp(false)
			eventually(t, func() error {
				if n := c.Stats().Misses; n != 2 {
					return fmt.Errorf("%d lookups were counted", n)
				}
				return nil
			})
			unlock()
			lookups.Wait()
		})
	}
}

// TestLookupsAreCountedForAllCaches compares the totals with the figures of a cache.
// It isn't parallel, because the totals are those of the whole process.
func TestLookupsAreCountedForAllCaches(t *testing.T) {
	d := newUsers(t, 1)
	before := userstore.AllTotals()
	c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	for _, id := range []int64{1, 1, 1, 1, 2, 2, 2, 3} {
		_, _, _ = c.Lookup(t.Context(), token.IntKey(id))
	}
	after := userstore.AllTotals()
	hits, misses, denied := after.Hits-before.Hits, after.Misses-before.Misses, after.Denied-before.Denied
	if hits != 3 || misses != 3 || denied != 2 {
		t.Errorf("%d hits, %d misses and %d lookups of keys without a user were counted, want 3, 3 and 2", hits, misses, denied)
	}
	if stats := c.Stats(); stats.Hits != hits || stats.Misses != misses || stats.Denied != denied {
		t.Errorf("the cache itself counts %+v", stats)
	}
}

// TestCacheForgetsRowsByTheirAge sees a change, and a new user, without asking for
// a fresh row.
func TestCacheForgetsRowsByTheirAge(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(50 * time.Millisecond)})
	if _, _, err := c.Lookup(t.Context(), token.IntKey(2)); !errors.Is(err, userstore.ErrNotFound) {
		t.Fatal(err)
	}
	wantPassword(t, c, "p", true)
	d.exec("UPDATE auth_user SET password = 'q'", "INSERT INTO auth_user VALUES (2, 'user2', 'p', NULL, 1)")
	eventually(t, func() error {
		u, _, err := c.Lookup(t.Context(), token.IntKey(1))
		if err != nil || *u.Password != "q" {
			return fmt.Errorf("%v, %w", describe(u), err)
		}
		_, _, err = c.Lookup(t.Context(), token.IntKey(2))
		return err
	})
}

// TestCacheIsOfOneConfiguration: only caches of equal configurations share rows, as
// after a reload.
func TestCacheIsOfOneConfiguration(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 2)
	d.exec("CREATE TABLE other AS SELECT * FROM auth_user", "ALTER TABLE other ADD PRIMARY KEY (id)", "UPDATE other SET password = 'other'")
	long := userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)}
	cfg := userstore.Config{DSN: d.dsn()}
	first := newCache(t, cfg, userstore.Needs{}, long)
	wantPassword(t, first, "p", true)
	d.exec("UPDATE auth_user SET password = 'q'")

	wantPassword(t, newCache(t, cfg, userstore.Needs{}, long), "p", false)
	wantPassword(t, newCache(t, cfg, userstore.Needs{LastLogin: true}, long), "q", true)
	wantPassword(t, newCache(t, userstore.Config{DSN: d.dsn(), Table: "other"}, userstore.Needs{}, long), "other", true)
	wantPassword(t, newCache(t, userstore.Config{DSN: d.dsn(), PrimaryKeyField: "id"}, userstore.Needs{}, long), "q", true)
	wantPassword(t, newCache(t, userstore.Config{DSN: d.dsn(), Columns: userstore.Columns{Extra: []string{"username"}}}, userstore.Needs{}, long), "q", true)
	short := long
	short.For /= 2
	wantPassword(t, newCache(t, cfg, userstore.Needs{}, short), "q", true)
}

// TestCacheReadsOnce counts the rows that are read for many lookups of one
// user at once.
func TestCacheReadsOnce(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	manyUsers(d, 2)
	queries := func() int { return d.status("Com_stmt_execute") }
	c := newCache(t, userstore.Config{DSN: server.DSN("django")}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	for id, found := range map[int64]bool{1: true, 2: true, 3: false} {
		before := queries()
		var lookups sync.WaitGroup
		for range 200 {
			lookups.Go(func() {
				if _, _, err := c.Lookup(t.Context(), token.IntKey(id)); (err == nil) != found {
					t.Errorf("user %d: %v", id, err)
				}
			})
		}
		lookups.Wait()
		if n := queries() - before; n != 1 {
			t.Errorf("%d queries for user %d, want 1", n, id)
		}
	}
}

// TestCancelledLookupFailsNoOtherOfItsQuery cancels a lookup while other lookups wait for its
// query.
func TestCancelledLookupFailsNoOtherOfItsQuery(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	c := newCache(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	lock := open(t, d.name)
	lock.SetMaxOpenConns(1)
	if _, err := lock.Exec("LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	waiting := func() error {
		if d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%' AND DB = '"+d.name+"'") == "0" {
			return errors.New("the lookup is not on its way")
		}
		return nil
	}
	filling, cancel := context.WithCancel(t.Context())
	var first, others sync.WaitGroup
	first.Go(func() {
		if _, isFresh, err := c.Lookup(filling, token.IntKey(1)); isFresh || !errors.Is(err, context.Canceled) {
			t.Errorf("the canceled lookup is fresh: %t, %v", isFresh, err)
		}
	})
	eventually(t, waiting)
	for range 10 {
		others.Go(func() {
			if _, _, err := c.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	first.Wait()
	if _, err := lock.Exec("UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	others.Wait()
}

// TestCacheIsBounded looks up more users than may be kept, and keys without a user.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 1)
	d.exec("INSERT INTO auth_user SELECT id + 1, CONCAT('user', id + 1), 'p', NULL, 1 FROM (WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900) SELECT id FROM n) AS ids")
	for _, test := range []struct {
		name string
		cfg  userstore.CacheConfig
		most int
	}{
		{"users", userstore.CacheConfig{MaxUsers: 100}, 100},
		{"size", userstore.CacheConfig{MaxSize: 100 << 10}, 150},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.For = caddy.Duration(userstore.LongestCache)
			c := newCache(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, test.cfg)
			for id := range int64(900) {
				if _, _, err := c.Lookup(t.Context(), token.IntKey(id+1)); err != nil {
					t.Fatal(err)
				}
			}
			users := c.Stats().Users
			if users == 0 || users > test.most {
				t.Errorf("%d users are kept, want some, and %d at most", users, test.most)
			}
			for id := range int64(1000) {
				if _, _, err := c.Lookup(t.Context(), token.IntKey(id+5000)); !errors.Is(err, userstore.ErrNotFound) {
					t.Fatal(err)
				}
			}
			stats := c.Stats()
			if stats.Users != users || stats.Absent != 1000 {
				t.Errorf("%d users and %d absent ones are kept after guesses, want %d and 1000", stats.Users, stats.Absent, users)
			}
			if stats.Hits != 0 || stats.Misses != 1900 || stats.Denied != 0 {
				t.Errorf("%+v, want 1900 misses", stats)
			}
		})
	}
}

func BenchmarkCache(b *testing.B) {
	d := newUsers(b, 100)
	c := newCache(b, userstore.Config{DSN: d.dsn()}, userstore.Needs{}, userstore.CacheConfig{For: caddy.Duration(userstore.LongestCache)})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for id := int64(0); pb.Next(); id++ {
			if _, _, err := c.Lookup(b.Context(), token.IntKey(id%100+1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
