package sesame_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

var (
	formCSRF = regexp.MustCompile(`name="csrf" value="([^"]*)"`)
	formTold = regexp.MustCompile(`name="told" value="([^"]*)"`)
)

// fill sends a form of the login page that the browser shows. header replaces the
// page's Origin.
func (b *browser) fill(t *testing.T, fields url.Values, header ...string) *response {
	t.Helper()
	action, csrf := formAction.FindStringSubmatch(b.last.body), formCSRF.FindStringSubmatch(b.last.body)
	if action == nil || csrf == nil {
		t.Fatalf("the page has no form: %s", b.last.body)
	}
	fields.Set("csrf", html.UnescapeString(csrf[1]))
	if told := formTold.FindStringSubmatch(b.last.body); told != nil {
		fields.Set("told", html.UnescapeString(told[1]))
	}
	if len(header) == 0 {
		header = []string{"Origin", "http://" + b.gateway.addr}
	}
	header = append(header, asBrowser...)
	header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	return b.exchangeBody(t, http.MethodPost, html.UnescapeString(action[1]), fields.Encode(), header)
}

// TestLoginByPasswordLeadsToTheRequestedPage: the refusal shows the form, a wrong
// password shows it again, and the right one begins a session.
func TestLoginByPasswordLeadsToTheRequestedPage(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(12)
		s.options += "\nlogin {\npassword\n}"
		g := startGateway(t, db, up, s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		b := newBrowser(g)
		b.get(t, "/reports/7?x=1").wantStatus(t, http.StatusUnauthorized)
		form := url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"wrong"}}
		b.fill(t, form).wantStatus(t, http.StatusUnauthorized)
		form.Set("password", "secret")
		b.fill(t, form).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/reports/7?x=1")
		up.takeNone(t)
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	})
}

// TestFormOfAnotherSiteLogsNobodyIn: neither with the attacker's own CSRF field, nor
// with the right one and a foreign Origin.
func TestFormOfAnotherSiteLogsNobodyIn(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(13)
		s.options += "\nlogin {\npassword\n}"
		g := startGateway(t, db, up, s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		attacker, victim := newBrowser(g), newBrowser(g)
		form := url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}}
		victim.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		victim.fill(t, form, "Origin", "https://evil.example").wantStatus(t, http.StatusForbidden)
		attacker.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		victim.last = attacker.last
		victim.fill(t, form).wantStatus(t, http.StatusForbidden)
		if _, ok := victim.cookies["sesame"]; ok {
			t.Error("the victim is logged in")
		}
		up.takeNone(t)
	})
}
