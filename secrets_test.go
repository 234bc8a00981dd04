package sesame_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestSecretsChangeWithoutARestart, while clients send requests: the password of the
// gateway's account in MariaDB, in a file, and by a reload Django's SECRET_KEY, of which
// the former one becomes a fallback. No request is rejected.
func TestSecretsChangeWithoutARestart(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db.mustExec(t, "DROP USER IF EXISTS 'changing'@'127.0.0.1'")
		db.mustExec(t, "CREATE USER 'changing'@'127.0.0.1' IDENTIFIED BY 'first'")
		t.Cleanup(func() { db.mustExec(t, "DROP USER 'changing'@'127.0.0.1'") })
		db.mustExec(t, "GRANT SELECT ON django.auth_user TO 'changing'@'127.0.0.1'")
		dir := t.TempDir()
		write := func(name, text string) string {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path+".new", []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			return path
		}
		dsn := write("dsn", mariadb.UserDSN("changing", "first", "django"))
		key, fallback := write("key", secretKey), write("fallback", "none yet")
		up := startUpstream(t)
		g := &gateway{addr: freeAddr(t), logs: filepath.Join(dir, "caddy.log")}
		caddyfile := g.caddyfile(db, up, site{options: fmt.Sprintf("secret_key_fallbacks {file.%s}", fallback)})
		caddyfile = strings.Replace(caddyfile, fmt.Sprintf("dsn %q", db.dsn), "dsn_file "+dsn, 1)
		caddyfile = strings.Replace(caddyfile, fmt.Sprintf("secret_key %q", secretKey), fmt.Sprintf("secret_key {file.%s}", key), 1)
		loadCaddyfile(t, caddyfile)

		old := tokenFor(t, alice)
		g.get(t, "/?sesame="+old).wantStatus(t, http.StatusOK)
		var done atomic.Bool
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for !done.Load() {
					g.get(t, "/?sesame="+old).wantStatus(t, http.StatusOK)
				}
			})
		}
		const next = "the next SECRET_KEY of the tests"
		for i, password := range []string{"second", "third"} {
			write("dsn", mariadb.UserDSN("changing", password, "django"))
			db.mustExec(t, fmt.Sprintf("ALTER USER 'changing'@'127.0.0.1' IDENTIFIED BY '%s'", password))
			g.awaitChange(t, i+1)
			if i == 0 {
				write("fallback", secretKey)
				write("key", next)
			}
			if err := tryCaddyfile(caddyfile); err != nil {
				t.Error(err)
			}
		}
		done.Store(true)
		clients.Wait()
		g.get(t, "/?sesame="+tokenFor(t, alice, withKey(next))).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+tokenFor(t, alice, withKey("another"))).wantStatus(t, http.StatusUnauthorized)

		write("fallback", "gone")
		if err := tryCaddyfile(caddyfile); err != nil {
			t.Fatal(err)
		}
		g.get(t, "/?sesame="+old).wantStatus(t, http.StatusUnauthorized)
	})
}

// awaitChange waits until the gateway has read a file with the DSN for the nth time.
func (g *gateway) awaitChange(t *testing.T, n int) {
	t.Helper()
	poll(t, "the new DSN", func() bool {
		seen := 0
		for _, line := range g.lines(t, "http.handlers.sesame.userstore") {
			if line["msg"] == "the DSN in the file has changed: new connections use it" {
				seen++
			}
		}
		return seen >= n
	})
}
