// Package e2e_test proves the login in a real browser: Debian's Chromium, with
// a real Caddy and a real MySQL server behind it. It is a module of its own,
// so that no Caddy depends on what drives a browser.
package e2e_test

import (
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
)

// The users of the tests. Each test has them as they are here.
var (
	alice = testUser{1, "alice", "alice@example.com"}
	carol = testUser{3, "carol", "carol@example.com"}
	// long has the longest name that Django allows, without a space to break
	// the line at.
	long = testUser{4, strings.Repeat("maximiliane.", 12) + "meyer", "long@example.com"}
)

// testUser is a user in the tests' table.
type testUser struct {
	id       int64
	username string
	email    string
}

// password is what the table has of a user's password.
func (u testUser) password() string { return fmt.Sprintf("pbkdf2_sha256$1000000$salt$%d", u.id) }

// database is the embedded MySQL server.
type database struct {
	*sql.DB
	dsn string
}

// What all tests share: starting them takes long.
var (
	db      *database
	browser *chromium
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
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		return 0, err
	}

	stop, err := startMySQL(dir)
	if err != nil {
		return 0, fmt.Errorf("starting the embedded MySQL server: %w", err)
	}
	defer stop()
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
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-again.C:
		}
	}
}

// patience is how long anything may take. Only a broken or very busy machine
// gets near.
const patience = 30 * time.Second
