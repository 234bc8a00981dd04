package e2e_test

import (
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// endSession logs in, and has the browser lose its cookies while it shows the app.
func (b *tab) endSession(g *gateway) {
	b.t.Helper()
	b.open(g.origin + "/")
	b.enterPassword("alice", "secret")
	b.wantUser("alice")
	b.awaitScripts()
	call(b, network.ClearBrowserCookies, cdp.Empty{})
}

// TestFormIsSentAgainAfterTheLogin posts a form of the app after the session has
// ended: nothing reaches the app before the user has logged in and pressed a button.
func TestFormIsSentAgainAfterTheLogin(t *testing.T) {
	up := startUpstream(t)
	g := startLoginPageBefore(t, up, loginPage)
	b := newTab(t)
	b.endSession(g)
	up.take()
	b.script(`document.body.insertAdjacentHTML("beforeend", '<form method="post" action="/save?x=1"><input name="text" value="a &amp; b"><button id="save">Save</button></form>')`)
	b.click("#save")
	b.enterPassword("alice", "secret")
	b.wantTitle("Send it again? – Example archive")
	for _, request := range up.take() {
		if request.method != "GET" {
			t.Errorf("the app got %s %s before the button was pressed", request.method, request.uri)
		}
	}
	b.look("repost")
	b.click("main button")
	b.wantUser("alice")
	found := false
	for _, request := range up.take() {
		found = found || request.method == "POST" && request.uri == "/save?x=1" && request.header.Get("Remote-User") == "alice"
	}
	if !found {
		t.Error("the app didn't get the form")
	}
}

// TestScriptIsToldWhereToLogIn has a script of the app ask for something after the
// session has ended.
func TestScriptIsToldWhereToLogIn(t *testing.T) {
	g := startLoginPage(t, loginPage)
	b := newTab(t)
	b.endSession(g)
	got := ask(b, chromedp.Evaluate[string](`fetch("/data.json").then(r => r.json().then(told => r.status + " " + told.login_url))`, chromedp.EvalAwaitPromise))
	if got != "401 /_sesame/login" {
		t.Errorf("the script is told %q", got)
	}
}
