package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// missing are tables that lack something, and the error's text.
var missing = []struct {
	name   string
	create string
	cfg    userstore.Config
	needs  userstore.Needs
	want   []string
}{
	{
		"table", "CREATE TABLE other (id int)",
		userstore.Config{},
		userstore.Needs{},
		[]string{"the table doesn't exist", "table option", "auth_user"},
	},
	{
		"last_login", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{},
		userstore.Needs{LastLogin: true},
		[]string{
			`table "auth_user" in database`, `has no column "last_login"; name it with the last_login option`,
			"one-time", "needs last_login -, update_last_login off in session", "Its columns are: id, password",
		},
	},
	{
		"last_login, though needed, is -", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{Columns: userstore.Columns{LastLogin: "-"}},
		userstore.Needs{LastLogin: true},
		[]string{"last_login is -", "one-time", "needs last_login -, update_last_login off in session"},
	},
	{
		"last_login of a type", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, last_login date)",
		userstore.Config{},
		userstore.Needs{LastLogin: true},
		[]string{`"last_login"`, "is of type date", "DATETIME"},
	},
	{
		"last_login too short", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, last_login varchar(18))",
		userstore.Config{},
		userstore.Needs{LastLogin: true},
		[]string{"varchar(18)"},
	},
	{
		"email", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{},
		userstore.Needs{Email: true},
		[]string{`has no column "email"`, "email option", "tokens depend on"},
	},
	{
		"named columns", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{Columns: userstore.Columns{IsActive: "enabled"}},
		userstore.Needs{},
		[]string{`no column "enabled"`, "is_active option"},
	},
	{
		"named last_login", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{Columns: userstore.Columns{LastLogin: "seen"}},
		userstore.Needs{},
		[]string{`no column "seen"`},
	},
	{
		"password", "CREATE TABLE auth_user (id int PRIMARY KEY)",
		userstore.Config{},
		userstore.Needs{},
		[]string{`no column "password"`, "say so with -"},
	},
	{
		"extra", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{Columns: userstore.Columns{Extra: []string{"phone"}}},
		userstore.Needs{},
		[]string{`no column "phone"`, "extra column"},
	},
	{
		"primary key field", "CREATE TABLE auth_user (id int PRIMARY KEY, password text)",
		userstore.Config{PrimaryKeyField: "uuid"},
		userstore.Needs{},
		[]string{`no column "uuid"`, "primary_key option"},
	},
	{
		"unique", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, email varchar(50), KEY (email))",
		userstore.Config{PrimaryKeyField: "email"},
		userstore.Needs{},
		[]string{`column "email"`, "isn't unique"},
	},
	{
		"unique alone", "CREATE TABLE auth_user (id int, realm int, password text, PRIMARY KEY (id, realm))",
		userstore.Config{},
		userstore.Needs{},
		[]string{`column "id"`, "isn't unique"},
	},
	{
		"type of key", "CREATE TABLE auth_user (id double PRIMARY KEY, password text)",
		userstore.Config{},
		userstore.Needs{},
		[]string{"is of type double", "no packer"},
	},
	{
		"type of is_active", "CREATE TABLE auth_user (id int PRIMARY KEY, password text, is_active enum('N','Y'))",
		userstore.Config{},
		userstore.Needs{},
		[]string{"enum('n','y')", "must be a number"},
	},
	{
		"view that can't be written", "CREATE VIEW auth_user AS SELECT DISTINCT 1 AS id, 'x' AS password, NOW(6) AS last_login",
		userstore.Config{},
		userstore.Needs{LastLogin: true},
		[]string{"can't be written", "updatable"},
	},
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, test := range missing {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, test.create)
			cfg := test.cfg
			cfg.DSN = d.dsn()
			// start_without doesn't excuse mistakes that are visible without MySQL.
			cfg.StartWithout = true
			_, err := userstore.Open(context.Background(), patient(cfg), test.needs, zap.NewNop())
			wantError(t, err, test.want...)
			if n := userstore.PoolReferences(cfg); n != 0 {
				t.Errorf("the pool has %d references after the failure", n)
			}
		})
	}
}

