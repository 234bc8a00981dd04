package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

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

// TestLookupsTogether has many lookups wait at once. Each gets its own user, or
// none; BenchmarkLookups shows what waiting together saves.
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

// TestLookupsAreFresh changes a row while others look it up all the time: a
// lookup that begins after the change sees it, whatever query it joins.
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

// TestLookupsThatGiveUp leave their batch, and the others of it their answers.
func TestLookupsThatGiveUp(t *testing.T) {
	t.Parallel()
	d := newUsers(t, 20)
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{})
	lock := open(t, d.name)
	lock.SetMaxOpenConns(1)
	if _, err := lock.Exec("LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}

	impatient, cancel := context.WithCancel(t.Context())
	var staying, leaving sync.WaitGroup
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

	// All gone at once leaves the store in order, too.
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
