package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newUsers makes a table of n users, with the ids 1 to n.
func newUsers(t testing.TB, n int) *database {
	t.Helper()
	d := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, username varchar(150), password varchar(128), last_login datetime(6), is_active bool)")
	for id := 1; id <= n; id++ {
		d.exec(fmt.Sprintf("INSERT INTO auth_user VALUES (%d, 'user%d', 'p', NULL, 1)", id, id))
	}
	return d
}

// TestLookupsShareQueries counts the queries of many lookups at once.
func TestLookupsShareQueries(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	manyUsers(d, 1000)
	queries := func() int { return d.status("Com_stmt_execute") }
	s := openStore(t, userstore.Config{DSN: server.DSN("django")}, userstore.Needs{})
	const workers, each = 64, 100
	before := queries()
	var lookups sync.WaitGroup
	for worker := range workers {
		lookups.Go(func() {
			for i := range each {
				if _, err := s.Lookup(t.Context(), token.IntKey(int64((worker*each+i)%1000+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	lookups.Wait()
	sent := queries() - before
	if sent > workers*each/4 {
		t.Errorf("%d queries for %d lookups, want a quarter at most", sent, workers*each)
	}
	var counted uint64
	stats := s.Stats()
	for _, n := range stats.Queries {
		counted += n
	}
	if counted != uint64(sent) || stats.Lookups != workers*each {
		t.Errorf("the store counts %d queries for %d lookups", counted, stats.Lookups)
	}
}

// newUsersBehindLocks makes a table of users, and a view of it in which the rows of
// the given ids wait for locks. The locks are held until release is called.
func newUsersBehindLocks(t *testing.T, n int, ids string) (d *database, release func()) {
	t.Helper()
	d = newUsers(t, n)
	lock := "CONCAT('" + d.name + "', id)"
	d.exec("CREATE VIEW locked AS SELECT id, username, password, last_login, is_active, IF(id IN (" + ids + "), GET_LOCK(" + lock + ", 60), 1) AS gate FROM auth_user")
	holder := open(t, d.name)
	holder.SetMaxOpenConns(1)
	if _, err := holder.Exec("SELECT GET_LOCK(" + lock + ", 0) FROM auth_user WHERE id IN (" + ids + ")"); err != nil {
		t.Fatal(err)
	}
	return d, func() {
		if err := holder.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowLookupHoldsUpNoOther has one lookup wait until all others have had
// their answers.
func TestSlowLookupHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	d, release := newUsersBehindLocks(t, 20, "13")
	s := openStore(t, userstore.Config{
		DSN: d.dsn(), Table: "locked",
		Columns:      userstore.Columns{Extra: []string{"gate"}},
		QueryTimeout: caddy.Duration(time.Minute),
	}, userstore.Needs{})
	var slow, others sync.WaitGroup
	slow.Go(func() {
		u, err := s.Lookup(t.Context(), token.IntKey(13))
		if err != nil || u.Username != "user13" {
			t.Errorf("the slow lookup: %v", err)
		}
	})
	eventually(t, func() error {
		if d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User lock' AND DB = '"+d.name+"'") != "1" {
			return errors.New("the slow lookup is not on its way")
		}
		return nil
	})
	for worker := range 12 {
		others.Go(func() {
			for range 20 {
				if _, err := s.Lookup(t.Context(), token.IntKey(int64(worker+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	others.Wait()
	release()
	slow.Wait()
}

// TestLookupsWithoutAnAnswerEnd: lookups without an answer end, waiting ones
// included, and later lookups are answered.
func TestLookupsWithoutAnAnswerEnd(t *testing.T) {
	t.Parallel()
	d, release := newUsersBehindLocks(t, 60, "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20")
	s := openStore(t, userstore.Config{
		DSN: d.dsn(), Table: "locked",
		Columns:      userstore.Columns{Extra: []string{"gate"}},
		QueryTimeout: caddy.Duration(briefly),
		MaxOpenConns: 3,
	}, userstore.Needs{})
	var lookups sync.WaitGroup
	for id := range 20 {
		lookups.Go(func() {
			_, err := s.Lookup(t.Context(), token.IntKey(int64(id+1)))
			if !errors.Is(err, userstore.ErrUnavailable) {
				t.Errorf("user %d: %v, want ErrUnavailable", id+1, err)
			}
		})
	}
	lookups.Wait()
	for id := range 40 {
		lookups.Go(func() {
			eventually(t, func() error {
				_, err := s.Lookup(t.Context(), token.IntKey(int64(id+21)))
				return err
			})
		})
	}
	lookups.Wait()
	release()
}

// TestLookupsTogether has many lookups wait at once. Each gets its own user, or
// none.
func TestLookupsTogether(t *testing.T) {
	t.Parallel()
	const users, workers, each = 50, 64, 50
	d := newUsers(t, users)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	var lookups sync.WaitGroup
	for worker := range workers {
		lookups.Go(func() {
			for i := range each {
				id := (worker*each+i)%(users+5) + 1 // the last five aren't there
				u, err := s.Lookup(t.Context(), token.IntKey(int64(id)))
				switch {
				case id > users && !errors.Is(err, userstore.ErrNotFound):
					t.Errorf("user %d: %v, want none", id, err)
				case id <= users && err != nil:
					t.Errorf("user %d: %v", id, err)
				case id <= users && u.Username != "user"+strconv.Itoa(id):
					t.Errorf("user %d is %s", id, u.Username)
				}
			}
		})
	}
	lookups.Wait()
}

// TestLookupsAreFresh changes a row while others look it up all the time: a lookup
// that begins after the change sees the change, whatever query it joins.
func TestLookupsAreFresh(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 20)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for worker := range 32 {
		others.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.Lookup(ctx, token.IntKey(int64(worker%20+1)))
			}
		})
	}
	for i := range 200 {
		password := "changed" + strconv.Itoa(i)
		d.exec("UPDATE auth_user SET password = '" + password + "' WHERE id = 1")
		u, err := s.Lookup(ctx, token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if *u.Password != password {
			t.Fatalf("the row is that of %s, after it became %s", *u.Password, password)
		}
	}
	stop()
	others.Wait()
}

// TestLookupsThatGiveUp: the other lookups of their batch still get answers.
func TestLookupsThatGiveUp(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 20)
	s := openStore(t, userstore.Config{DSN: d.dsn(), QueryTimeout: caddy.Duration(time.Minute)}, userstore.Needs{})
	lock := open(t, d.name)
	lock.SetMaxOpenConns(1)
	if _, err := lock.Exec("LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}

	impatient, cancel := context.WithCancel(t.Context())
	var staying, leaving sync.WaitGroup
	// The first lookup is sent alone, and isn't part of a batch.
	staying.Go(func() {
		if _, err := s.Lookup(t.Context(), token.IntKey(20)); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error {
		if d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%' AND DB = '"+d.name+"'") == "0" {
			return errors.New("the first lookup is not on its way")
		}
		return nil
	})
	for id := range 20 {
		ctx, group := t.Context(), &staying
		if id%2 == 1 {
			ctx, group = impatient, &leaving
		}
		group.Go(func() {
			_, err := s.Lookup(ctx, token.IntKey(int64(id+1)))
			switch {
			case ctx == impatient && !errors.Is(err, context.Canceled):
				t.Errorf("user %d: %v, want the lookup canceled", id+1, err)
			case ctx != impatient && err != nil:
				t.Errorf("user %d: %v", id+1, err)
			}
		})
	}
	cancel()
	leaving.Wait()
	if _, err := lock.Exec("UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	staying.Wait()

	// If all lookups leave at once, the store still works.
	gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for range 50 {
		staying.Go(func() { _, _ = s.Lookup(gone, token.IntKey(1)) })
	}
	staying.Wait()
	for range 10 {
		staying.Go(func() {
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Error(err)
			}
		})
	}
	staying.Wait()
}

// BenchmarkLookups measures lookups that wait together.
func BenchmarkLookups(b *testing.B) {
	d := newUsers(b, 100)
	s := openStore(b, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	for _, waiters := range []int{1, 8, 64, 512} {
		b.Run(strconv.Itoa(waiters), func(b *testing.B) {
			b.ReportAllocs()
			var lookups sync.WaitGroup
			for worker := range waiters {
				lookups.Go(func() {
					for i := worker; i < b.N; i += waiters {
						if _, err := s.Lookup(b.Context(), token.IntKey(int64(i%100+1))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			lookups.Wait()
		})
	}
}
