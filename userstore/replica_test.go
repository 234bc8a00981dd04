package userstore_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// replicated is a primary server and a replica of it, with proxies in front.
type replicated struct {
	primary, replica *database
	waiter           *sql.DB // to the replica, in no database
	servers          [2]*testmariadb.Server
	proxies          [2]*faultproxy.Proxy
}

func newReplicated(t *testing.T, statements ...string) *replicated {
	t.Helper()
	r := new(replicated)
	for i, options := range [][]string{testmariadb.PrimaryOptions, testmariadb.ReplicaOptions} {
		server, err := testmariadb.Start(t.TempDir(), options...)
		if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Stop)
		r.servers[i] = server
		if r.proxies[i], err = faultproxy.Start(server.Addr()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.proxies[i].Close)
	}
	if err := r.servers[1].Replicate(r.servers[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.servers[0].CreateDatabase("django"); err != nil {
		t.Fatal(err)
	}
	for i, to := range []**database{&r.primary, &r.replica} {
		db, err := sql.Open("mysql", r.servers[i].DSN("django"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		*to = &database{t: t, name: "django", db: db}
	}
	var err error
	if r.waiter, err = sql.Open("mysql", r.servers[1].DSN("")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.waiter.Close() })
	r.primary.exec(statements...)
	r.await(t)
	return r
}

// await waits until the replica has all changes of the primary.
func (r *replicated) await(t *testing.T) {
	t.Helper()
	position := r.primary.text("SELECT @@gtid_binlog_pos")
	var reached string
	if err := r.waiter.QueryRow("SELECT MASTER_GTID_WAIT(?, 60)", position).Scan(&reached); err != nil || reached != "0" {
		t.Fatalf("the replica doesn't follow: %s, %v", reached, err)
	}
}

// stop has the replica fall behind.
func (r *replicated) stop() { r.replica.exec("STOP SLAVE SQL_THREAD") }

func (r *replicated) config() userstore.Config {
	return userstore.Config{
		DSN:          "root@tcp(" + r.proxies[0].Addr() + ")/django",
		Replicas:     []string{"root@tcp(" + r.proxies[1].Addr() + ")/django"},
		QueryTimeout: caddy.Duration(20 * time.Second),
	}
}

// wantAny looks a user up and compares the password.
func wantAny(t *testing.T, s *userstore.MySQL, id int64, password string, fresh bool) *userstore.User {
	t.Helper()
	u, isFresh, err := s.LookupAny(t.Context(), token.IntKey(id))
	if err != nil {
		t.Fatal(err)
	}
	if *u.Password != password || isFresh != fresh {
		t.Errorf("user %d has password %q, fresh: %t; want %q, %t", id, *u.Password, isFresh, password, fresh)
	}
	return u
}

// TestReplicaThatIsBehindIsNotTrusted has a replica be behind, or not answer.
func TestReplicaThatIsBehindIsNotTrusted(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, authUser)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *replicated)
	}{
		{"behind", testReplicaBehind},
		{"in a cache", testReplicaInACache},
		{"fails", testReplicaFails}, // ends the replication
	} {
		r.primary.exec("TRUNCATE auth_user", threeUsers)
		r.await(t)
		t.Run(test.name, func(t *testing.T) { test.run(t, r) })
	}
}

