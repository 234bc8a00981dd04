package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// principal is an expression for the user that Radicale takes a page's requests
// for.
const principal = `(() => {
	const request = new XMLHttpRequest();
	request.open("PROPFIND", "/", false);
	request.send('<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>');
	return decodeURIComponent(/principal>.*?href>\/(.*?)\//s.exec(request.responseText)[1]);
})()`

// TestRadicaleInABrowser has Debian's Radicale behind the gateway, configured as its guide
// says.
func TestRadicaleInABrowser(t *testing.T) {
	program, err := exec.LookPath("radicale")
	needs(t, err == nil, "radicale isn't installed (Debian: apt-get install radicale)")
	page := readGuide(t, "applications/radicale.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	_, origin := origins(t, caddyfile)

	dir, addr := t.TempDir(), "127.0.0.1:"+freePort(t)
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte(placed(t, page.block(t, "## The configuration of Radicale", "ini"), map[string]string{
		"127.0.0.1:5232": addr, "/var/lib/radicale/collections": dir,
	})), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "--config", config)
	server.Env = testprogram.PythonEnv()
	testprogram.Listen(t, server, addr, os.Interrupt)

	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{"127.0.0.1:5232": addr}),
		path:    "/.web/",
		shown:   principal,
		title:   "You need to log in",
		names:   map[string]string{"zoë": "zo%C3%AB"},
	}
	a.checkUsers(t, alice, zoe)

	t.Run("its page lists the user's own calendars, whatever name is typed", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, zoe)
		b.script(`const request = new XMLHttpRequest();
			request.open("MKCALENDAR", "/" + encodeURIComponent(` + principal + `) + "/diary/", false);
			request.send('<C:mkcalendar xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><set><prop><displayname>Zoë’s diary</displayname></prop></set></C:mkcalendar>');
			if (request.status !== 201) throw request.status + request.responseText`)
		for _, typed := range []testUser{zoe, alice} {
			b.open(a.origin + a.path)
			b.do(
				chromedp.SendKeys(chromedp.CSS(`#loginscene [data-name=user]`), typed.username),
				chromedp.SendKeys(chromedp.CSS(`#loginscene [data-name=password]`), "wrong"),
				chromedp.Click(chromedp.CSS(`#loginscene button`)),
			)
			if !b.shows(`document.querySelector("#collectionsscene article:not(.hidden) [data-name=title]").textContent`, "Zoë’s diary") {
				t.Errorf("%s was typed, and the page shows %s", typed.username, b.text(`document.body.innerText`))
			}
		}
	})
}
