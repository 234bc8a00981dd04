package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestDokuWiki has Debian's DokuWiki behind the gateway, configured as its guide
// says.
func TestDokuWiki(t *testing.T) {
	const from = "/usr/share/dokuwiki"
	needs(t, exists(from), "DokuWiki isn't installed (Debian: apt-get install --no-install-recommends dokuwiki)")
	page := readGuide(t, "applications/dokuwiki.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	_, origin := origins(t, caddyfile)

	root, pool := asServed(t, from), startPool(t)
	installDokuWiki(t, root, page)
	pool.owns(t, root)
	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{from: root, "/run/php/php-fpm.sock": pool.socket}),
		path:    "/doku.php?id=start",
		shown:   `document.querySelector("#dokuwiki__usertools .user bdi").textContent`,
		keeps:   []string{"DOKU_PREFS"},
	}
	a.checkUsers(t, alice, zoe)

	b := a.newTab(t)
	a.logIn(b, zoe)
	t.Run("a user edits a page under their name", func(t *testing.T) {
		b.open(a.origin + "/doku.php?id=apples&do=edit")
		b.do(chromedp.SendKeys(chromedp.CSS("#wiki__text"), "Seven apples"))
		b.click("#edbtn__save")
		b.open(a.origin + "/doku.php?id=apples&do=revisions")
		if got := b.text(`document.querySelector("#page__revisions .user bdi").textContent`); got != "zoë" {
			t.Errorf("the page is by %q", got)
		}
	})
	t.Run("its login form logs in nobody else, and makes no administrator", func(t *testing.T) {
		b.open(a.origin + a.path)
		b.script(`document.body.innerHTML = '<form method="post" action="/doku.php"><input name="do" value="login"><input name="u" value="admin"><input name="p" value="fix-your-debconf-settings"><input name="r" value="1"></form>'`)
		b.load(evaluate(`document.forms[0].submit()`))
		b.open(a.origin + a.path)
		a.wantUser(b, zoe)
		b.open(a.origin + "/doku.php?id=start&do=admin")
		if got := b.text(`document.body.innerText.includes("Configuration Settings")`); got != "false" {
			t.Error("zoë is an administrator")
		}
	})
	t.Run("the administrator is the one that the configuration names", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, alice)
		b.open(a.origin + "/doku.php?id=start&do=admin")
		if got := b.text(`document.body.innerText.includes("Configuration Settings")`); got != "true" {
			t.Errorf("alice is no administrator: %s", b.text(`document.body.innerText`))
		}
	})
	t.Run("what isn't for browsers is served to none", func(t *testing.T) {
		for _, uri := range []string{"/conf/local.php", "/data/pages/wiki/welcome.txt", "/inc/init.php", "/bin/dwpage.php", "/install.php", "/install.php/x", "//inc/init.php"} {
			if status, _ := b.fetch("GET", a.origin+uri, "text/plain", ""); status != "404" {
				t.Errorf("%s is answered %s", uri, status)
			}
		}
	})
}

// installDokuWiki makes a directory with a wiki of it, as a download has it:
// Debian's package keeps the configuration and the pages elsewhere.
func installDokuWiki(t *testing.T, root string, page guide) {
	t.Helper()
	for dir, from := range map[string]string{"conf": "/etc/dokuwiki", "data": "/var/lib/dokuwiki/data"} {
		copyFiles(t, from, filepath.Join(root, dir))
	}
	plugin := filepath.Join(root, "lib/plugins/authgateway")
	if err := os.Mkdir(plugin, 0o755); err != nil {
		t.Fatal(err)
	}
	local, err := os.ReadFile("/etc/dokuwiki/local.php")
	if err != nil {
		t.Fatal(err)
	}
	preload, err := os.ReadFile(filepath.Join(root, "inc/preload.php"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"lib/plugins/authgateway/auth.php": page.block(t, "## The plugin", "php"),
		"conf/local.php": string(local) + page.block(t, "## The configuration of DokuWiki", "php") +
			"$conf['savedir'] = '" + root + "/data';\n",
		"inc/preload.php": placed(t, string(preload), map[string]string{"'/etc/dokuwiki/'": "'" + root + "/conf/'"}),
	} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
