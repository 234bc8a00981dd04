package sesame_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// TestLogoutPageLeadsWhereNextSays once its button is pressed, to pages of this site
// alone.
func TestLogoutPageLeadsWhereNextSays(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite(""))
	for uri, want := range map[string]string{
		"/_sesame/logout":                                "",
		"/_sesame/logout?next=/bye%3Fa%3D1%26b":          "/bye?a=1&b",
		"/_sesame/logout?next=//evil.example/":           "",
		"/_sesame/logout?next=https://evil.example/":     "",
		"/_sesame/logout?next=/bye%3Fsesame%3Dtoken%26a": "/bye?a",
	} {
		b := newBrowser(g)
		b.openLink(t, "/?sesame="+tokenFor(t, alice))
		b.get(t, uri).wantStatus(t, http.StatusOK)
		action := html.UnescapeString(formAction.FindStringSubmatch(b.last.body)[1])
		// The page's own query would be replaced: the action is relative to its path.
		answer := b.do(t, http.MethodPost, "/_sesame/logout"+action, "Origin", "http://"+g.addr)
		if got := answer.header.Get("Location"); got != want || (answer.status == http.StatusSeeOther) != (want != "") {
			t.Errorf("%s leads with %d to %q, want %q", uri, answer.status, got, want)
		}
		if len(b.cookies) > 0 {
			t.Errorf("%s: the browser keeps %v", uri, b.cookies)
		}
	}
	up.takeNone(t)
}

// TestLogoutOfAnotherSiteShowsTheButton to a user who came by a form, and none to a
// script.
func TestLogoutOfAnotherSiteShowsTheButton(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite(""))
	b := newBrowser(g)
	b.openLink(t, "/?sesame="+tokenFor(t, alice))
	for _, accept := range []string{"text/html", "application/json"} {
		b.exchange(t, http.MethodPost, "/_sesame/logout?next=/bye", []string{"Accept", accept, "Origin", "https://evil.example"})
		b.last.wantStatus(t, http.StatusForbidden)
		action := formAction.FindStringSubmatch(b.last.body)
		if (action != nil) != (accept == "text/html") || action != nil && html.UnescapeString(action[1]) != "?next=%2Fbye" || b.cookies["sesame"] == "" {
			t.Errorf("%s: %q, cookies %v", accept, b.last.body, b.cookies)
		}
	}
	b.do(t, http.MethodPut, "/_sesame/logout", "Origin", "http://"+g.addr).wantStatus(t, http.StatusMethodNotAllowed)
	wantHeader(t, b.last.header, "Allow", "GET, HEAD, POST")
	b.do(t, http.MethodHead, "/_sesame/logout").wantStatus(t, http.StatusOK)
	b.get(t, "/").wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
}

// TestLoginPageSendsUsersWhoAreLoggedInOn, unless they may not see the page or want
// another account.
func TestLoginPageSendsUsersWhoAreLoggedInOn(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	s := passwordSite(12)
	s.options += "\nlogin {\npassword\n}"
	g := startGateway(t, db, up, s)
	db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
	defer db.reset(t)
	b := newBrowser(g)
	b.get(t, "/_sesame/login?next=/page").wantStatus(t, http.StatusOK)
	if !formCSRF.MatchString(b.last.body) {
		t.Fatalf("no form for a user who isn't logged in: %s", b.last.body)
	}
	b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}}).wantStatus(t, http.StatusSeeOther)
	wantHeader(t, b.last.header, "Location", "/page")
	b.get(t, "/_sesame/login?next=/other").wantStatus(t, http.StatusSeeOther)
	wantHeader(t, b.last.header, "Location", "/other")
	b.get(t, "/_sesame/login?next=/other&switch").wantStatus(t, http.StatusOK)
	db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = ?", alice.id)
	b.get(t, "/_sesame/login?next=/other").wantStatus(t, http.StatusOK)
	up.takeNone(t)

	// A page that refuses a user leads here, and must not be led back to.
	db.reset(t)
	db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
	s.options += "\nrequire user carol"
	b = newBrowser(startGateway(t, db, up, s))
	b.openLink(t, "/?sesame="+tokenFor(t, carol))
	b.get(t, "/_sesame/login?next=/other").wantStatus(t, http.StatusSeeOther)
	db.mustExec(t, "UPDATE auth_user SET username = 'caroline' WHERE id = ?", carol.id)
	b.get(t, "/_sesame/login?next=/other").wantStatus(t, http.StatusOK)
	up.takeNone(t)
}

// TestWhoamiSaysHowLongASessionLasts, by the times in its cookie.
func TestWhoamiSaysHowLongASessionLasts(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, site{options: "session {\n max_age 2h\n}"})
	b := newBrowser(g)
	began := time.Now().Truncate(time.Second)
	b.openLink(t, "/?sesame="+tokenFor(t, alice))
	b.get(t, "/_sesame/whoami").wantStatus(t, http.StatusOK)
	wantHeader(t, b.last.header, "Content-Type", "application/json")
	var told struct {
		ID    string    `json:"id"`
		By    string    `json:"authenticated_by"`
		Since time.Time `json:"since"`
		Until time.Time `json:"until"`
	}
	if err := json.Unmarshal([]byte(b.last.body), &told); err != nil {
		t.Fatal(err)
	}
	if told.ID != "1" || told.By != "session" || told.Since.Before(began) || told.Since.After(time.Now()) || told.Until.Sub(told.Since) != 2*time.Hour {
		t.Errorf("%+v, from %s on", told, began)
	}
	// A token of the request says who it is, where there is no session.
	answer := g.get(t, "/_sesame/whoami", bearer(tokenFor(t, carol))...)
	answer.wantStatus(t, http.StatusOK)
	if !strings.Contains(answer.body, `"id":"3","username":"carol"`) || !strings.Contains(answer.body, `"authenticated_by":"token"`) || strings.Contains(answer.body, "since") {
		t.Error(answer.body)
	}
	refused := g.get(t, "/_sesame/whoami", "Accept", "text/html")
	refused.wantStatus(t, http.StatusUnauthorized)
	wantHeader(t, refused.header, "Content-Type", "application/json")
	for _, wrong := range []string{"nonsense", tokenAt(t, carol, "another scope", time.Now())} {
		refused := g.get(t, "/_sesame/whoami", bearer(wrong)...)
		refused.wantStatus(t, http.StatusUnauthorized)
		wantHeader(t, refused.header, "Content-Type", "application/json")
	}
	g.get(t, "/_sesame/nothing").wantStatus(t, http.StatusNotFound)
	up.takeNone(t)
}
