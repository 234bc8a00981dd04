package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testdevmysql"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// engine is a kind of server, or of cluster, with a database for the test.
type engine struct {
	dsns []string // of its nodes

	lacksLocks bool // it has no locks on rows
	lacksKeys  bool // it takes no foreign keys
}

// TestEngine does all that the store does on a kind of server: on that in ENGINE_DSN,
// with spaces between the DSNs of several nodes, or on those that tests start. The
// account needs all privileges. If the DSN names a database, its tables are dropped.
func TestEngine(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("ENGINE_DSN"); text != "" {
		testEngine(t, engine{dsns: strings.Fields(text), lacksKeys: os.Getenv("ENGINE_FOREIGN_KEYS") == "off"})
		return
	}
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		testEngine(t, engine{dsns: []string{dsnOf(t, "")}})
	})
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		testEngine(t, engine{dsns: []string{newMySQL(t).DSN("")}})
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		dsn, stop, err := testdevmysql.Start("../internal/devmysql", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		testEngine(t, engine{dsns: []string{dsn}, lacksLocks: true})
	})
	t.Run("Galera", func(t *testing.T) {
		t.Parallel()
		var of engine
		for _, n := range newGalera(t, 3).Nodes {
			of.dsns = append(of.dsns, n.DSN(""))
		}
		testEngine(t, of)
	})
}

// TestEngineAnswers fails until the server in ENGINE_DSN answers, for scripts that have
// just started it.
func TestEngineAnswers(t *testing.T) {
	t.Parallel()
	dsns := strings.Fields(os.Getenv("ENGINE_DSN"))
	if len(dsns) == 0 {
		t.Skip("ENGINE_DSN names no server")
	}
	for _, dsn := range dsns {
		if err := openDSN(t, dsn).PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// foreignKey matches a foreign key in the statement for a table.
var foreignKey = regexp.MustCompile(`, FOREIGN KEY \([a-z_]+\) REFERENCES [a-z_]+ \([a-z_]+\)`)

// engineTables are the tables of the test, each after those that refer to it.
var engineTables = []string{
	"revoked", "django_session", "auth_user_user_permissions", "auth_user_groups", "auth_group_permissions", "auth_permission",
	"django_content_type", "auth_group", "auth_user",
}

// makeDatabase makes the tables, and returns the configurations of a gateway at each
// node.
func (e engine) makeDatabase(t *testing.T) (d *database, gateways []userstore.Config) {
	t.Helper()
	dsns := slices.Clone(e.dsns)
	name, isMade := fmt.Sprintf("engine_%d_%d", os.Getpid(), databases.Add(1)), false
	for i, dsn := range dsns {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.DBName == "" {
			cfg.DBName, isMade = name, true
		}
		dsns[i] = cfg.FormatDSN()
	}
	if isMade {
		admin := openDSN(t, e.dsns[0])
		if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = admin.Exec("DROP DATABASE " + name) })
	}
	d = &database{t: t, name: name, db: openDSN(t, dsns[0])}
	for _, table := range engineTables {
		d.exec("DROP TABLE IF EXISTS " + table)
	}
	revoked, err := userstore.RevocationsTable("revoked")
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append([]string{authUser, threeUsers, djangoSession, revoked}, djangoRights...) {
		statement = strings.Replace(statement, " ENGINE=InnoDB", "", 1)
		if e.lacksKeys {
			statement = foreignKey.ReplaceAllString(statement, "")
		}
		d.exec(statement)
	}
	for i := range dsns {
		eventually(t, openDSN(t, dsns[i]).Ping) // another node may have the database later
		// The node itself, and others if it fails.
		of := append(slices.Clone(dsns[i:]), dsns[:i]...)
		gateways = append(gateways, userstore.Config{
			DSN: of[0], MoreDSNs: of[1:], Revocations: "revoked", Groups: new(userstore.GroupsConfig), Permissions: new(userstore.PermissionsConfig),
			ReadAfterWrite: len(dsns) > 1,
		})
	}
	return d, gateways
}

var engineNeeds = userstore.Needs{LastLogin: true, SessionTable: userstore.DefaultSessionTable, UpgradePassword: true, Staff: true, Superuser: true}

