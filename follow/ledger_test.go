package follow_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

const (
	ledgerUsers = 300
	ledgerLease = 500 * time.Millisecond
)

// ledgered are sites with many users, each of whom is changed once while requests go on.
// A request that begins after the change was answered must be rejected.
type ledgered struct {
	*sites
	tokens []string
	db     *sql.DB

	isStrict bool
	began    time.Time
	trying   []atomic.Bool  // the user's change may be visible
	changed  []atomic.Int64 // when COMMIT was answered, since began; 0 before

	mu     sync.Mutex
	delays []time.Duration // from the answer to COMMIT until a request began that was rejected

	accepted, rejected, failed, stale atomic.Int64
	oldest                            atomic.Int64 // how long after COMMIT was answered the last stale request began
}

// ledgerChanges are those that end a user's tokens.
var ledgerChanges = []string{
	"UPDATE auth_user SET password = 'q' WHERE id = ?", "UPDATE auth_user SET is_active = 0 WHERE id = ?", "DELETE FROM auth_user WHERE id = ?",
	"INSERT INTO auth_user (id, username, password) VALUES (?, 'x', 'y') ON DUPLICATE KEY UPDATE password = 'r'",
}

// restore has all users' tokens be accepted again.
func (l *ledgered) restore(t *testing.T) {
	t.Helper()
	rows := make([]string, ledgerUsers)
	for i := range rows {
		rows[i] = fmt.Sprintf("(%d, 'user%d', 'p')", i+1, i+1)
	}
	exec(t, l.server, "gateway", "REPLACE INTO auth_user (id, username, password) VALUES "+strings.Join(rows, ", "))
	l.awaitAll(t, http.StatusOK)
	l.began, l.trying, l.changed = time.Now(), make([]atomic.Bool, ledgerUsers), make([]atomic.Int64, ledgerUsers)
	l.delays = nil
	for _, count := range []*atomic.Int64{&l.accepted, &l.rejected, &l.failed, &l.stale, &l.oldest} {
		count.Store(0)
	}
}

// request sends a user's request to any site, and judges the answer.
func (l *ledgered) request(ctx context.Context, t *testing.T, client *http.Client, user int) (status int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.address+"/", nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	request.Host = siteHosts[rand.N(len(siteHosts))]
	request.Header.Set("Authorization", "Bearer "+l.tokens[user])
	began := time.Since(l.began)
	answer, err := client.Do(request)
	if err != nil {
		l.failed.Add(1) // as the connections that wait at a listener when it is replaced
		return 0
	}
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		l.accepted.Add(1)
		if at := time.Duration(l.changed[user].Load()); at != 0 && at < began {
			l.judge(t, began-at)
		}
	case http.StatusUnauthorized:
		l.rejected.Add(1)
		if !l.trying[user].Load() {
			t.Errorf("user %d was rejected before any change", user+1)
		}
	default:
		l.failed.Add(1)
	}
	return answer.StatusCode
}

// judge judges a request that was accepted although it has begun so long after the change.
func (l *ledgered) judge(t *testing.T, age time.Duration) {
	l.stale.Add(1)
	for oldest := l.oldest.Load(); int64(age) > oldest && !l.oldest.CompareAndSwap(oldest, int64(age)); {
		oldest = l.oldest.Load()
	}
	if l.isStrict || age > ledgerLease {
		t.Errorf("a request that began %s after the change of its user was accepted", age)
	}
}

// change changes a user whose row is kept, and sends requests until one is rejected.
func (l *ledgered) change(ctx context.Context, t *testing.T, client *http.Client, user int) {
	l.request(ctx, t, client, user)
	l.trying[user].Store(true)
	if _, err := l.db.ExecContext(ctx, ledgerChanges[user%len(ledgerChanges)], user+1); err != nil {
		t.Errorf("changing user %d: %v", user+1, err)
		return
	}
	l.changed[user].Store(int64(time.Since(l.began)))
	for deadline := time.Now().Add(patience); ; {
		delay := time.Since(l.began) - time.Duration(l.changed[user].Load())
		if l.request(ctx, t, client, user) == http.StatusUnauthorized {
			l.mu.Lock()
			l.delays = append(l.delays, delay)
			l.mu.Unlock()
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("user %d is never rejected", user+1)
			return
		}
	}
}

