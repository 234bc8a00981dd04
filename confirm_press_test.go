package sesame_test

import (
	"html"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestButtonCountsForItsBrowserTokenAndPage: what the button of another page sends
// shows the page again, also where nothing in the request tells that another site
// made it.
func TestButtonCountsForItsBrowserTokenAndPage(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("confirm always"))
	link := "/?sesame=" + tokenFor(t, alice)
	actionOf := func(b *browser, link string) string {
		b.get(t, link).wantStatus(t, http.StatusOK)
		return html.UnescapeString(formAction.FindStringSubmatch(b.last.body)[1])
	}
	attackers := actionOf(newBrowser(g), link)
	ownOrigin := []string{"Origin", "http://" + g.addr}
	for name, action := range map[string]func(b *browser) string{
		"of another browser's page": func(b *browser) string { actionOf(b, link); return attackers },
		"of the page for another token": func(b *browser) string {
			signature := actionOf(b, "/?sesame="+tokenFor(t, carol))
			_, signature, _ = strings.Cut(signature, "sesame_confirm=")
			given, _, _ := strings.Cut(actionOf(b, link), "sesame_confirm=")
			return given + "sesame_confirm=" + signature
		},
		"of the page before another user logged in": func(b *browser) string {
			action := actionOf(b, link)
			b.get(t, "/?sesame="+tokenFor(t, carol))
			b.press(t, ownOrigin...).wantStatus(t, http.StatusSeeOther)
			actionOf(b, link)
			return action
		},
		"with an empty cookie": func(b *browser) string {
			b.cookies["sesame-confirm"] = ""
			return link + "&sesame_confirm=" + strings.Repeat("A", 22)
		},
	} {
		for _, header := range [][]string{nil, ownOrigin} {
			b := newBrowser(g)
			pressed := action(b)
			before := b.cookies["sesame"]
			b.do(t, http.MethodPost, pressed, header...).wantStatus(t, http.StatusOK)
			if !formAction.MatchString(b.last.body) || b.cookies["sesame"] != before {
				t.Errorf("%s, with %q: %s, cookies %v", name, header, b.last.body, b.cookies)
			}
			b.press(t, ownOrigin...).wantStatus(t, http.StatusSeeOther)
			b.follow(t).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		}
	}
}

// TestButtonsCookieIsNamedAndSecuredAsTheSessions.
func TestButtonsCookieIsNamedAndSecuredAsTheSessions(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	for options, want := range map[string]string{
		"session {\n name app\n}":             "app-confirm=",
		"session {\n name app\n secure on\n}": "__Host-app-confirm=",
		"session":                             "sesame-confirm=",
		"":                                    "sesame-confirm=",
	} {
		g := startGateway(t, db, up, site{options: "confirm always\n" + options})
		page := newBrowser(g).get(t, "/?sesame="+tokenFor(t, alice))
		set := strings.Join(page.header["Set-Cookie"], "\n")
		if !strings.HasPrefix(set, want) || strings.Contains(set, "Secure") != strings.HasPrefix(want, "__Host-") || !strings.Contains(set, "Max-Age=3600; HttpOnly") {
			t.Errorf("with %q the page sets %q, want %s", options, set, want)
		}
	}
}

// TestStrictLinksInFramesShowNoButton: a page of the same site could place another
// picture over it.
func TestStrictLinksInFramesShowNoButton(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("confirm strict"))
	link := "/?sesame=" + tokenFor(t, alice)
	b := newBrowser(g)
	b.send(t, http.MethodGet, link, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe")
	if formAction.MatchString(b.last.body) || len(b.cookies) > 0 {
		t.Errorf("status %d, cookies %v: %s", b.last.status, b.cookies, b.last.body)
	}
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	b.get(t, link).wantStatus(t, http.StatusOK)
	b.press(t).wantStatus(t, http.StatusSeeOther)
	up.takeNone(t)
}

// TestStrictOneTimeLinksAreForGetAndPost: no other method uses one up.
func TestStrictOneTimeLinksAreForGetAndPost(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("confirm strict\none_time"))
	link := "/?sesame=" + tokenFor(t, alice, oneTime)
	refused := g.do(t, http.MethodDelete, link)
	refused.wantStatus(t, http.StatusMethodNotAllowed)
	wantHeader(t, refused.header, "Allow", "GET, HEAD, POST")
	wantHeader(t, refused.header, "Referrer-Policy", "no-referrer")
	b := newBrowser(g)
	b.do(t, http.MethodPost, link).wantStatus(t, http.StatusOK)
	b.press(t).wantStatus(t, http.StatusSeeOther)
	up.takeNone(t)
}

// TestRequestsWithTokensKeepTheirMethod, unless the button made them.
func TestRequestsWithTokensKeepTheirMethod(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	for _, options := range []string{"", "session", "confirm always"} {
		g := startGateway(t, db, up, site{options: options})
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			for _, uri := range []string{"/a", "/a?sesame=" + tokenFor(t, alice)} {
				g.do(t, method, uri, "Authorization", "Bearer "+tokenFor(t, alice), "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
				if got := up.takeOne(t); got.method != method || got.uri != "/a" || got.header.Get("Remote-User") != "alice" || got.header.Get("Origin") == "" {
					t.Errorf("%q: %s %s becomes %s %s of %q", options, method, uri, got.method, got.uri, got.header.Get("Remote-User"))
				}
			}
		}
	}
}

// TestLinkBesideASessionOfADeletedUserAsksNothing, though the session is for another
// scope, so that only its cookie says whose it is.
func TestLinkBesideASessionOfADeletedUserAsksNothing(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("scope {http.request.uri.path.0}"))
	b := newBrowser(g)
	b.openLink(t, "/a?sesame="+tokenAt(t, carol, "a", time.Now()))
	cookie := b.cookies["sesame"]
	b.get(t, "/b?sesame="+tokenAt(t, alice, "b", time.Now())).wantStatus(t, http.StatusOK) // carol exists
	db.mustExec(t, "DELETE FROM auth_user WHERE id = ?", carol.id)
	b.cookies["sesame"] = cookie
	b.get(t, "/b?sesame="+tokenAt(t, alice, "b", time.Now())).wantStatus(t, http.StatusSeeOther)
	b.follow(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	db.reset(t)
}

// TestLoginLeadsToTheURLBeforeRewrites, which is the one that the browser knows.
func TestLoginLeadsToTheURLBeforeRewrites(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, site{before: "rewrite * /index{uri}", options: "session"})
	b := newBrowser(g)
	b.get(t, "/a?x=1&sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
	wantHeader(t, b.last.header, "Location", "/a?x=1")
	up.takeNone(t)
	b.follow(t).wantStatus(t, http.StatusOK)
	if got := up.takeOne(t); got.uri != "/index/a?x=1" || got.header.Get("Remote-User") != "alice" {
		t.Errorf("the upstream got %s of %q", got.uri, got.header.Get("Remote-User"))
	}
}