// testReplicaBehind: which rows a replica may answer with, and that they consume
// nothing.
func testReplicaBehind(t *testing.T, r *replicated) {
	const columns = "id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined"
	// A replica whose account may only read.
	if err := r.servers[1].Exec("", "CREATE USER reader@'%'", "GRANT SELECT ON django.* TO reader@'%'"); err != nil {
		t.Fatal(err)
	}
	cfg := r.config()
	cfg.Replicas = []string{"reader@tcp(" + r.proxies[1].Addr() + ")/django"}
	cfg.Columns.Extra = []string{"first_name"}
	s := openStore(t, cfg, userstore.Needs{LastLogin: true})
	const p1, p2 = "pbkdf2_sha256$1$a$b", "!unusable"

	before := r.primary.status("Com_stmt_execute")
	for range 10 {
		wantAny(t, s, 1, p1, false)
	}
	if n := r.primary.status("Com_stmt_execute"); n != before {
		t.Errorf("the primary was asked %d times", n-before)
	}

	r.stop()
	r.primary.exec("UPDATE auth_user SET password = 'new', first_name = 'New' WHERE id = 1")
	if u := wantAny(t, s, 1, p1, false); u.ID() != "1" {
		t.Errorf("the id is %s", u.ID())
	} else if name, ok := u.Column("first_name"); !ok || name != "Alice" {
		t.Errorf("first_name is %q", name)
	}
	if u, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil || *u.Password != "new" {
		t.Errorf("Lookup doesn't read the row as it is: %v", err)
	}
	r.primary.exec("INSERT INTO auth_user (" + columns + ") SELECT 7, password, NULL, 0, 'new', '', '', '', 0, 1, date_joined FROM auth_user WHERE id = 2")
	wantAny(t, s, 7, p2, true)
	if _, isFresh, err := s.LookupAny(t.Context(), token.IntKey(99)); !errors.Is(err, userstore.ErrNotFound) || !isFresh {
		t.Errorf("no user: %v, fresh: %t", err, isFresh)
	}

	// The token is used once, by the row that both servers have.
	first, second := wantAny(t, s, 2, p2, false), wantAny(t, s, 2, p2, false)
	if err := s.Consume(t.Context(), first, time.Now()); err != nil {
		t.Fatalf("by the replica's row: %v", err)
	}
	late := wantAny(t, s, 2, p2, false) // the replica doesn't know
	if late.LastLogin == nil || !late.LastLogin.Equal(*first.LastLogin) {
		t.Fatalf("the replica isn't behind: last_login is %v", late.LastLogin)
	}
	for _, u := range []*userstore.User{first, second, late} {
		if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
			t.Errorf("once more: %v, want ErrConsumed", err)
		}
	}
	changed := wantAny(t, s, 1, p1, false)
	if err := s.Consume(t.Context(), changed, time.Now()); !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("with a password that was changed: %v, want ErrConsumed", err)
	}

	r.replica.exec("START SLAVE SQL_THREAD")
	r.await(t)
	wantAny(t, s, 1, "new", false)
}

// testReplicaInACache: a replica's row doesn't count as the current row.
func testReplicaInACache(t *testing.T, r *replicated) {
	s := openStore(t, r.config(), userstore.Needs{})
	cache, err := userstore.NewCache(s, userstore.CacheConfig{For: caddy.Duration(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close() }()
	r.stop()
	r.primary.exec("UPDATE auth_user SET password = 'new' WHERE id = 1")
	for range 2 {
		if u, isFresh, err := cache.Lookup(t.Context(), token.IntKey(1)); err != nil || isFresh || *u.Password == "new" {
			t.Errorf("a replica's row: fresh %t, %v", isFresh, err)
		}
	}
	if u, err := cache.LookupFresh(t.Context(), token.IntKey(1)); err != nil || *u.Password != "new" {
		t.Errorf("the row as it is: %v", err)
	}
	if u, _, err := cache.Lookup(t.Context(), token.IntKey(1)); err != nil || *u.Password != "new" {
		t.Errorf("the row that was read last isn't kept: %v", err)
	}
	r.replica.exec("START SLAVE SQL_THREAD")
}

// testReplicaFails: lookups go from the replica to the primary, and the other way
// round.
func testReplicaFails(t *testing.T, r *replicated) {
	cfg := r.config()
	cfg.QueryTimeout = caddy.Duration(3 * time.Second)
	cfg.Replicas = append(cfg.Replicas, "root@tcp("+r.proxies[1].Addr()+")/django?loc=UTC") // a second one, there too
	s, _ := openLogged(t, cfg, userstore.Needs{LastLogin: true})
	const p1 = "pbkdf2_sha256$1$a$b"
	lookUp := func() { _, _, _ = s.LookupAny(t.Context(), token.IntKey(1)) }
	wantAny(t, s, 1, p1, false)
	for name, fault := range map[string]func(*faultproxy.Proxy){
		"frozen": (*faultproxy.Proxy).Freeze,
		"reset":  (*faultproxy.Proxy).Reset,
	} {
		fault(r.proxies[1])
		for range 20 {
			wantAny(t, s, 1, p1, true)
		}
		awaitSilent(t, s, 2, lookUp)
		r.proxies[1].Pass()
		awaitSilent(t, s, 0, lookUp)
		wantAny(t, s, 1, p1, false)

		fault(r.proxies[0])
		u := wantAny(t, s, 1, p1, false)
		if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("%s: a fresh row without the primary: %v", name, err)
		}
		if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
			t.Errorf("%s: a token is used without the primary: %v", name, err)
		}
		r.proxies[0].Pass()
		eventually(t, func() error { _, err := s.Lookup(t.Context(), token.IntKey(1)); return err })
	}

	// The replica's answers are errors, and can't be used either.
	r.replica.exec("RENAME TABLE auth_user TO gone")
	wantAny(t, s, 1, p1, true)
}