func TestOpenFindsThePrimaryKey(t *testing.T) {
	t.Parallel()
	const rest = "password text)"
	tests := []struct {
		name, create string
		cfg          userstore.Config
		want         string
	}{
		{"not called id", "CREATE TABLE auth_user (uid int PRIMARY KEY, id int, " + rest, userstore.Config{}, "uid"},
		{
			"named", "CREATE TABLE auth_user (id int PRIMARY KEY, legacy int UNIQUE, " + rest,
			userstore.Config{Columns: userstore.Columns{PrimaryKey: "LEGACY"}},
			"legacy",
		},
		{"field", "CREATE TABLE auth_user (id int PRIMARY KEY, legacy int UNIQUE, " + rest, userstore.Config{PrimaryKeyField: "legacy"}, "legacy"},
		{
			"field and column", "CREATE TABLE auth_user (id int PRIMARY KEY, legacy int UNIQUE, " + rest,
			userstore.Config{PrimaryKeyField: "uuid", Columns: userstore.Columns{PrimaryKey: "legacy"}},
			"legacy",
		},
		{
			"unique beside a longer key", "CREATE TABLE auth_user (id int, realm int, UNIQUE (id), PRIMARY KEY (realm, id), " + rest,
			userstore.Config{},
			"id",
		},
		{"view", "CREATE VIEW auth_user AS SELECT 5 AS id, 'x' AS password", userstore.Config{}, "id"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, test.create)
			cfg := test.cfg
			cfg.DSN = d.dsn()
			schema, err := openStore(t, cfg, userstore.Needs{}).Schema(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if schema.PrimaryKey != test.want {
				t.Errorf("the key is %s, want %s", schema.PrimaryKey, test.want)
			}
		})
	}
}

func TestOpenWithoutOptionalColumns(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, last_login blob)",
		"INSERT INTO auth_user VALUES (1, 'x', '')")
	core, logs := observer.New(zap.WarnLevel)
	for name, warnings := range map[string]int{"": 1, "-": 0} {
		logs.TakeAll()
		s, err := userstore.Open(t.Context(), patient(userstore.Config{
			DSN: d.dsn(), Columns: userstore.Columns{IsActive: name, Email: name, Username: name, LastLogin: name, Password: name},
		}), userstore.Needs{}, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.Lookup(t.Context(), token.IntKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if !u.IsActive || u.Email != nil || u.Username != "" || u.LastLogin != nil || (u.Password == nil) != (name == "-") {
			t.Errorf("columns %q: read %+v", name, u)
		}
		for _, column := range []string{"email", "username"} {
			if _, ok := u.Column(column); ok {
				t.Errorf("there is no %s, but a value", column)
			}
		}
		if n := logs.FilterMessageSnippet("every user counts as active").Len(); n != warnings {
			t.Errorf("columns %q: %d warnings, want %d", name, n, warnings)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenWithoutPrivileges(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	user := func(n int) string { return fmt.Sprintf("u%d_%s", n, d.name[len(d.name)-8:]) }
	tests := []struct {
		name     string
		grant    string
		database string
		password string
		needs    userstore.Needs
		want     []string
	}{
		{"wrong password", "SELECT ON " + d.name + ".*", d.name, "s3cret-but-wrong", userstore.Needs{}, []string{"MySQL refuses the dsn's user"}},
		{"unknown database", "SELECT ON *.*", "no_such_database", "s3cret", userstore.Needs{}, []string{"the database doesn't exist", "no_such_database"}},
		{"forbidden database", "SELECT ON elsewhere.*", d.name, "s3cret", userstore.Needs{}, []string{"may not use the database"}},
		{"forbidden table", "SELECT ON " + d.name + ".other", d.name, "s3cret", userstore.Needs{}, []string{"lacks a privilege on the table"}},
		{
			"read only", "SELECT ON " + d.name + ".auth_user", d.name, "s3cret",
			userstore.Needs{LastLogin: true},
			[]string{"lacks a privilege", "UPDATE (`last_login`) ON ", "update_last_login off"},
		},
		{"some columns", "SELECT (id, last_login) ON " + d.name + ".auth_user", d.name, "s3cret", userstore.Needs{}, []string{`no column "password"`}},
		{"enough", "SELECT, UPDATE (last_login) ON " + d.name + ".auth_user", d.name, "s3cret", userstore.Needs{LastLogin: true}, nil},
	}
	d.exec("CREATE TABLE other (id int)")
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d.exec("CREATE USER "+user(i)+"@'%' IDENTIFIED BY 's3cret'", "GRANT "+test.grant+" TO "+user(i)+"@'%'")
			t.Cleanup(func() { d.exec("DROP USER " + user(i) + "@'%'") })
			cfg := userstore.Config{StartWithout: true, DSN: serverConfig(t, func(cfg *mysql.Config) {
				cfg.User, cfg.Passwd, cfg.DBName = user(i), test.password, test.database
			})}
			s, err := userstore.Open(t.Context(), patient(cfg), test.needs, zap.NewNop())
			if test.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				u, err := s.Lookup(t.Context(), token.IntKey(1))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Consume(t.Context(), u, time.Now()); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, test.want...)
		})
	}
}

