package sesame_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testdevmysql"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
	"github.com/caddy-sesame/caddy-sesame/internal/testserver"
)

// database is a MySQL server for the tests, over TCP.
type database struct {
	name  string
	dsn   string // what gateways use
	admin string // an account with all privileges; empty if dsn has them
	*sql.DB
}

// databases are those that every end-to-end test runs with: the embedded
// server of internal/devmysql always, and MariaDB where it is installed.
var databases []*database

// mariadb is the server behind the second, for tests that stop it.
var mariadb *testserver.Server

func TestMain(m *testing.M) {
	if caddyfile := os.Getenv(caddyProcess); caddyfile != "" {
		os.Args = []string{"caddy", "run", "--adapter", "caddyfile", "--config", caddyfile}
		caddycmd.Main()
		return
	}
	flag.Parse()
	// The targets of fuzzing need no server, and each worker would start its own.
	if flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// programs is a directory for the programs that tests build.
var programs string

func runTests(m *testing.M) (code int, err error) {
	dir, err := child.TempDir("sesame-test")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	programs = dir
	dsn, stop, err := testdevmysql.Start("internal/devmysql", dir)
	if err != nil {
		return 0, fmt.Errorf("starting the embedded MySQL server: %w", err)
	}
	defer stop()
	if err := addDatabase("devmysql", dsn); err != nil {
		return 0, err
	}

	if _, err := exec.LookPath("mariadbd"); err != nil {
		if os.Getenv("CI") != "" {
			return 0, errors.New("mariadbd is not on PATH, and CI must test with it: apt-get install mariadb-server")
		}
		fmt.Println("mariadbd is not on PATH: testing with the embedded MySQL server only (apt-get install mariadb-server)")
		return m.Run(), nil
	}
	mariadbDir := filepath.Join(dir, "mariadb")
	if err := os.Mkdir(mariadbDir, 0o755); err != nil {
		return 0, err
	}
	if mariadb, err = startShared(mariadbDir); err != nil {
		return 0, err
	}
	defer mariadb.Stop()
	if err := mariadb.CreateDatabase("django"); err != nil {
		return 0, err
	}
	if err := addDatabase("mariadb", mariadb.DSN("django")); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// startShared starts MariaDB, or in its place MySQL if SESAME_TEST_SHARED is mysql.
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

func addDatabase(name, dsn string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	databases = append(databases, &database{name: name, dsn: dsn, DB: db})
	return nil
}

// withEachDatabase runs a test with every database, each time with the table of
// users as authUsers has them.
func withEachDatabase(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			db.reset(t)
			test(t, db)
		})
	}
}

// withMariaDB runs a test with MariaDB, or skips it where there is none.
func withMariaDB(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	if mariadb == nil {
		t.Skip("mariadbd is not on PATH")
	}
	db := databases[len(databases)-1]
	db.reset(t)
	test(t, db)
}

// authUser is what `manage.py migrate` makes of Django's user model on MySQL.
const authUser = `CREATE TABLE auth_user (
	id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
	password varchar(128) NOT NULL,
	last_login datetime(6) NULL,
	is_superuser tinyint(1) NOT NULL,
	username varchar(150) NOT NULL UNIQUE,
	first_name varchar(150) NOT NULL,
	last_name varchar(150) NOT NULL,
	email varchar(254) NOT NULL,
	is_staff tinyint(1) NOT NULL,
	is_active tinyint(1) NOT NULL,
	date_joined datetime(6) NOT NULL
)`

// testUser is a user in the tests' table.
type testUser struct {
	id        int64
	username  string
	password  string
	email     string
	lastLogin string // or empty for NULL
	isActive  bool
}

// The users of the tests.
var (
	alice = testUser{1, "alice", "pbkdf2_sha256$1000000$c2FsdHNhbHRzYWx0$uFoVgmI1NE5rA3cBLtBXhqMwNLPLS6Yb0uOaXqj5oyo=", "alice@example.com", "2026-01-02 03:04:05.678900", true}
	bob   = testUser{2, "bob", "pbkdf2_sha256$1000000$c2FsdHNhbHRzYWx0$0IbDDl5yJZNXhIdzn8fD3Jk0A6cEDZ3wnoAQ5a1NlmM=", "bob@example.com", "", false}
	carol = testUser{3, "carol", "!unusable0123456789012345678901234567890", "", "", true}
)

// reset makes the table of users anew.
func (db *database) reset(t testing.TB) {
	t.Helper()
	for _, table := range append(slices.Clone(rightsTables), "auth_user") {
		db.mustExec(t, "DROP TABLE IF EXISTS "+table)
	}
	db.mustExec(t, authUser)
	for _, u := range []testUser{alice, bob, carol} {
		db.insert(t, u)
	}
	if db.name == "mariadb" {
		leastPrivilege.Do(func() { db.limitGateways(t) })
	}
}

// leastPrivilege sets the account of gateways up, once for all tests.
var leastPrivilege sync.Once

// limitGateways has gateways connect as the account that docs/mysql.md makes,
// with no other rights than those of the page. The tests themselves change
// tables as the administrator. Rights outlive their tables.
func (db *database) limitGateways(t testing.TB) {
	t.Helper()
	db.addRights(t)
	db.mustExec(t, revocationsTable)
	text := readFile(t, "docs/mysql.md")
	reading, writing := grantsOf(t, text, "## The account", "auth_user ")
	revocations, _ := grantsOf(t, text, "## The account", "sesame_revocations")
	db.mustExec(t, "CREATE USER 'tests'@'127.0.0.1' IDENTIFIED BY 'only for tests'")
	for _, grant := range slices.Concat(reading, writing, revocations, rightsGrantsOf(t, text, "auth_group "), rightsGrantsOf(t, text, "auth_permission ")) {
		db.mustExec(t, strings.Replace(grant, "'gateway'", "'tests'", 1))
	}
	for _, table := range append(slices.Clone(rightsTables), "sesame_revocations") {
		db.mustExec(t, "DROP TABLE "+table)
	}
	db.admin, db.dsn = db.dsn, mariadb.UserDSN("tests", "only for tests", "django")
}

// asAdministrator has gateways connect with all privileges, for tests of tables,
// columns and rights that the page doesn't grant.
func (db *database) asAdministrator() *database {
	if db.admin == "" {
		return db
	}
	other := *db
	other.dsn = db.admin
	return &other
}

func (db *database) insert(t testing.TB, u testUser) {
	t.Helper()
	var lastLogin any
	if u.lastLogin != "" {
		lastLogin = u.lastLogin
	}
	db.mustExec(t, `INSERT INTO auth_user VALUES (?, ?, ?, 0, ?, 'First', 'Last', ?, 0, ?, '2020-01-01 00:00:00')`,
		u.id, u.password, lastLogin, u.username, u.email, u.isActive)
}

func (db *database) mustExec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
