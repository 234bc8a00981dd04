package sesame_test

import (
	"html"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// asChrome is what Chrome sends with a page over plain HTTP, where it says
// nothing of the page before.
var asChrome = []string{
	"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
	"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
}

// forced are requests that a page of another origin makes its visitor's browser
// send, without the visitor having clicked anything.
var forced = map[string]struct {
	method string
	header []string
}{
	"a form that hides its origin":                {http.MethodPost, []string{"Origin", "null"}},
	"a form of another site":                      {http.MethodPost, []string{"Origin", "https://evil.example"}},
	"a form of a sibling host":                    {http.MethodPost, []string{"Origin", "http://sibling.example.com"}},
	"a form of another port":                      {http.MethodPost, []string{"Origin", "http://app.example.com:1"}},
	"a form over HTTPS":                           {http.MethodPost, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
	"a form of a sibling host over HTTPS":         {http.MethodPost, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
	"a GET that says its origin":                  {http.MethodGet, []string{"Origin", "null"}},
	"a frame":                                     {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
	"a frame of the own site":                     {http.MethodGet, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
	"an object":                                   {http.MethodGet, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object"}},
	"an image over HTTP":                          {http.MethodGet, []string{"Accept", "image/avif,image/webp,*/*;q=0.8"}},
	"a script's fetch over HTTP":                  {http.MethodGet, []string{"Accept", "*/*"}},
	"an image over HTTPS":                         {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "image/*"}},
	"a WebSocket of a page that hides its origin": {http.MethodGet, []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "null"}},
}

// TestForcedRequestsStartNoSession has a page of another origin send carol's token,
// in a browser where alice or no user is logged in.
func TestForcedRequestsStartNoSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for _, options := range []string{"", "confirm always", "confirm off", "one_time"} {
			db.reset(t)
			g := startGateway(t, db, up, sessionSite(options))
			changes := oneTimeIf(options == "one_time")
			alices := newBrowser(g)
			alices.openLink(t, "/?sesame="+tokenFor(t, alice, changes...))
			link := "/?sesame=" + tokenFor(t, carol, changes...)
			for name, request := range forced {
				for _, b := range []*browser{newBrowser(g), alices} {
					before := b.cookies["sesame"]
					b.send(t, request.method, link, request.header...)
					if got := b.cookies["sesame"]; got != before {
						t.Errorf("%q, %s: the session was %q, it is %q (status %d)", options, name, before, got, b.last.status)
					}
				}
			}
			up.take()
			alices.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			// None of these requests used up a one-time token.
			b := newBrowser(g)
			b.openLink(t, link)
			b.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
		}
	})
}

// TestForcedRequestsDontPressTheButton plants the cookie of the attacker's own
// page in the victim's browser, as a sibling host can over HTTP.
func TestForcedRequestsDontPressTheButton(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for _, options := range []string{"confirm always", "one_time"} {
			db.reset(t)
			g := startGateway(t, db, up, sessionSite(options))
			changes := oneTimeIf(options == "one_time")
			attacker := newBrowser(g)
			attacker.get(t, "/?sesame="+tokenFor(t, carol, changes...))
			action := html.UnescapeString(formAction.FindStringSubmatch(attacker.last.body)[1])
			victim := newBrowser(g)
			victim.openLink(t, "/?sesame="+tokenFor(t, alice, changes...))
			victim.cookies["sesame-confirm"] = attacker.cookies["sesame-confirm"]
			for name, request := range forced {
				if request.method == http.MethodPost {
					victim.send(t, request.method, action, request.header...)
					if formAction.MatchString(victim.last.body) && !strings.Contains(victim.last.body, "Switch to another account?") {
						t.Errorf("%q, %s: the page doesn't warn: %s", options, name, victim.last.body)
					}
				}
			}
			up.take()
			victim.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		}
	})
}