// run changes each user once while others send requests, and something happens.
func (l *ledgered) run(t *testing.T, happens func(t *testing.T)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	hits := userstore.AllTotals().Follow.Hits
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			client := &http.Client{Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for ; ctx.Err() == nil; <-tick.C {
				l.request(context.WithoutCancel(ctx), t, client, rand.N(ledgerUsers))
			}
		})
	}
	users := make(chan int)
	for range 2 {
		writers.Go(func() {
			client := &http.Client{Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			for user := range users {
				l.change(ctx, t, client, user)
			}
		})
	}
	// Half of the users are changed meanwhile at least, and the rest afterwards.
	over := make(chan struct{})
	go func() {
		defer close(over)
		happens(t)
	}()
	for i, user := range rand.Perm(ledgerUsers) {
		if i >= ledgerUsers/2 {
			<-over
		}
		users <- user
	}
	close(users)
	writers.Wait()
	stop()
	readers.Wait()
	<-over
	slices.Sort(l.delays)
	t.Logf("rejected after %s (median), %s (p99)", l.delays[len(l.delays)/2], l.delays[len(l.delays)*99/100])
	t.Logf("%d accepted, %d rejected, %d without an answer, %d stale, the last one %s after the change; %d by kept rows; %s",
		l.accepted.Load(), l.rejected.Load(), l.failed.Load(), l.stale.Load(), time.Duration(l.oldest.Load()),
		userstore.AllTotals().Follow.Hits-hits, time.Since(l.began).Round(time.Millisecond))
}

// TestChangedUsersAreRejected has a ledger of changes while requests go on through a real
// Caddy with three sites, which share a stream. There is one Caddy in a process.
func TestChangedUsersAreRejected(t *testing.T) {
	t.Run("MariaDB", func(t *testing.T) { changeLedgered(t, startServer(t)) })
	t.Run("MySQL", func(t *testing.T) { changeLedgered(t, needsMySQL(t)) })
}

// changeLedgered changes all users of a server in each of some situations.
func changeLedgered(t *testing.T, server databaseServer) {
	t.Helper()
	l := &ledgered{sites: startSitesWith(t, server, ledgerLease.String())}
	l.db = open(t, l.server, "gateway")
	for user := range ledgerUsers {
		l.tokens = append(l.tokens, tokenOf(t, int64(user+1), "p"))
	}
	makeBusy(t, l.server)
	for _, test := range []struct {
		name, follow string
		happens      func(t *testing.T)
	}{
		{"nothing happens", "", func(*testing.T) {}},
		{"reloads", "", func(t *testing.T) { l.reloadOften(t, 10, "") }},
		{"the server freezes", "", func(t *testing.T) { l.freeze(t, 2*ledgerLease) }},
		{"another database is busy", "", func(t *testing.T) { l.busy(t, 5) }},
		{"strict", "strict on", func(t *testing.T) { l.busy(t, 5) }},
		{"one user is kept", "max_users 1", func(*testing.T) {}},
		{"little is kept", "max_size 1KiB", func(*testing.T) {}},
	} {
		l.isStrict = test.follow == "strict on"
		l.reload(t, test.follow, "")
		l.restore(t)
		l.awaitKept(t)
		t.Run(test.name, func(t *testing.T) { l.run(t, test.happens) })
	}
}

// reloadOften loads the configuration again.
func (l *ledgered) reloadOften(t *testing.T, times int, follow string) {
	for range times {
		if err := l.load(l.caddyfile(follow, "")); err != nil {
			t.Error(err)
		}
	}
}

// freeze freezes the server for a while.
func (l *ledgered) freeze(t *testing.T, limit time.Duration) {
	<-time.After(ledgerLease / 2)
	if err := l.server.Freeze(); err != nil {
		t.Error(err)
	}
	<-time.After(limit)
	l.server.Thaw()
}

// busy has another database be changed 5,000 times, in each of some fifths of a second.
func (l *ledgered) busy(t *testing.T, times int) {
	tick := time.NewTicker(time.Second / 5)
	defer tick.Stop()
	for range times {
		if _, err := l.db.Exec("CALL busy.`change`(1000)"); err != nil {
			t.Error(err)
		}
		<-tick.C
	}
}
