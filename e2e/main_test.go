// Package e2e_test proves the login in a real browser: Debian's Chromium, with
// a real Caddy and a real MySQL server behind it. It is a module of its own,
// so that no Caddy depends on what drives a browser.
package e2e_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	_ "github.com/go-sql-driver/mysql"

	_ "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testdevmysql"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// The users of the tests. Each test has them as they are here.
var (
	alice = testUser{id: 1, username: "alice", email: "alice@example.com"}
	carol = testUser{id: 3, username: "carol", email: "carol@example.com"}
	// long has the longest name that Django allows, without a space to break
	// the line at.
	long = testUser{id: 4, username: strings.Repeat("maximiliane.", 12) + "meyer", email: "long@example.com"}
)

// testUser is a user in the tests' table.
type testUser struct {
	id       int64
	username string
	email    string
	hash     string // what Django has made of the password, if it made the user
}

// password is what the table has of a user's password.
func (u testUser) password() string {
	return cmp.Or(u.hash, fmt.Sprintf("pbkdf2_sha256$1000000$salt$%d", u.id))
}

// database is the embedded MySQL server.
type database struct {
	*sql.DB
	dsn string
}

// What all tests share: starting them takes long.
var (
	db      *database
	mariadb *testmariadb.Server // Django's; nil where there is none
	browser *chromium

	programs string // the directory of programs that tests build
)

func TestMain(m *testing.M) {
	if caddyfile := os.Getenv(caddyProcess); caddyfile != "" {
		os.Args = []string{"caddy", "run", "--adapter", "caddyfile", "--config", caddyfile}
		caddycmd.Main()
		return
	}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	program, err := findChromium()
	if err != nil {
		if os.Getenv("CI") != "" {
			return 0, fmt.Errorf("%w, and CI must test with it", err)
		}
		fmt.Printf("%v: nothing is tested here\n", err)
		return 0, nil
	}
	dir, err := child.TempDir("sesame-e2e")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs = dir
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		return 0, err
	}

	stop, err := startMySQL(dir)
	if err != nil {
		return 0, fmt.Errorf("starting the embedded MySQL server: %w", err)
	}
	defer stop()
	if err := startMariaDB(dir); err != nil {
		return 0, err
	}
	if mariadb != nil {
		defer mariadb.Stop()
	}
	browser, err = startChromium(program, filepath.Join(dir, "profile"))
	if err != nil {
		return 0, fmt.Errorf("starting Chromium: %w", err)
	}
	defer browser.stop()
	return m.Run(), nil
}

// startMySQL runs the embedded server.
func startMySQL(dir string) (stop func(), err error) {
	dsn, stop, err := testdevmysql.Start("../internal/devmysql", dir)
	if err != nil {
		return nil, err
	}
	opened, err := sql.Open("mysql", dsn)
	if err != nil {
		stop()
		return nil, err
	}
	db = &database{DB: opened, dsn: dsn}
	return stop, nil
}

// startMariaDB runs the server for Django, which the embedded one is no match for.
func startMariaDB(dir string) (err error) {
	dir = filepath.Join(dir, "mariadb")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	mariadb, err = testmariadb.Start(dir)
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		return nil
	}
	return err
}

// reset makes the users what they are at the beginning of a test.
func (db *database) reset(t *testing.T) {
	t.Helper()
	db.exec(t, "DELETE FROM auth_user")
	for _, u := range []testUser{alice, carol, long} {
		db.exec(t, `INSERT INTO auth_user (id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
			VALUES (?, ?, NULL, 0, ?, '', '', ?, 0, 1, '2020-01-01 00:00:00')`, u.id, u.password(), u.username, u.email)
	}
}

func (db *database) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// poll waits until a condition holds.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !comes(holds) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// comes waits until a condition holds, and tells whether it does in the end.
func comes(holds func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			return false
		case <-again.C:
		}
	}
	return true
}

// patience is how long anything may take. Only a broken or very busy machine
// gets near.
const patience = 2 * time.Minute
