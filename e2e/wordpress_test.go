package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// TestWordPress has Debian's WordPress behind the gateway, in both of the ways that
// its guide has.
func TestWordPress(t *testing.T) {
	page := readGuide(t, "applications/wordpress.md")
	_, origin := origins(t, page.block(t, "## Only for users with a link", "caddyfile"))

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
	writeTheme(t, root)
	pool.owns(t, root)
	places := map[string]string{"/srv/wordpress": root, "/run/php/php-fpm.sock": pool.socket}
	t.Run("only for users with a link", func(t *testing.T) {
		testClosedWordPress(t, startDocumented(t, page.block(t, "## Only for users with a link", "caddyfile"), origin, places))
	})
	t.Run("readable by everyone", func(t *testing.T) {
		testPublicWordPress(t, startDocumented(t, page.block(t, "## Readable by everyone, with a login for authors", "caddyfile"), origin, places))
	})
}

// writeTheme gives WordPress pages of its own, without which visitors see nothing:
// Debian has themes in packages of their own. It stands in for the default one.
func writeTheme(t *testing.T, root string) {
	dir := filepath.Join(root, "wp-content/themes/twentytwentythree")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // PHP's workers are other users
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"style.css": "/*\nTheme Name: Plain\n*/\n",
		"index.php": "<!doctype html><html><head><title><?php bloginfo( 'name' ); ?></title><?php wp_head(); ?></head>\n" +
			"<body><h1 id='site'><?php bloginfo( 'name' ); ?></h1><?php wp_footer(); ?></body></html>\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
}

// shownByWordPress is an expression for the user in WordPress's bar.
const shownByWordPress = `document.querySelector("#wp-admin-bar-my-account .display-name").textContent`

func testClosedWordPress(t *testing.T, g *gateway) {
	a := &application{
		gateway: g,
		path:    "/wp-admin/profile.php",
		shown:   shownByWordPress,
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

// testPublicWordPress has WordPress's own session, which a link begins.
func testPublicWordPress(t *testing.T, g *gateway) {
	a := &application{gateway: g, path: "/", shown: shownByWordPress}
	const isNobody = `document.querySelector("#wp-admin-bar-my-account") === null && document.querySelector("#site") !== null`
	b := a.newTab(t)
	call(b, network.Enable, network.EnableParams{})
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Remote-User": "alice", "remote_user": "alice"}})
	b.open(a.origin + a.path)
	if got := b.text(isNobody); got != "true" {
		t.Errorf("a reader without a link is shown %.300s", b.text(`document.body.innerText`))
	}
	for _, u := range []testUser{carol, alice} {
		a.logIn(b, u)
		a.wantUser(b, u)
		b.open(a.origin + a.path)
		a.wantUser(b, u)
	}
	b.open(b.text(`document.querySelector("#wp-admin-bar-logout a").href`))
	b.open(a.origin + a.path)
	if got := b.text(isNobody); got != "true" {
		t.Errorf("after WordPress's logout, the page is %.300s", b.text(`document.body.innerText`))
	}
}
