package sesame_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

var formMethod = regexp.MustCompile(`name="method" value="([^"]*)"`)

// startGatewayOfBoth starts a gateway whose page offers both methods.
func startGatewayOfBoth(t *testing.T, db *database, up *upstream, smtp *testsmtp.Server, atWork int) *gateway {
	t.Helper()
	g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
	s := mailingSite(smtp, "http://"+g.addr, passwordSite(atWork).options, "")
	s.options = strings.Replace(s.options, "email_link {", "password\nemail_link {", 1)
	loadCaddyfile(t, g.caddyfile(db, up, s))
	return g
}

// wantFirst opens the login page, and compares which form is the first.
func (b *browser) wantFirst(t *testing.T, method string) {
	t.Helper()
	b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
	methods := formMethod.FindAllStringSubmatch(b.last.body, -1)
	if len(methods) != 2 || methods[0][1] != method || methods[1][1] == method {
		t.Errorf("the forms are %q, want %s first", methods, method)
	}
}

// forgetSession is what a browser does with a session's cookie in time.
func (b *browser) forgetSession(t *testing.T) {
	t.Helper()
	if !b.isLoggedIn() {
		t.Fatalf("the browser isn't logged in: %d %s", b.last.status, b.last.body)
	}
	delete(b.cookies, "sesame")
}

// TestMethodUsedLastComesFirst, in the browser that has used it: after a password, a
// mailed code, and a mailed link with and without the button. The upstream gets
// nothing of it, and a browser that says nonsense the usual order.
func TestMethodUsedLastComesFirst(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		g := startGatewayOfBoth(t, db, up, smtp, 51)
		b := newBrowser(g)
		b.wantFirst(t, "password")
		sent := b.askForLink(t, "/_sesame/login", alice.email)
		mailed := readMail(t, smtp.WaitMail(t))
		b.wantFirst(t, "password")
		b.last = sent
		b.typeCode(t, mailed.code).wantStatus(t, http.StatusSeeOther)
		b.forgetSession(t)
		b.wantFirst(t, "email_link")

		b.fillPassword(t).wantStatus(t, http.StatusSeeOther)
		set := strings.Join(b.last.header["Set-Cookie"], "\n")
		if want := "sesame-method=password; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"; !strings.Contains(set, want) {
			t.Errorf("%s is missing in %s", want, set)
		}
		b.follow(t).wantStatus(t, http.StatusOK)
		if fields := up.takeOne(t).header["Cookie"]; strings.Contains(strings.Join(fields, ""), "sesame") {
			t.Errorf("the upstream gets %q", fields)
		}
		b.forgetSession(t)
		b.wantFirst(t, "password")

		b.askForLink(t, "/reports/7", alice.email)
		mailed = readMail(t, smtp.WaitMail(t))
		b.get(t, uriOf(t, mailed.link)).wantStatus(t, http.StatusSeeOther)
		b.forgetSession(t)
		b.wantFirst(t, "email_link")
		b.cookies["sesame-method"] = "token"
		b.wantFirst(t, "password")

		b.askForLink(t, "/reports/7", alice.email)
		phone := newBrowser(g)
		phone.get(t, uriOf(t, readMail(t, smtp.WaitMail(t)).link)).wantStatus(t, http.StatusOK)
		phone.press(t).wantStatus(t, http.StatusSeeOther)
		phone.forgetSession(t)
		phone.wantFirst(t, "email_link")
	})
}

// TestSharedComputerKeepsNoMethod of its last user.
func TestSharedComputerKeepsNoMethod(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		g := startGatewayOfBoth(t, db, up, smtp, 52)
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}, "length": {"shared"}}).wantStatus(t, http.StatusSeeOther)
		if kept, ok := b.cookies["sesame-method"]; ok {
			t.Errorf("the browser keeps %q", kept)
		}
	})
}
