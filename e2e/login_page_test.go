package e2e_test

import (
	"crypto/md5" //nolint:gosec // a hasher of Django's that takes no time
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// loginPage is a site with a login page.
const loginPage = "password {\n hashers md5\n second_factor ignore\n}\nlogin {\n password\n remember 30d\n}\npages {\n name \"Example archive\"\n}"

// startLoginPage starts a gateway with a login page. Alice has the password secret.
func startLoginPage(t *testing.T, options string) *gateway {
	t.Helper()
	return startLoginPageBefore(t, startUpstream(t), options)
}

// startLoginPageBefore is startLoginPage in front of an upstream.
func startLoginPageBefore(t *testing.T, up *upstream, options string) *gateway {
	t.Helper()
	g := startGateway(t, up, site{options: options})
	db.exec(t, "UPDATE auth_user SET password = ? WHERE id = ?", fmt.Sprintf("md5$salt$%x", md5.Sum([]byte("saltsecret"))), alice.id) //nolint:gosec // see the import
	return g
}

// enter types a text into a field, in the place of what is there.
func (b *tab) enter(selector, text string) {
	b.t.Helper()
	b.script(fmt.Sprintf("document.querySelector(%q).value = ''", selector))
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// submit presses Enter in a field.
func (b *tab) submit(selector string) {
	b.t.Helper()
	b.load(chromedp.SendKeys(chromedp.CSS(selector), kb.Enter))
}

// enterPassword fills in the form for a name and a password.
func (b *tab) enterPassword(name, password string) {
	b.t.Helper()
	b.enter("[name=identifier]", name)
	b.enter("[name=password]", password)
	b.submit("[name=password]")
}

// wantError fails the test unless a field has an error beside it, which a screen
// reader reads with the field.
func (b *tab) wantError(selector string) {
	b.t.Helper()
	got := b.text(`(() => {
		const field = document.querySelector("` + selector + `");
		const about = (field.getAttribute("aria-describedby") || "").split(" ").map(id => document.getElementById(id)?.textContent || "");
		return field.getAttribute("aria-invalid") + ": " + about.join(" ").trim();
	})()`)
	if !strings.HasPrefix(got, "true: ") || len(got) < len("true: x") {
		b.t.Errorf("the field %s says %q, not that it is wrong and why", selector, got)
	}
}

// TestPasswordLeadsToTheRequestedPage logs in on the page that stands in the place
// of the one that was asked for, with the keyboard alone and without JavaScript.
func TestPasswordLeadsToTheRequestedPage(t *testing.T) {
	g := startLoginPage(t, loginPage)
	b := newTab(t)
	b.withoutScripts()
	b.open(g.origin + "/reports/7?x=1")
	b.wantTitle("Log in to Example archive")
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("alice"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("wrong"))
	b.load(chromedp.KeyEvent(kb.Enter))
	b.wantError("[name=password]")
	if got := b.text(`document.querySelector("[name=identifier]").value + "|" + document.querySelector("[name=password]").value`); got != "alice|" {
		t.Errorf("after a wrong password, the fields have %q, want the name alone", got)
	}
	b.enter("[name=password]", "secret")
	b.submit("[name=password]")
	b.wantUser("alice")
	if got, want := b.url(), g.origin+"/reports/7?x=1"; got != want {
		t.Errorf("the address bar shows %s, want %s", got, want)
	}
	b.open(g.origin + "/_sesame/login?next=/reports/8")
	b.wantUser("alice") // the browser is logged in, and goes on
}

// TestSessionLastsAsChosen looks at the session's cookie, which tells the browser
// whether to keep it.
func TestSessionLastsAsChosen(t *testing.T) {
	g := startLoginPage(t, loginPage)
	for choice, lasts := range map[string]time.Duration{"": 12 * time.Hour, "remember": 30 * 24 * time.Hour, "shared": 0} {
		b := newTab(t)
		b.open(g.origin + "/")
		if choice != "" {
			b.do(chromedp.Click(chromedp.CSS("[value=" + choice + "]")))
		}
		b.enterPassword("alice", "secret")
		b.wantUser("alice")
		found := false
		for _, cookie := range call(b, network.GetCookies, network.GetCookiesParams{}).Cookies {
			if cookie.Name != "__Host-sesame" {
				continue
			}
			found = true
			left := time.Until(time.Unix(int64(cookie.Expires), 0))
			if cookie.Session != (lasts == 0) || lasts != 0 && (left > lasts || left < lasts-time.Hour) {
				t.Errorf("with the choice %q, the browser keeps the session for %s (for the browser's session: %t), want %s", choice, left, cookie.Session, lasts)
			}
		}
		if !found {
			t.Errorf("with the choice %q, there is no session", choice)
		}
	}
}

// TestLoginPageOnEveryScreen looks at the page, with an error and without.
func TestLoginPageOnEveryScreen(t *testing.T) {
	g := startLoginPage(t, loginPage)
	b := newTab(t)
	b.open(g.origin + "/")
	b.look("login")
	b.enterPassword("alice", "wrong")
	b.wantError("[name=password]")
	b.look("login-wrong")
}
