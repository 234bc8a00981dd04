package userstore_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
	"github.com/caddy-sesame/caddy-sesame/internal/testserver"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// baseDSN is the server that all tests share; each test makes databases of its own.
// It is empty if there is no server.
var baseDSN string

func TestMain(m *testing.M) {
	flag.Parse()
	// Fuzzing starts this program again for each of its workers, and ends them
	// without notice; its targets need no server.
	if flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.fuzzworker").Value.String() == "true" {
		os.Exit(m.Run())
	}
	os.Exit(withServer(m.Run))
}

func withServer(run func() int) int {
	if os.Getenv("ENGINE_DSN") != "" {
		return run() // for TestEngine, which needs no other server
	}
	dir, err := child.TempDir("sesame-userstore")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	server, err := startShared(dir)
	switch {
	case err == nil:
		defer server.Stop()
		baseDSN = server.DSN("")
		// Far from UTC, and from this host's zone: no test may depend on the zone.
		if err := server.Exec("", "SET GLOBAL time_zone = '-09:30'"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	case !errors.Is(err, testmariadb.ErrNotInstalled):
		fmt.Fprintln(os.Stderr, err)
		return 1
	case os.Getenv("SESAME_TEST_DSN") != "":
		baseDSN = os.Getenv("SESAME_TEST_DSN")
	case os.Getenv("CI") != "":
		fmt.Fprintln(os.Stderr, "These tests need MariaDB:", err)
		return 1
	}
	return run()
}

// startShared starts MariaDB, or MySQL if SESAME_TEST_SHARED is mysql.
func startShared(dir string) (*testserver.Server, error) {
	if os.Getenv("SESAME_TEST_SHARED") == "mysql" {
		server, err := testmysql.Start(dir)
		if err != nil {
			return nil, err
		}
		return server.Server, nil
	}
	server, err := testmariadb.Start(dir)
	if err != nil {
		return nil, err
	}
	return server.Server, nil
}

// newServer is a server for one test alone.
func newServer(t *testing.T, arguments ...string) *testmariadb.Server {
	t.Helper()
	server, err := testmariadb.Start(t.TempDir(), arguments...)
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// newMySQL is a MySQL for one test alone.
func newMySQL(t *testing.T, arguments ...string) *testmysql.Server {
	t.Helper()
	server, err := testmysql.Start(t.TempDir(), arguments...)
	if errors.Is(err, testmysql.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

var databases atomic.Int64

// database is an empty database of one test.
type database struct {
	t    testing.TB
	name string
	db   *sql.DB
}

func newDatabase(t testing.TB, statements ...string) *database {
	t.Helper()
	d := &database{t: t, name: fmt.Sprintf("userstore_%d_%d", os.Getpid(), databases.Add(1))}
	admin := open(t, "")
	if _, err := admin.Exec("CREATE DATABASE " + d.name + " CHARACTER SET utf8mb4"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.Exec("DROP DATABASE " + d.name) })
	d.db = open(t, d.name)
	d.exec(statements...)
	return d
}

// newServerDatabase makes an empty database on a server for one test alone, so that
// other tests don't move its counters.
func newServerDatabase(t *testing.T) (*testmariadb.Server, *database) {
	t.Helper()
	server := newServer(t)
	if err := server.CreateDatabase("django"); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", server.DSN("django"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return server, &database{t: t, name: "django", db: db}
}

func open(t testing.TB, name string) *sql.DB {
	t.Helper()
	return openDSN(t, dsnOf(t, name))
}

func openDSN(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// dsnOf returns the DSN of a database of the test server, or skips the test if
// there is no server.
func dsnOf(t testing.TB, name string) string {
	t.Helper()
	return serverConfig(t, func(cfg *mysql.Config) { cfg.DBName = name })
}

func serverConfig(t testing.TB, change func(*mysql.Config)) string {
	t.Helper()
	if baseDSN == "" {
		t.Skip("no MariaDB: install mariadb-server, or set SESAME_TEST_DSN to a server's DSN of a user with all privileges")
	}
	cfg, err := mysql.ParseDSN(baseDSN)
	if err != nil {
		t.Fatal(err)
	}
	change(cfg)
	return cfg.FormatDSN()
}

// withAccount is the DSN of an account for a database of the test server.
func withAccount(t testing.TB, name, user, password string) string {
	t.Helper()
	return serverConfig(t, func(cfg *mysql.Config) { cfg.DBName, cfg.User, cfg.Passwd = name, user, password })
}

func (d *database) dsn() string { return dsnOf(d.t, d.name) }

func (d *database) exec(statements ...string) {
	d.t.Helper()
	for _, statement := range statements {
		if _, err := d.db.Exec(statement); err != nil {
			d.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// status returns one of the server's counters.
func (d *database) status(variable string) (n int) {
	d.t.Helper()
	var name string
	// A query without parameters isn't prepared, so that it isn't counted.
	if err := d.db.QueryRow("SHOW GLOBAL STATUS LIKE '"+variable+"'").Scan(&name, &n); err != nil {
		d.t.Fatal(err)
	}
	return n
}

// text reads one value as the server writes it in text; NULL is "NULL".
func (d *database) text(query string, args ...any) string {
	d.t.Helper()
	var value sql.NullString
	if err := d.db.QueryRow(query, args...).Scan(&value); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	if !value.Valid {
		return "NULL"
	}
	return value.String
}

// authUser is what Django 5 creates on MySQL, as SHOW CREATE TABLE has it.
const authUser = `CREATE TABLE auth_user (
  id int(11) NOT NULL AUTO_INCREMENT,
  password varchar(128) NOT NULL,
  last_login datetime(6) DEFAULT NULL,
  is_superuser tinyint(1) NOT NULL,
  username varchar(150) NOT NULL,
  first_name varchar(150) NOT NULL,
  last_name varchar(150) NOT NULL,
  email varchar(254) NOT NULL,
  is_staff tinyint(1) NOT NULL,
  is_active tinyint(1) NOT NULL,
  date_joined datetime(6) NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY username (username)
) ENGINE=InnoDB`

const threeUsers = `INSERT INTO auth_user VALUES
  (1, 'pbkdf2_sha256$1$a$b', NULL, 1, 'alice', 'Alice', 'Liddell', 'alice@example.com', 1, 1, '2024-01-01 00:00:00.000000'),
  (2, '!unusable', '2024-02-29 23:59:59.000001', 0, 'bob', '', '', '', 0, 1, '2024-01-01 00:00:00.5'),
  (3, 'x', '2024-02-29 23:59:59', 0, 'Zoë', 'Zoë', 'Ünal', 'zoë@example.com', 0, 0, '2024-01-01 00:00:00')`

// openStore opens a store that the test must be able to open.
func openStore(t testing.TB, cfg userstore.Config, needs userstore.Needs) *userstore.MySQL {
	t.Helper()
	s, err := userstore.Open(context.Background(), patient(cfg), needs, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// patient gives a configuration a time limit for queries that a busy machine doesn't
// exceed, unless it has one.
func patient(cfg userstore.Config) userstore.Config {
	if cfg.QueryTimeout == 0 {
		cfg.QueryTimeout = caddy.Duration(20 * time.Second)
	}
	return cfg
}

// wantError checks that an error says all of parts, and nothing secret.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q doesn't say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %q gives the password away", err)
	}
}