func TestOpenWithReplicas(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	empty := newDatabase(t)
	proxy, away := newProxy(t, d)
	cfg := userstore.Config{DSN: d.dsn(), Replicas: []string{empty.dsn()}}
	_, err := userstore.Open(context.Background(), patient(cfg), userstore.Needs{}, zap.NewNop())
	wantError(t, err, "replica 1", "the table doesn't exist")
	if n := userstore.PoolReferences(cfg); n != 0 {
		t.Errorf("the pool has %d references after the failure", n)
	}

	proxy.Reset()
	s, logs := openLogged(t, userstore.Config{DSN: d.dsn(), Replicas: []string{away}}, userstore.Needs{})
	if logs.FilterMessageSnippet("a replica can't be used").Len() != 1 {
		t.Errorf("the log is %v", logs.All())
	}
	wantAny(t, s, 1, "pbkdf2_sha256$1$a$b", true)
	proxy.Pass()
	eventually(t, func() error {
		_, isFresh, err := s.LookupAny(t.Context(), token.IntKey(1))
		if err == nil && isFresh {
			err = errors.New("the replica isn't asked")
		}
		return err
	})
}

// TestGatewayStaysWithOneReplica sends all lookups to one replica, and all to the other
// once that fails, also after the first is back.
func TestGatewayStaysWithOneReplica(t *testing.T) {
	t.Parallel()
	servers := make(map[string]*testmariadb.Server)
	proxies := make(map[string]*faultproxy.Proxy)
	var cfg userstore.Config
	for _, name := range []string{"primary", "one", "other"} {
		servers[name] = newServer(t)
		makeUsers(t, servers[name])
		if err := servers[name].Exec("django", "UPDATE auth_user SET username = '"+name+"' WHERE id = 1"); err != nil {
			t.Fatal(err)
		}
		proxy, err := faultproxy.Start(servers[name].Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		proxies[name] = proxy
		dsn := "gateway@tcp(" + proxy.Addr() + ")/django"
		if name == "primary" {
			cfg.DSN = dsn
		} else {
			cfg.Replicas = append(cfg.Replicas, dsn)
		}
	}
	s := openStore(t, cfg, userstore.Needs{})
	server := func() string {
		u, _, err := s.LookupAny(t.Context(), token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		return u.Username
	}
	stays := func(with string) {
		t.Helper()
		for range 20 {
			if got := server(); got != with {
				t.Fatalf("a lookup goes to %s, want %s", got, with)
			}
		}
	}
	first, second := server(), "one"
	if first == "one" {
		second = "other"
	}
	stays(first)
	proxies[first].Reset()
	eventually(t, func() error {
		if got := server(); got != second {
			return errors.New("a lookup goes to " + got)
		}
		return nil
	})
	stays(second)
	proxies[first].Pass()
	eventually(t, func() error {
		for _, of := range s.Servers() {
			if !of.Silent.IsZero() {
				return errors.New(of.Address + " isn't back")
			}
		}
		return nil
	})
	stays(second)
}
