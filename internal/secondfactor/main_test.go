package secondfactor_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/go-sql-driver/mysql"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// server is the MariaDB that all tests share; nil if there is none.
var server *testmariadb.Server

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true" {
		os.Exit(m.Run()) // no target needs the server
	}
	os.Exit(withServer(m.Run))
}

func withServer(run func() int) int {
	dir, err := child.TempDir("sesame-secondfactor")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server, err = testmariadb.Start(dir)
	switch {
	case err == nil:
		defer server.Stop()
	case !errors.Is(err, testmariadb.ErrNotInstalled) || os.Getenv("CI") != "":
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

var databases atomic.Int64

// database is a database of one test, with the tables of Django, django-otp and
// allauth, and one user.
type database struct {
	testing.TB
	name string
	db   *sql.DB
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	if server == nil {
		t.Skip("no MariaDB: install mariadb-server")
	}
	d := &database{TB: t, name: fmt.Sprintf("factors_%d", databases.Add(1))}
	if err := server.CreateDatabase(d.name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Exec("", "DROP DATABASE "+d.name) })
	var err error
	if d.db, err = sql.Open("mysql", server.DSN(d.name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.db.Close() })
	for _, table := range tables {
		d.exec(table)
	}
	d.exec("INSERT INTO auth_user VALUES (1, 'hash', NULL, 'alice', '', 1), (2, 'other', NULL, 'bob', '', 1)")
	return d
}

// tables are as migrate of the libraries makes them.
var tables = []string{
	"CREATE TABLE auth_user (id int PRIMARY KEY, password varchar(128) NOT NULL, last_login datetime(6), username varchar(150), email varchar(254), is_active bool)",
	"CREATE TABLE otp_totp_totpdevice (id int PRIMARY KEY AUTO_INCREMENT, name varchar(64) NOT NULL DEFAULT '', confirmed bool NOT NULL, `key` varchar(80) NOT NULL, " +
		"step smallint unsigned NOT NULL, t0 bigint NOT NULL, digits smallint unsigned NOT NULL, tolerance smallint unsigned NOT NULL, drift smallint NOT NULL, " +
		"last_t bigint NOT NULL, user_id int NOT NULL, throttling_failure_count int unsigned NOT NULL, throttling_failure_timestamp datetime(6), " +
		"created_at datetime(6), last_used_at datetime(6), KEY (user_id))",
	"CREATE TABLE otp_static_staticdevice (id int PRIMARY KEY AUTO_INCREMENT, name varchar(64) NOT NULL DEFAULT '', confirmed bool NOT NULL, user_id int NOT NULL, " +
		"throttling_failure_count int unsigned NOT NULL, throttling_failure_timestamp datetime(6), created_at datetime(6), last_used_at datetime(6), KEY (user_id))",
	"CREATE TABLE otp_static_statictoken (id int PRIMARY KEY AUTO_INCREMENT, token varchar(16) NOT NULL, device_id int NOT NULL, KEY (token), KEY (device_id))",
	"CREATE TABLE mfa_authenticator (id bigint PRIMARY KEY AUTO_INCREMENT, type varchar(20) NOT NULL, data longtext NOT NULL CHECK (json_valid(data)), " +
		"user_id int NOT NULL, created_at datetime(6) NOT NULL DEFAULT '2026-01-01', last_used_at datetime(6), KEY (user_id))",
}

func (d *database) exec(statement string, args ...any) {
	d.Helper()
	if _, err := d.db.Exec(statement, args...); err != nil {
		d.Fatalf("%s: %v", statement, err)
	}
}

// text reads a value as the server writes it; NULL is "NULL".
func (d *database) text(query string) string {
	d.Helper()
	var value sql.NullString
	if err := d.db.QueryRow(query).Scan(&value); err != nil {
		d.Fatalf("%s: %v", query, err)
	}
	if !value.Valid {
		return "NULL"
	}
	return value.String
}

// store opens a store as a gateway does. Stores with different limits share no
// connections.
func (d *database) store(cfg userstore.Config) *userstore.MySQL {
	d.Helper()
	if cfg.DSN == "" {
		cfg.DSN = server.DSN(d.name)
	}
	s, err := userstore.Open(context.Background(), cfg, userstore.Needs{SecondFactors: true, AskSecondFactors: true}, zaptest.NewLogger(d))
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = s.Close() })
	return s
}

// patient is a time limit that a busy machine doesn't exceed.
const patient = caddy.Duration(20e9)