func TestOpenWhileMySQLIsAway(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	gate := newGate(t)
	cfg := userstore.Config{QueryTimeout: caddy.Duration(time.Second), DSN: serverConfig(t, func(cfg *mysql.Config) {
		cfg.DBName, cfg.Net, cfg.Addr = d.name, "tcp", gate.addr
	})}

	_, err := userstore.Open(t.Context(), cfg, userstore.Needs{}, zap.NewNop())
	if !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("without start_without: %v", err)
	}
	wantError(t, err, "check that MySQL runs")

	cfg.StartWithout = true
	core, logs := observer.New(zap.InfoLevel)
	s, err := userstore.Open(t.Context(), cfg, userstore.Needs{}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if logs.FilterMessageSnippet("starting without MySQL").Len() != 1 {
		t.Errorf("the log is %v", logs.All())
	}
	for range 100 {
		if _, err := s.Schema(t.Context()); !errors.Is(err, userstore.ErrUnavailable) {
			t.Fatalf("while MySQL is away: %v", err)
		}
	}
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("while MySQL is away: %v", err)
	}

	gate.open(t, serverAddr(t))
	eventually(t, func() error {
		u, err := s.Lookup(t.Context(), token.IntKey(1))
		if err == nil && u.Username != "alice" {
			t.Errorf("read %+v", u)
		}
		return err
	})
	if schema, err := s.Schema(t.Context()); err != nil || schema.Packer != "LongPacker" {
		t.Errorf("schema is %+v, %v", schema, err)
	}
	if again := logs.FilterMessageSnippet("still can't be used"); again.Len() > 0 {
		t.Errorf("the same error was logged again: %v", again.All())
	}

	gate.close()
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Errorf("when MySQL went away again: %v", err)
	}
	gate.open(t, serverAddr(t))
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		return err
	})
}

func TestLateCheckFindsAMisfit(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	gate := newGate(t)
	cfg := userstore.Config{StartWithout: true, DSN: serverConfig(t, func(cfg *mysql.Config) {
		cfg.DBName, cfg.Net, cfg.Addr = d.name, "tcp", gate.addr
	})}
	core, logs := observer.New(zap.ErrorLevel)
	s, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	gate.open(t, serverAddr(t))
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		if !errors.Is(err, userstore.ErrUnavailable) {
			t.Fatalf("without a table: %v", err)
		}
		if strings.Contains(err.Error(), "the table doesn't exist") {
			return nil
		}
		return err
	})
	eventually(t, func() error {
		if logs.FilterMessageSnippet("still can't be used").Len() == 0 {
			return errors.New("nothing is logged")
		}
		return nil
	})
	d.exec(authUser, threeUsers)
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		return err
	})
}

// TestOpenOfAHungServer: the server accepts connections and sends nothing.
func TestOpenOfAHungServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg := userstore.Config{
		DSN:          "u:s3cret@tcp(" + listener.Addr().String() + ")/app",
		QueryTimeout: caddy.Duration(200 * time.Millisecond),
	}
	_, err = userstore.Open(t.Context(), cfg, userstore.Needs{}, nil)
	wantError(t, err, "within 200ms")
	cfg.StartWithout = true
	s, err := userstore.Open(t.Context(), cfg, userstore.Needs{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); !errors.Is(err, userstore.ErrUnavailable) {
		t.Error(err)
	}
	// Close ends lookups that still wait.
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenGivesUpOnAFrozenServerInTime(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	if err := server.CreateDatabase("app"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("app", authUser, threeUsers); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, userstore.Config{DSN: server.DSN("app"), QueryTimeout: caddy.Duration(briefly)}, userstore.Needs{})
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	// The last of the server's threads stops a moment after the signal.
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		if !errors.Is(err, userstore.ErrUnavailable) {
			return fmt.Errorf("a frozen server gave an answer: %w", err)
		}
		return nil
	})
	server.Thaw()
	eventually(t, func() error {
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		return err
	})
}
