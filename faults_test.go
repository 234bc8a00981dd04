package sesame_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
)

// load is requests that clients send one after the other, while something
// happens to MySQL. Half of them have a valid token, half a forged one.
type load struct {
	g             *gateway
	valid, forged string
	client        *http.Client

	stop    chan struct{}
	clients sync.WaitGroup

	ok, unavailable atomic.Int64 // answers to requests with a valid token
	longest         atomic.Int64 // time that a request took
	mostGoroutines  int
}

const loadClients = 12

// startLoad begins to send requests, of which each must be answered as its
// token deserves, or 503. It waits until they are answered 200.
func startLoad(t *testing.T, g *gateway) *load {
	t.Helper()
	l := &load{
		g: g, valid: tokenFor(t, alice), forged: tokenFor(t, alice, withKey("another")),
		client: &http.Client{
			Timeout:   40 * time.Second, // protection against a hang
			Transport: &http.Transport{MaxIdleConnsPerHost: loadClients},
		},
		stop: make(chan struct{}),
	}
	for i := range loadClients {
		l.clients.Go(func() { l.send(t, i) })
	}
	t.Cleanup(func() {
		close(l.stop)
		l.clients.Wait()
		l.client.CloseIdleConnections()
	})
	poll(t, "answers before the fault", func() bool { return l.ok.Load() > 5*loadClients })
	return l
}

func (l *load) send(t *testing.T, client int) {
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for i := client; ; i++ {
		select {
		case <-l.stop:
			return
		case <-pause.C:
		}
		token, mayBe := l.valid, http.StatusOK
		if i%2 == 0 {
			token, mayBe = l.forged, http.StatusUnauthorized
		}
		began := time.Now()
		status, body, err := l.get(token)
		took := int64(time.Since(began))
		for longest := l.longest.Load(); took > longest && !l.longest.CompareAndSwap(longest, took); longest = l.longest.Load() {
		}
		switch {
		case err != nil:
			t.Errorf("no answer after %s: %v", time.Duration(took), err)
		case status == http.StatusServiceUnavailable && mayBe == http.StatusOK:
			l.unavailable.Add(1)
		case status == http.StatusServiceUnavailable:
		case status != mayBe:
			t.Errorf("status %d, want %d or 503: %s", status, mayBe, body)
		case status == http.StatusOK && body != "user=1":
			t.Errorf("the upstream was told %q", body)
		case status == http.StatusOK:
			l.ok.Add(1)
		}
	}
}

func (l *load) get(token string) (status int, body string, err error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+l.g.addr+"/", nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := l.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// await waits until a number has grown by n.
func (l *load) await(t *testing.T, what string, number *atomic.Int64, n int64) {
	t.Helper()
	from := number.Load()
	deadline := time.Now().Add(60 * time.Second)
	for number.Load() < from+n {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		l.mostGoroutines = max(l.mostGoroutines, runtime.NumGoroutine())
		time.Sleep(2 * time.Millisecond)
	}
}

// fault is something that happens to MySQL, and its end.
type fault struct {
	name  string
	store string // options of userstore
	begin func(t *testing.T, at *faulty)
	end   func(t *testing.T, at *faulty)
	// isServed: requests are answered as if there were no fault.
	isServed bool
}

// faulty is the database that a fault happens to.
type faulty struct {
	db    *database
	proxy *faultproxy.Proxy
	undo  func()
}

// behindProxy is a database whose DSN leads through a proxy, as a user with no
// more privileges than applications have.
func behindProxy(t *testing.T, db *database) (*database, *faultproxy.Proxy) {
	t.Helper()
	proxy, err := faultproxy.Start(mariadb.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	db.mustExec(t, "CREATE USER IF NOT EXISTS 'app'@'%' IDENTIFIED BY 's3cret'")
	db.mustExec(t, "GRANT ALL ON django.* TO 'app'@'%'")
	cfg, err := mysql.ParseDSN(db.dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.User, cfg.Passwd, cfg.Addr = "app", "s3cret", proxy.Addr()
	return &database{name: db.name, dsn: cfg.FormatDSN(), DB: db.DB}, proxy
}

// TestFaultsOfMySQL has things happen to MySQL while requests come in. Each request
// gets its proper answer or 503, within its time; what the gateway holds is bounded;
// and it is back by itself when MySQL is. The time that takes is only logged, since
// a busy machine needs longer.
func TestFaultsOfMySQL(t *testing.T) {
	faults := []fault{
		{
			name:  "killed and restarted",
			begin: func(*testing.T, *faulty) { mariadb.Kill() },
			end:   func(t *testing.T, _ *faulty) { mustDo(t, mariadb.Restart()) },
		},
		{
			name:  "frozen",
			begin: func(t *testing.T, _ *faulty) { mustDo(t, mariadb.Freeze()) },
			end:   func(*testing.T, *faulty) { mariadb.Thaw() },
		},
		{
			name:  "nothing comes through",
			begin: func(_ *testing.T, at *faulty) { at.proxy.Freeze() },
			end:   func(_ *testing.T, at *faulty) { at.proxy.Pass() },
		},
		{
			name:  "connections reset",
			begin: func(_ *testing.T, at *faulty) { at.proxy.Reset() },
			end:   func(_ *testing.T, at *faulty) { at.proxy.Pass() },
		},
		{
			name:  "connections reset in the midst of an answer",
			begin: func(_ *testing.T, at *faulty) { at.proxy.ResetAfter(40) },
			end:   func(_ *testing.T, at *faulty) { at.proxy.Pass() },
		},
		{
			name:     "slow by 300 ms", // which is more than the breaker's interval
			store:    "query_timeout 15s",
			begin:    func(_ *testing.T, at *faulty) { at.proxy.Delay(300 * time.Millisecond) },
			end:      func(_ *testing.T, at *faulty) { at.proxy.Pass() },
			isServed: true,
		},
		{
			name:  "slow by 30 s",
			begin: func(_ *testing.T, at *faulty) { at.proxy.Delay(30 * time.Second) },
			end:   func(_ *testing.T, at *faulty) { at.proxy.Pass() },
		},
		{name: "max_connections reached", begin: fillConnections, end: func(_ *testing.T, at *faulty) { at.undo() }},
		{
			name:  "table locked",
			store: "query_timeout 500ms", // each request waits for it
			begin: func(t *testing.T, at *faulty) { at.undo = lockTable(t, at.db) },
			end:   func(_ *testing.T, at *faulty) { at.undo() },
		},
		{
			name: "column dropped",
			begin: func(t *testing.T, at *faulty) {
				at.db.mustExec(t, "ALTER TABLE auth_user RENAME COLUMN password TO secret")
			},
			end: func(t *testing.T, at *faulty) {
				at.db.mustExec(t, "ALTER TABLE auth_user RENAME COLUMN secret TO password")
			},
		},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		db.mustExec(t, "SET GLOBAL innodb_flush_log_at_trx_commit = 1") // the table outlives a crash
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				db.reset(t)
				behind, proxy := behindProxy(t, db)
				f.happen(t, &faulty{db: behind, proxy: proxy})
			})
		}
	})
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// happen has a fault happen under load.
func (f fault) happen(t *testing.T, at *faulty) {
	if f.store == "" {
		f.store = "query_timeout 1s"
	}
	g := startGateway(t, at.db, nil, site{
		store: f.store, logLevel: "INFO", after: `respond "user={http.auth.user.id}"`,
	})
	l := startLoad(t, g)
	before := runtime.NumGoroutine()

	f.begin(t, at)
	if f.isServed {
		l.await(t, "answers", &l.ok, 3*loadClients)
		if n := l.unavailable.Load(); n > 0 {
			t.Errorf("%d requests were answered 503", n)
		}
	} else {
		l.await(t, "503", &l.unavailable, 1)
		// Once the gateway knows that MySQL doesn't answer, no request waits for it.
		l.await(t, "many a 503", &l.unavailable, 3*loadClients)
	}
	f.end(t, at)
	ended := time.Now()
	l.await(t, "MySQL's return", &l.ok, 1)
	back := time.Since(ended)
	l.await(t, "answers afterwards", &l.ok, 10*loadClients)

	t.Logf("the longest request took %s; back %s after MySQL; %d goroutines at work, %d at most",
		time.Duration(l.longest.Load()).Round(time.Millisecond), back.Round(time.Millisecond), before, l.mostGoroutines)
	if most := before + 20*loadClients; l.mostGoroutines > most {
		t.Errorf("%d goroutines, from %d", l.mostGoroutines, before)
	}
	poll(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before+3*loadClients })
	g.wantNoToken(t, l.valid)
	g.wantNoPassword(t)
}