func testEngine(t *testing.T, of engine) {
	t.Helper()
	d, gateways := of.makeDatabase(t)
	s := openStore(t, gateways[0], engineNeeds)
	var version string
	if err := d.db.QueryRow("SELECT VERSION()").Scan(&version); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %d nodes", version, len(of.dsns))
	for _, step := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"check", func(t *testing.T) { testEngineCheck(t, gateways[0]) }},
		{"lookups", func(t *testing.T) { testEngineLookups(t, s) }},
		{"rights", func(t *testing.T) { testEngineRights(t, s) }},
		{"revocations", func(t *testing.T) { testEngineRevocations(t, s) }},
		{"one-time races", func(t *testing.T) { testEngineRaces(t, d, gateways) }},
		{"sessions", func(t *testing.T) { testEngineSessions(t, s) }},
		{"a locked row", func(t *testing.T) {
			if of.lacksLocks {
				t.Skip("the server has no locks on rows")
			}
			testEngineLock(t, d, gateways[0])
		}},
		{"a lost connection", func(t *testing.T) { testEngineLoss(t, gateways[0]) }},
	} {
		t.Run(step.name, step.do)
	}
}

// testEngineCheck does what caddy sesame check does.
func testEngineCheck(t *testing.T, cfg userstore.Config) {
	i, err := userstore.NewInspector(cfg, engineNeeds)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, err := i.Server(t.Context()); err != nil {
		t.Error(err)
	}
	for _, n := range i.Nodes(t.Context()) {
		if n.Err != nil {
			t.Errorf("%s: %v", n.Address, n.Err)
		}
	}
	found, err := i.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !found.HasLastLogin || !found.HasIsActive || found.LastLoginPrecision != 6 || found.PrimaryKey != "id" || found.View {
		t.Errorf("the table is %+v", found)
	}
	if err := i.Needed(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := i.ClockDifference(t.Context()); err != nil {
		t.Error(err)
	}
}

// testEngineLookups looks users up one by one, at once, and many together.
func testEngineLookups(t *testing.T, s *userstore.MySQL) {
	want := map[int64]string{1: "alice", 2: "bob", 3: "Zoë"}
	for id, name := range want {
		if u := lookup(t, s, token.IntKey(id)); u.Username != name || u.IsActive != (id != 3) {
			t.Errorf("user %d is %s, active: %v", id, u.Username, u.IsActive)
		}
	}
	if _, err := s.Lookup(t.Context(), token.IntKey(4)); !errors.Is(err, userstore.ErrNotFound) {
		t.Errorf("a user who isn't there: %v", err)
	}
	var all sync.WaitGroup
	for i := range 200 {
		id := int64(i%4 + 1)
		all.Go(func() {
			u, err := s.Lookup(t.Context(), token.IntKey(id))
			if id == 4 && errors.Is(err, userstore.ErrNotFound) {
				return
			}
			if err != nil || u.Username != want[id] {
				t.Errorf("user %d is %v, %v", id, u, err)
			}
		})
	}
	all.Wait()
	many, err := s.LookupMany(t.Context(), []token.PrimaryKey{token.IntKey(1), token.IntKey(3), token.IntKey(4)})
	if err != nil || len(many) != 2 || many[token.IntKey(3)].Username != "Zoë" {
		t.Errorf("many are %v, %v", many, err)
	}
	named, err := s.FindMany(t.Context(), userstore.Username, []string{"bob", "nobody"})
	if err != nil || len(named["bob"]) != 1 || len(named) != 1 {
		t.Errorf("by name, they are %v, %v", named, err)
	}
}

// testEngineRights reads groups and permissions, alone and in a batch.
func testEngineRights(t *testing.T, s *userstore.MySQL) {
	many, err := s.LookupMany(t.Context(), []token.PrimaryKey{token.IntKey(1), token.IntKey(2), token.IntKey(3)})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int64][2][]string{
		1: {{"admins", "editors"}, {"blog.add_post", "blog.change_post"}},
		2: {{"editors"}, {"auth.view_user", "blog.add_post", "blog.change_post"}},
		3: {},
	} {
		for _, u := range []*userstore.User{lookup(t, s, token.IntKey(id)), many[token.IntKey(id)]} {
			wantNames(t, fmt.Sprint("the groups of user ", id), u.Groups(), want[0]...)
			wantNames(t, fmt.Sprint("the permissions of user ", id), u.Permissions(), want[1]...)
		}
	}
}

