package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// TestSinglePageApplication has the application of its guide behind the gateway,
// with tokens of its own and a service worker.
func TestSinglePageApplication(t *testing.T) {
	node, err := exec.LookPath("node")
	needs(t, err == nil, "node is not on PATH (Debian: apt-get install nodejs)")
	page := readGuide(t, "applications/single-page.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	_, origin := origins(t, caddyfile)
	dir, port := t.TempDir(), freePort(t)
	for name, text := range map[string]string{
		"server.mjs": page.block(t, "## The server", "js"),
		"index.html": page.block(t, "## The page", "html"),
		"app.js":     page.block(t, "## The page", "js"),
		"worker.js":  page.block(t, "## The service worker", "js"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := exec.Command(node, filepath.Join(dir, "server.mjs"))
	server.Env = append(os.Environ(), "BOARD_KEY=a key of the application's", "BOARD_PORT="+port)
	testprogram.Listen(t, server, "127.0.0.1:"+port, os.Interrupt)

	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{"127.0.0.1:3000": "127.0.0.1:" + port}),
		path:    "/",
		shown:   `document.querySelector("#user").textContent`,
	}
	a.checkUsers(t, alice, zoe)

	const hasWorker = `navigator.serviceWorker.getRegistrations().then(all => { window.workers = all.length })`
	b := a.newTab(t)
	a.logIn(b, alice)
	a.wantUser(b, alice)
	b.script(hasWorker)
	poll(t, "the service worker", func() bool { b.script(hasWorker); return b.text(`window.workers`) == "1" })
	alices := b.text(`localStorage.getItem("token")`)
	if strings.Count(alices, ".") != 2 {
		t.Fatalf("the page has kept %q", alices)
	}
	t.Run("a link gets to the gateway through the service worker", func(t *testing.T) {
		a.logIn(b, zoe)
		a.wantUser(b, zoe)
		if got := b.text(`localStorage.getItem("token")`); got == alices {
			t.Error("the token of the former user is still there")
		}
	})
	t.Run("another user's token says nothing", func(t *testing.T) {
		b.script(fmt.Sprintf(`fetch("/api/me", {headers: {Authorization: "Bearer " + %q}}).then(r => { window.status = r.status })`, alices))
		poll(t, "the answer", func() bool { return b.text(`window.status`) == "403" })
	})
	t.Run("with a logout, the page, its token and its service worker are gone", func(t *testing.T) {
		a.logOut(b)
		if got := b.text(`localStorage.length`); got != "0" {
			t.Errorf("the page has kept %s", b.text(`JSON.stringify(localStorage)`))
		}
		b.script(hasWorker)
		poll(t, "the end of the service worker", func() bool { b.script(hasWorker); return b.text(`window.workers`) == "0" })
		a.wantNobody(b)
	})
	t.Run("a deactivated user's token is gone, too", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, zoe)
		a.wantUser(b, zoe)
		db.exec(t, "UPDATE auth_user SET is_active = 0 WHERE id = ?", zoe.id)
		defer db.exec(t, "UPDATE auth_user SET is_active = 1 WHERE id = ?", zoe.id)
		if status, _ := b.fetch("GET", "/api/me", "", ""); status != "401" {
			t.Errorf("the API answers %s", status)
		}
		poll(t, "the end of the token", func() bool { return b.text(`localStorage.getItem("token")`) == "null" })
	})
}