// wantNoPassword fails the test if the log has the DSN's password.
func (g *gateway) wantNoPassword(t *testing.T) {
	t.Helper()
	if strings.Contains(string(g.log(t)), "s3cret") {
		t.Error("the log has the password of the DSN")
	}
}

// fillConnections opens all connections that the server allows, and ends the
// gateway's own.
func fillConnections(t *testing.T, at *faulty) {
	ctx := context.Background()
	const others = 12
	for range others {
		conn, err := at.db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	conn, err := at.db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	run := func(query string) {
		t.Helper()
		if _, err := conn.ExecContext(ctx, query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	run(fmt.Sprintf("SET GLOBAL max_connections = %d", others))
	run("KILL USER app")
	at.undo = func() {
		run("SET GLOBAL max_connections = 500")
		_ = conn.Close()
	}
}

// TestReplicaFailsUnderLoad: no request notices that a replica doesn't answer,
// nor that the primary doesn't, unless it logs in.
func TestReplicaFailsUnderLoad(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		primary, toPrimary := behindProxy(t, db)
		replica, toReplica := behindProxy(t, db) // the same server, as if nothing were behind
		g := startGateway(t, primary, nil, site{
			store:   fmt.Sprintf("query_timeout 10s\nreplica %q", replica.dsn),
			options: "session", logLevel: "INFO", after: `respond "user={http.auth.user.id}"`,
		})
		l := startLoad(t, g)
		toReplica.Reset()
		l.await(t, "answers without the replica", &l.ok, 10*loadClients)
		poll(t, "a line that says that the replica doesn't answer", func() bool { // it is asked once more before
			return strings.Contains(string(g.log(t)), "MySQL doesn't answer")
		})
		toReplica.Pass()
		l.await(t, "answers with it", &l.ok, 10*loadClients)
		if n := l.unavailable.Load(); n > 0 {
			t.Errorf("%d requests were answered 503", n)
		}
		poll(t, "a line that says that the replica is back", func() bool {
			return strings.Contains(string(g.log(t)), "MySQL answers again")
		})

		toPrimary.Reset()
		l.await(t, "answers without the primary", &l.ok, 10*loadClients)
		g.get(t, "/?sesame="+l.valid).wantStatus(t, http.StatusServiceUnavailable) // a login
		toPrimary.Pass()
		poll(t, "logins", func() bool { return g.get(t, "/?sesame="+l.valid).status == http.StatusSeeOther })
		g.wantNoPassword(t)
	})
}
