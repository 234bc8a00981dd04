package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// TestNodeRED has the Node-RED of node-red/package.json behind the gateway,
// configured as its guide says.
func TestNodeRED(t *testing.T) {
	program, err := filepath.Abs("../.cache/node-red/node_modules/node-red/red.js")
	if err != nil {
		t.Fatal(err)
	}
	if !exists(program) {
		t.Skip("Node-RED isn't installed: mkdir -p .cache/node-red && cp e2e/node-red/*.json .cache/node-red && npm ci --prefix .cache/node-red --omit=optional --ignore-scripts")
	}
	page := readGuide(t, "applications/node-red.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	_, origin := origins(t, caddyfile)
	t.Setenv("NODE_RED_SECRET", "a secret of both")
	addr := startNodeRED(t, program, page)

	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{"127.0.0.1:1880": addr, "\tsesame {\n": "\tsesame {\n\t\twatch 1s\n"}),
		path:    "/",
		shown:   `document.querySelector("#usermenu-item-username b").textContent`,
	}
	a.checkUsers(t, alice, zoe)

	t.Run("the editor's WebSocket tells of a deployment, and ends with the user", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, zoe)
		a.wantUser(b, zoe)
		b.script(`window.heard = []; RED.comms.subscribe("notification/#", (topic, message) => heard.push(topic))`)
		b.script(`window.connection = new WebSocket(location.origin.replace("http", "ws") + "/comms"); connection.onclose = () => { window.isOver = true };
			connection.onopen = () => { window.isOpen = true }`)
		poll(t, "the WebSocket", func() bool { return b.text(`window.isOpen`) == "true" })
		if status, answer := b.fetch("POST", "/flows", "application/json", "[]"); status != "204" {
			t.Fatalf("the deployment is answered %s: %s", status, answer)
		}
		poll(t, "the news of the deployment", func() bool {
			return strings.Contains(b.text(`heard.join()`), "notification/runtime-deploy")
		})
		db.exec(t, "UPDATE auth_user SET is_active = 0 WHERE id = ?", zoe.id)
		defer db.exec(t, "UPDATE auth_user SET is_active = 1 WHERE id = ?", zoe.id)
		poll(t, "the end of the WebSocket", func() bool { return b.text(`window.isOver`) == "true" })
		poll(t, "the editor to notice", func() bool { return strings.Contains(b.text(`document.body.innerText`), "Lost connection to server") })
	})
	b := a.newTab(t)
	a.logIn(b, zoe)
	a.wantUser(b, zoe)
	t.Run("neither its API for tokens nor its WebSocket makes a user another one", func(t *testing.T) {
		if status, answer := b.fetch("POST", "/auth/token", "application/json",
			`{"client_id":"node-red-editor","grant_type":"password","scope":"*","username":"alice","password":"x"}`); status != "403" {
			t.Errorf("a token is asked for with a password, and the answer is %s: %s", status, answer)
		}
		b.script(`window.said = []; const socket = new WebSocket(location.origin.replace("http", "ws") + "/comms");
			socket.onmessage = e => said.push(e.data); socket.onopen = () => socket.send(JSON.stringify({auth: "alice"}))`)
		poll(t, "the answer to another user's name", func() bool { return b.text(`said.join()`) == `{"auth":"fail"}` })
	})
	t.Run("its own logout is the gateway's", func(t *testing.T) {
		b.load(evaluate(`RED.user.logout()`))
		b.wantTitle("Log out")
		b.click("button")
		a.wantNobody(b)
	})
	t.Run("a program that passes the gateway by is no user", func(t *testing.T) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/flows", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Node-Red-User", "alice")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("it is answered %s", answer.Status)
		}
	})
}

// startNodeRED runs Node-RED with the settings of its guide, and returns where
// it listens.
func startNodeRED(t *testing.T, program string, page guide) (addr string) {
	t.Helper()
	node, err := exec.LookPath("node")
	needs(t, err == nil, "node is not on PATH (Debian: apt-get install nodejs)")
	dir, port := t.TempDir(), freePort(t)
	settings := filepath.Join(dir, "settings.js")
	text := placed(t, page.block(t, "## The settings of Node-RED", "js"), map[string]string{
		"uiPort: 1880": "uiPort: " + port,
		// Nothing leaves this machine.
		"module.exports = {\n": "module.exports = {\n    telemetry: { enabled: false, updateNotification: false },\n    externalModules: { palette: { allowInstall: false } },\n",
		"editorTheme: {":       "editorTheme: { tours: false,",
	})
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr = "127.0.0.1:" + port
	testprogram.Listen(t, exec.Command(node, program, "--userDir", dir, "--settings", settings), addr, os.Interrupt)
	return addr
}