// testEngineRevocations revokes a token, and then all of a user.
func testEngineRevocations(t *testing.T, s *userstore.MySQL) {
	const fingerprint = "00112233445566778899"
	u := lookup(t, s, token.IntKey(1))
	before := time.Now()
	if err := s.Revoke(t.Context(), u, fingerprint, before.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if u = lookup(t, s, token.IntKey(1)); !u.IsRevoked(fingerprint, time.Time{}) || u.IsRevoked("00", before) {
		t.Error("another token is revoked than the one that was to be")
	}
	if _, err := s.RevokeAll(t.Context(), u, before.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if u = lookup(t, s, token.IntKey(1)); !u.IsRevoked("00", before) {
		t.Error("a token from before isn't revoked")
	}
	if lookup(t, s, token.IntKey(2)).HasRevocations() {
		t.Error("another user's tokens are revoked")
	}
}

// testEngineRaces uses each of some tokens ten times at once, over two pools for each
// node.
func testEngineRaces(t *testing.T, d *database, gateways []userstore.Config) {
	const tokens, uses = 30, 10
	var stores []*userstore.MySQL
	for _, cfg := range gateways {
		for _, conns := range []int{4, 5} { // pools are shared by equal settings
			cfg.MaxOpenConns = conns
			cfg.QueryTimeout = caddy.Duration(10 * time.Second)
			stores = append(stores, openStore(t, cfg, engineNeeds))
		}
	}
	for i := range tokens {
		d.exec("UPDATE auth_user SET last_login = NULL WHERE id = 2")
		u := lookup(t, stores[0], token.IntKey(2))
		var wins atomic.Int64
		var all sync.WaitGroup
		for use := range uses {
			all.Go(func() {
				switch err := stores[use%len(stores)].Consume(t.Context(), u, time.Now()); {
				case err == nil:
					wins.Add(1)
				case !errors.Is(err, userstore.ErrConsumed):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if wins.Load() != 1 {
			t.Errorf("token %d was accepted %d times", i, wins.Load())
		}
	}
}

// testEngineSessions writes Django's sessions, and a password.
func testEngineSessions(t *testing.T, s *userstore.MySQL) {
	ctx, now := t.Context(), time.Now()
	row := func(key, data string) userstore.SessionRow {
		return userstore.SessionRow{Key: key, Data: data, Age: time.Hour}
	}
	for _, step := range []struct {
		name string
		do   func() error
		want error
	}{
		{"create", func() error { return s.CreateSession(ctx, row(sessionKey, "a"), now) }, nil},
		{"create again", func() error { return s.CreateSession(ctx, row(sessionKey, "b"), now) }, userstore.ErrExists},
		{"save", func() error { return s.SaveSession(ctx, row(sessionKey, "c"), now) }, nil},
		{"save another", func() error { return s.SaveSession(ctx, row(otherKey, "c"), now) }, userstore.ErrGone},
		{"replace", func() error { return s.ReplaceSession(ctx, sessionKey, row(otherKey, "d"), now) }, nil},
		{"save what was replaced", func() error { return s.SaveSession(ctx, row(sessionKey, "e"), now) }, userstore.ErrGone},
		{"delete", func() error { return s.DeleteSession(ctx, otherKey) }, nil},
		{"save what was deleted", func() error { return s.SaveSession(ctx, row(otherKey, "f"), now) }, userstore.ErrGone},
		{"upgrade a password", func() error { return s.UpgradePassword(ctx, lookup(t, s, token.IntKey(3)), "new") }, nil},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	if got := *lookup(t, s, token.IntKey(3)).Password; got != "new" {
		t.Errorf("the password is %s", got)
	}
}

// testEngineLock locks a user's row: it can be read, and a use waits no longer than
// query_timeout.
func testEngineLock(t *testing.T, d *database, cfg userstore.Config) {
	cfg.QueryTimeout = caddy.Duration(2 * time.Second)
	cfg.ReadAfterWrite = false // a transaction that isn't committed is nothing to wait for
	s := openStore(t, cfg, engineNeeds)
	d.exec("UPDATE auth_user SET last_login = NULL WHERE id = 2")
	u := lookup(t, s, token.IntKey(2))
	tx, err := d.db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it has ended, or the connection has
	if _, err := tx.Exec("UPDATE auth_user SET first_name = 'locked' WHERE id = 2"); err != nil {
		t.Fatal(err)
	}
	lookup(t, s, token.IntKey(2))
	if err := s.Consume(t.Context(), u, time.Now()); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("a use of a locked row: %v, want ErrUnavailable", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Consume(t.Context(), u, time.Now()); err != nil && !errors.Is(err, userstore.ErrConsumed) {
		t.Errorf("a use after the lock: %v", err)
	}
}

// testEngineLoss resets all connections between two lookups.
func testEngineLoss(t *testing.T, gateway userstore.Config) {
	cfg, err := mysql.ParseDSN(gateway.DSN)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.Start(cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	cfg.Addr = proxy.Addr()
	gateway.DSN, gateway.MoreDSNs = cfg.FormatDSN(), nil
	s := openStore(t, gateway, engineNeeds)
	lookup(t, s, token.IntKey(1))
	proxy.ResetOnce()
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		return err
	})
	eventually(t, func() error { return s.Consume(t.Context(), lookup(t, s, token.IntKey(1)), time.Now()) })
}
