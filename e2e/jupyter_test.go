package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// TestJupyter has Debian's Jupyter Notebook behind the gateway, configured as
// its guide says.
func TestJupyter(t *testing.T) {
	program, err := exec.LookPath("jupyter-notebook")
	needs(t, err == nil, "Jupyter Notebook isn't installed (Debian: apt-get install --no-install-recommends jupyter-notebook)")
	page := readGuide(t, "applications/jupyter.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	_, origin := origins(t, caddyfile)
	addr := startJupyter(t, program, page)

	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{"127.0.0.1:8888": addr, "\tsesame {\n": "\tsesame {\n\t\twatch 1s\n"}),
		path:    "/tree",
		// Jupyter shows no name: that its page is there, and whom the gateway names.
		shown: `(() => {
			const request = new XMLHttpRequest();
			request.open("GET", "/_sesame/whoami", false);
			request.send();
			return document.querySelector("#notebook_list .item_name").textContent && JSON.parse(request.responseText).username;
		})()`,
	}
	a.checkUsers(t, alice, carol)

	t.Run("a user who isn't named gets in nowhere", func(t *testing.T) {
		for _, uri := range []string{"/tree", "/api/contents", "/api/kernels", "/files/sum.ipynb"} {
			if status := a.status(t, uri, zoe); status != http.StatusForbidden {
				t.Errorf("%s is answered %d", uri, status)
			}
		}
	})
	t.Run("a kernel computes, and its WebSocket ends with the user", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, alice)
		b.open(a.origin + "/notebooks/sum.ipynb")
		poll(t, "the kernel", func() bool { return b.text(tolerant(`Jupyter.notebook.kernel.is_connected()`)) == "true" })
		b.script(`Jupyter.notebook.execute_all_cells()`)
		poll(t, "the sum", func() bool {
			return strings.Contains(b.text(tolerant(`document.querySelector(".output_area").innerText`)), "4242")
		})
		db.exec(t, "UPDATE auth_user SET is_active = 0 WHERE id = ?", alice.id)
		defer db.exec(t, "UPDATE auth_user SET is_active = 1 WHERE id = ?", alice.id)
		poll(t, "the end of the WebSocket", func() bool { return b.text(`Jupyter.notebook.kernel.is_connected()`) == "false" })
		if status, _ := b.fetch("GET", a.origin+"/api/kernels", "", ""); status != "401" {
			t.Errorf("the API answers %s", status)
		}
	})
	t.Run("its own logout is the gateway's", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, alice)
		b.open(a.origin + "/logout")
		b.wantTitle("Log out")
		b.click("button")
		a.wantNobody(b)
	})
	t.Run("Jupyter goes on to check for other sites", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, alice)
		b.open(a.origin + "/tree")
		if status, answer := b.fetch("POST", a.origin+"/api/contents", "application/json", `{"type":"notebook"}`); status != "403" || !strings.Contains(answer, "_xsrf") {
			t.Errorf("without Jupyter's token, a notebook is made: %s %s", status, answer)
		}
	})
}

// startJupyter runs Jupyter with the configuration of its guide, a notebook and
// the kernel of Debian's Python, and returns where it listens.
func startJupyter(t *testing.T, program string, page guide) (addr string) {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	text := placed(t, page.block(t, "## The configuration of Jupyter", "python"), map[string]string{"8888": port})
	for name, text := range map[string]string{
		"jupyter_notebook_config.py": text,
		"notebooks/sum.ipynb": `{"cells": [{"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [], "source": ["print('42' * 2)"]}],
			"metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}, "nbformat": 4, "nbformat_minor": 4}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr = "127.0.0.1:" + port
	server := exec.Command(program, "--allow-root", "--notebook-dir="+filepath.Join(dir, "notebooks"), "--config="+filepath.Join(dir, "jupyter_notebook_config.py"))
	server.Env = append(testprogram.PythonEnv(), "HOME="+dir, "JUPYTER_RUNTIME_DIR="+dir, "IPYTHONDIR="+dir)
	// With which it ends its kernels.
	testprogram.Listen(t, server, addr, syscall.SIGTERM)
	return addr
}
