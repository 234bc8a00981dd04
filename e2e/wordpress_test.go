package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// TestWordPress has Debian's WordPress behind the gateway, configured as its
// guide says.
func TestWordPress(t *testing.T) {
	page := readGuide(t, "applications/wordpress.md")
	caddyfile := page.block(t, "## Only for users with a link", "caddyfile")
	_, origin := origins(t, caddyfile)

	root, pool := openDir(t), startPool(t)
	testprogram.WordPress(t, root, newDatabase(t, "wordpress"), origin, page.block(t, "## The plugin", "php"), "alice", "carol")
	named := strings.TrimSpace(page.block(t, "## Only for users with a link", "php"))
	config := filepath.Join(root, "wp-config.php")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(placed(t, string(text), map[string]string{"<?php\n": "<?php\n" + named + "\n"})), 0o644); err != nil {
		t.Fatal(err)
	}
	pool.owns(t, root)
	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{"/srv/wordpress": root, "/run/php/php-fpm.sock": pool.socket}),
		path:    "/wp-admin/profile.php",
		shown:   `document.querySelector("#wp-admin-bar-my-account .display-name").textContent`,
		keeps:   []string{"wordpress_test_cookie", "wp-settings-1", "wp-settings-2", "wp-settings-3", "wp-settings-time-1", "wp-settings-time-2", "wp-settings-time-3"},
	}
	a.checkUsers(t, alice, carol)

	b := a.newTab(t)
	a.logIn(b, alice)
	a.wantUser(b, alice)
	t.Run("its login form, XML-RPC and REST API log in nobody else", func(t *testing.T) {
		for _, uri := range []string{"/wp-login.php", "/wp-login.php/x", "//wp-login.php", "/wp-login%2ephp"} {
			if _, answer := b.fetch("POST", a.origin+uri, "application/x-www-form-urlencoded", "log=wpadmin&pwd=x"); !strings.Contains(answer, "Log out") {
				t.Errorf("%s answers %.300s", uri, answer)
			}
		}
		_, answer := b.fetch("POST", "/xmlrpc.php", "text/xml",
			`<methodCall><methodName>wp.getUsersBlogs</methodName><params><param><value>wpadmin</value></param><param><value>x</value></param></params></methodCall>`)
		if !strings.Contains(answer, "faultCode") {
			t.Errorf("XML-RPC answers %s", answer)
		}
		b.open(a.origin + a.path)
		a.wantUser(b, alice)
	})
	t.Run("its own logout is the gateway's", func(t *testing.T) {
		b.open(b.text(`document.querySelector("#wp-admin-bar-logout a").href`))
		b.wantTitle("Log out")
		b.click("button")
		a.wantNobody(b)
	})
	t.Run("a user without an account gets in nowhere", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, zoe)
		if got := b.text(`document.body.innerText`); !strings.Contains(got, "You have no account here.") {
			t.Errorf("the page is %.300s", got)
		}
	})
}