// TestPagesOfOtherOriginsCantLogOut keeps the user logged in; requests of the own
// origin and of programs log out.
func TestPagesOfOtherOriginsCantLogOut(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(g)
		b.openLink(t, "/?sesame="+tokenFor(t, alice))
		for name, request := range forced {
			if request.method != http.MethodPost {
				continue
			}
			b.send(t, http.MethodPost, "/_sesame/logout", request.header...)
			if b.last.status != http.StatusForbidden || len(b.cookies) == 0 {
				t.Errorf("%s: status %d, cookies %v", name, b.last.status, b.cookies)
			}
			b.get(t, "/").wantStatus(t, http.StatusOK)
		}
		for name, header := range map[string][]string{
			"the own origin":                    {"Origin", "http://" + g.addr},
			"the own origin over HTTPS":         {"Sec-Fetch-Site", "same-origin", "Origin", "null"},
			"a program, which says no origin":   nil,
			"a reload, which the user asks for": {"Sec-Fetch-Site", "none"},
		} {
			b.openLink(t, "/?sesame="+tokenFor(t, alice))
			b.send(t, http.MethodPost, "/_sesame/logout", header...)
			b.get(t, "/")
			if b.last.status != http.StatusUnauthorized {
				t.Errorf("%s: still logged in", name)
			}
		}
	})
}

// TestRequestsThatLogIn come from the own origin, or open a link.
func TestRequestsThatLogIn(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		for name, test := range map[string]struct {
			method string
			header []string
		}{
			"a click on a link of another site": {http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
			"a click over HTTP":                 {http.MethodGet, nil},
			"a form of the own site":            {http.MethodPost, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"}},
			"a form of the own site over HTTP":  {http.MethodPost, []string{"Origin", "http://" + g.addr}},
		} {
			b := newBrowser(g)
			b.send(t, test.method, "/?sesame="+tokenFor(t, alice), test.header...)
			up.take()
			b.get(t, "/")
			if requests := up.take(); len(requests) != 1 || requests[0].header.Get("Remote-User") != "alice" {
				t.Errorf("%s: not logged in, status %d", name, b.last.status)
			}
		}
		// A program that posts is let in by its token, and keeps no cookie.
		b := newBrowser(g)
		b.send(t, http.MethodPost, "/?sesame="+tokenFor(t, alice))
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		if len(b.cookies) > 0 {
			t.Errorf("a POST that doesn't say where it is from starts a session: %v", b.cookies)
		}
	})
}

// TestTwoTabsWithTheButton has the page open twice.
func TestTwoTabsWithTheButton(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		const warning = "Switch to another account?"
		wantUser := func(b *browser, name string) {
			t.Helper()
			up.take()
			b.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", name)
		}
		t.Run("links of one user", func(t *testing.T) {
			b := newBrowser(startGateway(t, db, up, sessionSite("")))
			b.openLink(t, "/?sesame="+tokenFor(t, alice))
			first := b.get(t, "/1?sesame="+tokenFor(t, carol))
			second := b.get(t, "/2?sesame="+tokenFor(t, carol))
			for path, page := range map[string]*response{"/1": first, "/2": second} {
				b.last = page
				b.press(t).wantStatus(t, http.StatusSeeOther)
				wantHeader(t, b.last.header, "Location", path)
			}
			wantUser(b, "carol")
		})
		t.Run("links of two users", func(t *testing.T) {
			b := newBrowser(startGateway(t, db, up, sessionSite("confirm always")))
			first := b.get(t, "/1?sesame="+tokenFor(t, alice))
			second := b.get(t, "/2?sesame="+tokenFor(t, carol))
			b.last = first
			b.press(t).wantStatus(t, http.StatusSeeOther)
			wantUser(b, "alice")
			b.last = second // which says nothing of alice
			if page := b.press(t); page.status != http.StatusOK || !strings.Contains(page.body, warning) || !strings.Contains(page.body, "alice") {
				t.Errorf("alice's session isn't named: %d %s", page.status, page.body)
			}
			warned := b.last
			wantUser(b, "alice")
			b.last = warned
			b.press(t).wantStatus(t, http.StatusSeeOther)
			wantUser(b, "carol")
		})
		t.Run("a token for one use, twice", func(t *testing.T) {
			db.reset(t)
			b := newBrowser(startGateway(t, db, up, sessionSite("one_time")))
			link := "/?sesame=" + tokenFor(t, carol, oneTime)
			first, second := b.get(t, link), b.get(t, link)
			for _, page := range []*response{first, second} {
				b.last = page
				b.press(t).wantStatus(t, http.StatusSeeOther)
			}
			wantUser(b, "carol")
		})
	})
}

