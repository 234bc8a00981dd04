package e2e_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestTinyTinyRSS has Debian's tt-rss behind the gateway, configured as its
// guide says.
func TestTinyTinyRSS(t *testing.T) {
	const from = "/usr/share/tt-rss/www"
	needs(t, exists(from), "tt-rss isn't installed (Debian: apt-get install --no-install-recommends tt-rss dbconfig-no-thanks)")
	page := readGuide(t, "applications/tt-rss.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	documented, origin := origins(t, caddyfile)

	root, pool := asServed(t, from), startPool(t)
	dsn := installTinyTinyRSS(t, root, placed(t, page.block(t, "## The configuration of tt-rss", "php"), map[string]string{documented: origin}))
	pool.owns(t, root)
	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{from: root, "/run/php/php-fpm.sock": pool.socket}),
		path:    "/prefs.php",
		shown:   `document.querySelector("input[name=full_name]").value`,
	}
	// A user with the name of tt-rss's own administrator, but for an accent.
	admin := testUser{id: 6, username: "ádmin", email: "admin@example.com"}
	db.add(t, admin)
	a.checkUsers(t, alice, zoe, admin)

	b := a.newTab(t)
	a.logIn(b, alice)
	a.wantUser(b, alice)
	server, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, statement := range []string{
		"INSERT INTO ttrss_user_prefs (owner_uid, pref_name, value) SELECT id, 'ENABLE_API_ACCESS', 'true' FROM ttrss_users",
		"INSERT INTO ttrss_labels2 (owner_uid, caption) SELECT id, 'a label of alice' FROM ttrss_users WHERE login = '1'",
	} {
		if _, err := server.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	t.Run("its login form and its API log in nobody else", func(t *testing.T) {
		b.script(`document.body.innerHTML = '<form method="post" action="/public.php?op=login"><input name="login" value="admin"><input name="password" value="password"></form>'`)
		b.load(evaluate(`document.forms[0].submit()`))
		b.open(a.origin + a.path)
		a.wantUser(b, alice)

		_, answer := b.fetch("POST", "/api/", "application/json", `{"op":"login","user":"admin","password":"password"}`)
		sid := regexp.MustCompile(`"session_id":"([^"]+)"`).FindStringSubmatch(answer)
		if sid == nil {
			t.Fatalf("the API answers %s", answer)
		}
		if _, labels := b.fetch("POST", "/api/", "application/json", fmt.Sprintf(`{"op":"getLabels","sid":%q}`, sid[1])); !strings.Contains(labels, "a label of alice") {
			t.Errorf("the API's login has the labels %s", labels)
		}
	})
	t.Run("accounts are those of primary keys", func(t *testing.T) {
		got := texts(t, dsn, "SELECT CONCAT(login, ' ', access_level, ' ', COALESCE(last_login, 'never') = 'never') FROM ttrss_users ORDER BY login")
		if want := []string{"1 0 0", "5 0 0", "6 0 0", "admin 10 1"}; strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the accounts are %q, want %q", got, want)
		}
	})
}

// installTinyTinyRSS makes tt-rss's tables and its configuration: the package's,
// with the definitions of the guide.
func installTinyTinyRSS(t *testing.T, root, defined string) (dsn string) {
	t.Helper()
	dsn = newDatabase(t, "ttrss")
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(cfg.Addr, ":")
	runSQL(t, dsn, "/usr/share/tt-rss/schema/ttrss_schema_mysql.sql")

	config, err := os.ReadFile("/etc/tt-rss/config.php")
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	for line := range strings.Lines(defined) {
		name := regexp.MustCompile(`define\('(\w+)'`).FindStringSubmatch(line)
		old := regexp.MustCompile(`(?m)^\s*define\('` + name[1] + `'.*$`)
		if !old.MatchString(text) {
			t.Fatalf("tt-rss's configuration doesn't define %s", name[1])
		}
		text = old.ReplaceAllLiteralString(text, strings.TrimSpace(line))
	}
	state := filepath.Join(root, "state")
	text = placed(t, text, map[string]string{
		"include_once('/etc/tt-rss/database.php');": fmt.Sprintf("$dbtype='mysql'; $dbserver='%s'; $dbport='%s'; $dbuser='%s'; $dbpass='%s'; $dbname='%s';",
			host, port, cfg.User, cfg.Passwd, cfg.DBName),
		"/var/lib/tt-rss": state, "/var/cache/tt-rss": state,
	})
	for _, dir := range []string{"images", "upload", "export", "js", "simplepie", "starred-images"} {
		if err := os.MkdirAll(filepath.Join(state, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "config.php"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dsn
}
