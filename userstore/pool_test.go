package userstore_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestPoolIsSharedAndReleased(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	cfg := userstore.Config{DSN: d.dsn()}
	first := openStore(t, cfg, userstore.Needs{})
	withDefaults := cfg
	withDefaults.MaxOpenConns = userstore.DefaultMaxOpenConns
	second := openStore(t, withDefaults, userstore.Needs{LastLogin: true})
	if n := userstore.PoolReferences(cfg); n != 2 {
		t.Errorf("two stores of one DSN: %d references", n)
	}
	for _, other := range []userstore.Config{
		{DSN: cfg.DSN, MaxOpenConns: 3},
		{DSN: cfg.DSN, MaxIdleConns: 3},
		{DSN: cfg.DSN, ConnMaxLifetime: caddy.Duration(time.Hour)},
		{DSN: cfg.DSN, ConnMaxIdleTime: caddy.Duration(time.Hour)},
		{DSN: cfg.DSN, QueryTimeout: caddy.Duration(time.Hour)},
		{DSN: cfg.DSN + "?charset=utf8mb4"},
	} {
		if n := userstore.PoolReferences(other); n != 0 {
			t.Errorf("another configuration shares the pool: %+v", other)
		}
	}

	// A reload that fails takes nothing from the configuration that goes on.
	wrong := cfg
	wrong.Table = "nowhere"
	if _, err := userstore.Open(context.Background(), wrong, userstore.Needs{}, zap.NewNop()); err == nil {
		t.Error("a store was opened without a table")
	}
	if n := userstore.PoolReferences(cfg); n != 2 {
		t.Errorf("after a failure: %d references", n)
	}

	for range 2 {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := userstore.PoolReferences(cfg); n != 1 {
		t.Errorf("after one of two stores was closed: %d references", n)
	}
	if _, err := second.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Errorf("the other store: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if n := userstore.PoolReferences(cfg); n != 0 {
		t.Errorf("after all were closed: %d references", n)
	}
	eventually(t, func() error { return connectionsTo(d) })
}

// connectionsTo fails while anybody but d is connected to d's database.
func connectionsTo(d *database) error {
	d.t.Helper()
	n := d.text("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> CONNECTION_ID()", d.name)
	if n != "0" {
		return errConnected
	}
	return nil
}

type testError string

func (e testError) Error() string { return string(e) }

const errConnected = testError("connections are left")

// TestNoGoroutineIsLeft isn't parallel, so that all goroutines are its own.
func TestNoGoroutineIsLeft(t *testing.T) { //nolint:paralleltest // counts goroutines
	d := newDatabase(t, authUser, threeUsers)
	// The test's own connection belongs to the count.
	d.exec("SELECT 1")
	before := runtime.NumGoroutine()
	for range 3 {
		s, err := userstore.Open(context.Background(), userstore.Config{DSN: d.dsn()}, userstore.Needs{LastLogin: true}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	away, err := userstore.Open(context.Background(), userstore.Config{DSN: "u@tcp(127.0.0.1:1)/app", StartWithout: true},
		userstore.Needs{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.Schema(t.Context()); err == nil {
		t.Error("a server at port 1 answered")
	}
	if err := away.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		if n := runtime.NumGoroutine(); n > before {
			stacks := make([]byte, 1<<16)
			return testError(stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	const dsn = "u:s3cret@tcp(localhost)/app"
	no := false
	tests := []struct {
		name string
		cfg  userstore.Config
		want string // "" is valid
	}{
		{"minimal", userstore.Config{DSN: dsn}, ""},
		{"socket", userstore.Config{DSN: "u:s3cret@unix(/run/mysqld/mysqld.sock)/app"}, ""},
		{"no DSN", userstore.Config{}, "dsn is missing"},
		{"DSN without slash", userstore.Config{DSN: "u:s3cret@tcp(localhost)"}, "missing the slash"},
		{"DSN as a URL", userstore.Config{DSN: "mysql://u:s3cret@localhost/app"}, "user:password@tcp(host:3306)"},
		{"DSN without parentheses", userstore.Config{DSN: "u:s3cret@localhost/app"}, "user:password@tcp(host:3306)"},
		{"DSN without at sign", userstore.Config{DSN: "u:s3cret/app"}, "user:password@tcp(host:3306)"},
		{"DSN without at sign but an address", userstore.Config{DSN: "u:s3cret(localhost)/app"}, "network must be tcp or unix"},
		{"DSN with a bad parameter", userstore.Config{DSN: dsn + "?tls=s3cret"}, "tls parameter"},
		{"DSN with a bad escape", userstore.Config{DSN: "u@tcp(localhost)/s3cret%zz"}, "user:password@tcp"},
		{"no database", userstore.Config{DSN: "u:s3cret@tcp(localhost)/"}, "no database"},
		{"database in table", userstore.Config{DSN: "u:s3cret@tcp(localhost)/", Table: "app.people"}, ""},
		{"three parts", userstore.Config{DSN: dsn, Table: "a.b.c"}, "more parts"},
		{"empty part", userstore.Config{DSN: dsn, Table: "a."}, "a name is missing"},
		{"open backtick", userstore.Config{DSN: dsn, Table: "`a"}, "closing backtick"},
		{"after the backtick", userstore.Config{DSN: dsn, Table: "`a`b"}, "a dot or nothing"},
		{"long name", userstore.Config{DSN: dsn, Table: strings.Repeat("é", 65)}, "at most 64"},
		{"longest name", userstore.Config{DSN: dsn, Table: strings.Repeat("é", 64)}, ""},
		{"zero byte", userstore.Config{DSN: dsn, Columns: userstore.Columns{Email: "a\x00"}}, "email: a name can't hold a zero byte"},
		{"not UTF-8", userstore.Config{DSN: dsn, PrimaryKeyField: "\xff"}, "primary_key_field: a name must be UTF-8"},
		{"no primary key", userstore.Config{DSN: dsn, Columns: userstore.Columns{PrimaryKey: "-"}}, "primary_key can't be -"},
		{"extra twice", userstore.Config{DSN: dsn, Columns: userstore.Columns{Extra: []string{"a", "A"}}}, "named twice"},
		{"extra without a name", userstore.Config{DSN: dsn, Columns: userstore.Columns{Extra: []string{""}}}, "has no name"},
		{"extra password", userstore.Config{DSN: dsn, Columns: userstore.Columns{Extra: []string{"Password"}}}, "holds the password"},
		{"extra renamed password", userstore.Config{DSN: dsn, Columns: userstore.Columns{Password: "pw", Extra: []string{"PW"}}}, "holds the password"},
		{"negative", userstore.Config{DSN: dsn, QueryTimeout: -1}, "query_timeout is negative"},
		{"idle over open", userstore.Config{DSN: dsn, MaxIdleConns: 30}, "max_idle_conns is 30"},
		{"time zone without a use", userstore.Config{DSN: dsn, TimeZone: "Europe/Paris"}, "only used with use_tz false"},
		{"time zone", userstore.Config{DSN: dsn, UseTZ: &no, TimeZone: "Europe/Paris"}, ""},
		{"unknown time zone", userstore.Config{DSN: dsn, UseTZ: &no, TimeZone: "Europe/Atlantis"}, "tzdata"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.cfg.Validate()
			if test.want != "" {
				wantError(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