// TestPressingClearsTheConfirmCookie: the cookie is for one press.
func TestPressingClearsTheConfirmCookie(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		b := newBrowser(startGateway(t, db, up, sessionSite("confirm always")))
		b.get(t, "/?sesame="+tokenFor(t, alice))
		if b.cookies["sesame-confirm"] == "" {
			t.Fatal("the page sets no cookie")
		}
		page := b.last
		b.press(t).wantStatus(t, http.StatusSeeOther)
		if _, ok := b.cookies["sesame-confirm"]; ok {
			t.Error("the browser keeps the cookie")
		}
		// Without the cookie, the button of the old page no longer works.
		other := newBrowser(b.gateway)
		other.last = page
		other.press(t).wantStatus(t, http.StatusOK)
		up.takeNone(t)
	})
}

// TestSessionForAnotherScopeIsReplacedByTheButtonOnly: the cookie is the same.
func TestSessionForAnotherScopeIsReplacedByTheButtonOnly(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		b := newBrowser(startGateway(t, db, up, sessionSite("scope {http.request.uri.path.0}")))
		b.openLink(t, "/a?sesame="+tokenAt(t, alice, "a", time.Now()))
		b.get(t, "/b?sesame="+tokenAt(t, carol, "b", time.Now())).wantStatus(t, http.StatusOK)
		if !strings.Contains(b.last.body, "alice") || !strings.Contains(b.last.body, "carol") {
			t.Errorf("the page doesn't say who is who: %s", b.last.body)
		}
		b.press(t).wantStatus(t, http.StatusSeeOther)
		b.get(t, "/b").wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
		// The user's own session for another page needs no question.
		b.get(t, "/a?sesame="+tokenAt(t, carol, "a", time.Now())).wantStatus(t, http.StatusSeeOther)
	})
}

// TestScriptsGetNoHTML: a request that doesn't navigate gets no page, whatever it
// accepts.
func TestScriptsGetNoHTML(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("one_time"))
		const accept = "text/html,application/xhtml+xml,application/json;q=0.1,*/*;q=0.8"
		link := "/?sesame=" + tokenFor(t, alice, oneTime)
		for _, mode := range []string{"cors", "no-cors", "same-origin", "websocket"} {
			header := []string{"Accept", accept, "Sec-Fetch-Mode", mode, "Sec-Fetch-Site", "same-origin"}
			for path, status := range map[string]int{"/": 401, "/?sesame=bad": 401, "/_sesame/logout": 200, link: 204} {
				answer := g.get(t, path, header...)
				answer.wantStatus(t, status)
				if kind := answer.header.Get("Content-Type"); status != http.StatusNoContent && kind != "application/json" {
					t.Errorf("%s of mode %s: %s", path, mode, kind)
				}
			}
		}
		b := newBrowser(g) // the token is still good
		b.openLink(t, link)
		b.get(t, "/").wantStatus(t, http.StatusOK)
	})
}

// TestLocationIsASCII asks for paths that aren't ASCII.
func TestLocationIsASCII(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		made := tokenFor(t, alice)
		for target, want := range map[string]string{
			"/grün?ü=%C3%BC&sesame=" + made:                          "/gr%C3%BCn?%C3%BC=%C3%BC",
			"/\xff\xe4?sesame=" + made:                               "/%FF%E4",
			"/_sesame/login?next=/gr%C3%BCn%23%C3%A4&sesame=" + made: "/gr%C3%BCn#%C3%A4",
			"/a%2Fb/~x!'()*?sesame=" + made:                          "/a%2Fb/~x!'()*",
		} {
			answer := g.rawAnswer(t, "GET "+target+" HTTP/1.1\nHost: app.example.com\nConnection: close\n\n")
			if got := answer.Header.Get("Location"); got != want {
				t.Errorf("%s leads to %q, want %q", target, got, want)
			}
		}
	})
}

