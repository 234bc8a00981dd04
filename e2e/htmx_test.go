package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// htmxFile is where the gate puts htmx in a version. It isn't a part of the repository.
func htmxFile(version string) string {
	return filepath.Join("..", ".cache", "htmx", version, "htmx.min.js")
}

// htmxPage are elements of an app that htmx makes requests for, and the listeners that
// the guide has.
const htmxPage = `<button id="get" hx-get="/part">Get</button>
<form hx-post="/save"><input name="text" value="typed"><button id="post">Save</button></form>`

const htmxListeners = `
	const told = (status, text) => document.body.dataset.told = status + " " + JSON.parse(text).login_url;
	document.body.addEventListener("htmx:responseError", (event) => told(event.detail.xhr.status, event.detail.xhr.responseText));
	document.body.addEventListener("htmx:response:error", (event) => told(event.detail.ctx.response.status, event.detail.ctx.text));`

// TestHTMXLeadsToTheLoginPage has htmx send requests after the session has ended: for a
// GET, the browser goes to the login page and comes back; a form stays on its page,
// which is told where to log in.
func TestHTMXLeadsToTheLoginPage(t *testing.T) {
	for _, version := range []string{"2", "4"} {
		t.Run(version, func(t *testing.T) {
			source, err := os.ReadFile(htmxFile(version))
			if err != nil {
				t.Skipf("htmx isn't in %s; .ci/run gets it from npm", htmxFile(version))
			}
			up := startUpstream(t)
			g := startLoginPageBefore(t, up, loginPage)
			b := newTab(t)
			b.expected = "console: error: " // by which htmx 2 tells of the 401
			b.endSession(g)
			up.take()
			b.do(chromedp.Evaluate[chromedp.Void](string(source) + "; window.htmx = htmx; undefined"))
			b.script("document.body.insertAdjacentHTML('beforeend', `" + htmxPage + "`); htmx.process(document.body);" + htmxListeners)

			b.do(chromedp.Click(chromedp.CSS("#post")))
			poll(t, "htmx's event", func() bool { return b.text(`document.body.dataset.told || ""`) != "" })
			if got := b.text(`document.body.dataset.told`); got != "401 /_sesame/login" {
				t.Errorf("the page of the form is told %q", got)
			}
			if got := b.url(); got != g.origin+"/" {
				t.Errorf("the form's page is left for %s", got)
			}

			b.click("#get")
			b.wantTitle("Log in to Example archive")
			if got := b.url(); !strings.HasPrefix(got, g.origin+"/_sesame/login") {
				t.Errorf("htmx leads to %s", got)
			}
			b.enterPassword("alice", "secret")
			b.wantUser("alice")
			for _, request := range up.take() {
				if request.uri == "/part" || request.uri == "/save" {
					t.Errorf("the app got %s %s", request.method, request.uri)
				}
			}
		})
	}
}
