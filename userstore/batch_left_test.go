package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// lockedUsers is a server whose table of users is locked until unlock is called,
// and a store that reads the table over some connections.
type lockedUsers struct {
	*database
	server *testmariadb.Server
	store  *userstore.MySQL
	unlock func()
}

func newLockedUsers(t *testing.T, connections int, timeout time.Duration) *lockedUsers {
	t.Helper()
	server, d := newServerDatabase(t)
	manyUsers(d, 20)
	s := openStore(t, userstore.Config{
		DSN: server.DSN("django"), MaxOpenConns: connections, QueryTimeout: caddy.Duration(timeout),
	}, userstore.Needs{})
	return &lockedUsers{d, server, s, lockTable(t, d)}
}

// lockTable locks the users against reading, until the function is called.
func lockTable(t *testing.T, d *database) (unlock func()) {
	t.Helper()
	holder, err := d.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
		t.Fatal(err)
	}
	release := sync.OnceFunc(func() { _ = holder.Close() })
	t.Cleanup(release)
	return func() {
		t.Helper()
		if _, err := holder.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
		release()
	}
}

// awaitQueries returns when a number of queries wait for the locked table.
func (l *lockedUsers) awaitQueries(n int) {
	l.t.Helper()
	eventually(l.t.(*testing.T), func() error {
		waiting := l.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%'")
		if waiting != fmt.Sprint(n) {
			return fmt.Errorf("%s queries wait for the table, want %d", waiting, n)
		}
		return nil
	})
}

// waitingContext tells when a lookup waits for the context's end, which it does
// once it is in a batch.
type waitingContext struct {
	context.Context
	waits func()
}

func (c waitingContext) Done() <-chan struct{} {
	c.waits()
	return c.Context.Done()
}

// lookUp looks a user up in the background, which must end with the error, or
// with the row.
func (l *lockedUsers) lookUp(ctx context.Context, group *sync.WaitGroup, want error, id int64) {
	group.Go(func() {
		u, err := l.store.Lookup(ctx, token.IntKey(id))
		switch {
		case !errors.Is(err, want):
			l.t.Errorf("user %d: %v, want %v", id, err, want)
		case want == nil && u.Username != fmt.Sprintf("user%d", id):
			l.t.Errorf("user %d is %s", id, u.Username)
		}
	})
}

// join is lookUp for users behind a query on its way. It returns when all of
// them are in a batch.
func (l *lockedUsers) join(ctx context.Context, group *sync.WaitGroup, want error, ids ...int64) {
	var joining sync.WaitGroup
	joining.Add(len(ids))
	for _, id := range ids {
		l.lookUp(waitingContext{ctx, sync.OnceFunc(joining.Done)}, group, want, id)
	}
	joining.Wait()
}

// TestBatchThatAllLookupsLeftIsNotSent counts the queries that reach MySQL for lookups
// that were given up before their query was sent.
func TestBatchThatAllLookupsLeftIsNotSent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		leave, stay      []int64
		queries, lookups int
	}{
		{"all of a batch leave", []int64{2, 3, 4, 5, 6}, nil, 2, 2},
		{"one of a batch stays", []int64{2, 3, 4, 5, 6}, []int64{7}, 3, 8},
		{"one of a batch leaves", []int64{2}, []int64{3, 4, 5, 6}, 3, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLockedUsers(t, 1, time.Minute)
			before := l.status("Com_stmt_execute")
			counted := l.store.Stats().Lookups
			var first, staying, leaving sync.WaitGroup
			l.lookUp(t.Context(), &first, nil, 1)
			l.awaitQueries(1)
			impatient, cancel := context.WithCancel(t.Context())
			l.join(t.Context(), &staying, nil, test.stay...)
			l.join(impatient, &leaving, context.Canceled, test.leave...)
			cancel()
			leaving.Wait()
			l.unlock()
			first.Wait()
			staying.Wait()
			// With one connection, this is answered after whatever was sent before.
			var last sync.WaitGroup
			l.lookUp(t.Context(), &last, nil, 20)
			last.Wait()
			if n := l.status("Com_stmt_execute") - before; n != test.queries {
				t.Errorf("%d queries reached MySQL, want %d", n, test.queries)
			}
			if n := int(l.store.Stats().Lookups - counted); n != test.lookups {
				t.Errorf("%d lookups are counted, want %d", n, test.lookups)
			}
		})
	}
}

// TestQueryThatAllLookupsLeftDelaysNoLaterLookup has all lookups leave a query that
// MySQL doesn't answer.
func TestQueryThatAllLookupsLeftDelaysNoLaterLookup(t *testing.T) {
	t.Parallel()
	l := newLockedUsers(t, 2, time.Minute)
	before := l.status("Com_stmt_execute")
	var first, leaving sync.WaitGroup
	l.lookUp(t.Context(), &first, nil, 1)
	l.awaitQueries(1)
	impatient, cancel := context.WithCancel(t.Context())
	l.join(impatient, &leaving, context.Canceled, 2)
	l.awaitQueries(2)
	cancel()
	leaving.Wait()

	// The same user's lookup joins no query that others have left.
	var later sync.WaitGroup
	l.join(t.Context(), &later, nil, 2)
	l.unlock()
	later.Wait()
	first.Wait()
	if n := l.status("Com_stmt_execute") - before; n != 3 {
		t.Errorf("%d queries reached MySQL, want 3", n)
	}
}

// TestLookupsOfABatchWaitNoLongerThanAQueryMayTake has a batch wait for a query
// until the query's time limit: only the rest of that time is left for the batch.
func TestLookupsOfABatchWaitNoLongerThanAQueryMayTake(t *testing.T) {
	t.Parallel()
	const timeout = 15 * time.Second
	l := newLockedUsers(t, 1, timeout)
	var lookups sync.WaitGroup
	began := time.Now()
	l.lookUp(t.Context(), &lookups, userstore.ErrUnavailable, 1)
	l.awaitQueries(1)
	l.join(t.Context(), &lookups, userstore.ErrUnavailable, 2, 3, 4)
	lookups.Wait()
	// Two queries one after the other would take twice the time.
	if took := time.Since(began); took > timeout*7/4 {
		t.Errorf("the lookups took %s, and a query may take %s", took, timeout)
	}
	l.unlock()
	eventually(t, func() error {
		_, err := l.store.Lookup(t.Context(), token.IntKey(5))
		return err
	})
}