// TestReservedPagesOfOtherMethods expects 405, and Allow with the page's methods.
func TestReservedPagesOfOtherMethods(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("assertion {\n audience app\n}"))
		cookie := sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, alice)))
		for path, allow := range map[string]string{"/_sesame/logout": "GET, HEAD, POST", "/_sesame/jwks.json": "GET, HEAD"} {
			for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
				answer := g.do(t, method, path, "Cookie", cookie)
				answer.wantStatus(t, http.StatusMethodNotAllowed)
				wantHeader(t, answer.header, "Allow", allow)
				wantHeader(t, answer.header, "Set-Cookie", "")
			}
		}
		up.takeNone(t)
		g.get(t, "/", "Cookie", cookie).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	})
}

// oneTimeIf returns the option one_time if a test needs it.
func oneTimeIf(is bool) []func(*token.Settings) {
	if is {
		return []func(*token.Settings){oneTime}
	}
	return nil
}

// openLink opens a link as a browser does over HTTP, and presses the button if
// there is one.
func (b *browser) openLink(t *testing.T, link string) {
	t.Helper()
	if b.send(t, http.MethodGet, link); b.last.status == http.StatusOK {
		b.press(t)
	}
	b.last.wantStatus(t, http.StatusSeeOther)
}

// send sends what Chrome would, with the fields in the place of its own.
func (b *browser) send(t *testing.T, method, uri string, header ...string) *response {
	t.Helper()
	var fields []string
	for i := 0; i < len(asChrome); i += 2 {
		if !slices.Contains(header, asChrome[i]) {
			fields = append(fields, asChrome[i], asChrome[i+1])
		}
	}
	return b.exchange(t, method, uri, append(fields, header...))
}

// TestPagesOfOtherOriginsCannotActWithASession where check_origin is on, as it is with
// same_site none, and where the application leaves it to the gateway.
func TestPagesOfOtherOriginsCannotActWithASession(t *testing.T) {
	requests := []struct {
		name, method string
		header       []string
		isRejected   bool // where the origin is checked
	}{
		{"a form of the site", http.MethodPost, []string{"Origin", "ORIGIN"}, false},
		{"a form of the site over HTTPS", http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, false},
		{"a form of another site", http.MethodPost, []string{"Origin", "https://evil.example"}, true},
		{"a form of a sibling host", http.MethodPost, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://sibling.example.com"}, true},
		{"a form that hides its origin", http.MethodPost, []string{"Origin", "null"}, true},
		{"a program's request", http.MethodDelete, nil, true},
		{"a WebSocket of another site", http.MethodGet, []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "https://evil.example"}, true},
		{"a link on another site", http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, false},
		{"an image on another site", http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		{"a script's question of another site", http.MethodHead, []string{"Origin", "https://evil.example"}, false},
	}
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for options, isChecked := range map[string]bool{
			"": false, "same_site none": true, "same_site None\npartitioned on": true, "same_site none\ncheck_origin off": false,
			"check_origin on": true, "same_site none\ntable sesame_session": true,
		} {
			g := startGateway(t, db, up, site{options: "session {\nsecure on\n" + options + "\n}"})
			answer := g.get(t, "/?sesame="+tokenFor(t, alice))
			_, value, _ := strings.Cut(answer.header.Get("Set-Cookie"), "=")
			value, _, _ = strings.Cut(value, ";")
			cookie := []string{"Cookie", "__Host-sesame=" + value}
			for _, request := range requests {
				header := slices.Clone(request.header)
				if i := slices.Index(header, "ORIGIN"); i >= 0 {
					header[i] = "http://" + g.addr
				}
				up.take()
				got := g.do(t, request.method, "/reports/7", append(header, cookie...)...)
				if isChecked && request.isRejected {
					if got.status != http.StatusForbidden {
						t.Errorf("%q: %s: status %d", options, request.name, got.status)
					}
					up.takeNone(t)
					continue
				}
				if user := up.takeOne(t).header.Get("Remote-User"); got.status == http.StatusForbidden || user != "alice" {
					t.Errorf("%q: %s: status %d, user %q", options, request.name, got.status, user)
				}
			}
			if logged := strings.Contains(string(g.log(t)), `"reason":"cross_site"`); logged != isChecked {
				t.Errorf("%q: the log says cross_site: %t", options, logged)
			}
			// A token that is sent on purpose is no session.
			g.do(t, http.MethodPost, "/reports/7", append([]string{"Authorization", "Bearer " + tokenFor(t, alice), "Origin", "https://evil.example"}, cookie...)...).wantStatus(t, http.StatusOK)
		}
	})
}
