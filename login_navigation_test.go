package sesame_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// TestBrowserWithoutCookiesIsToldSo, whichever cookie it rejects, and isn't sent
// round in circles.
func TestBrowserWithoutCookiesIsToldSo(t *testing.T) {
	g, up, db := startRepost(t, 51)
	loadCaddyfile(t, g.caddyfile(db, up, site{options: strings.Replace(withLogin(51).options, "login {", "login {\nredirect on", 1)}))
	const told = "keep the cookies of this site"
	b := newBrowser(g)
	b.get(t, "/a?x=1").wantStatus(t, http.StatusSeeOther)
	wantHeader(t, b.last.header, "Location", "/_sesame/login?next=%2Fa%3Fx%3D1")
	b.follow(t).wantStatus(t, http.StatusOK)
	page, tie := b.last, b.cookies["sesame-confirm"]
	b.cookies = map[string]string{}
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusForbidden)
	if !strings.Contains(b.last.body, told) {
		t.Errorf("the page doesn't speak of cookies: %s", b.last.body)
	}

	b.last, b.cookies["sesame-confirm"] = page, tie
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
	session := b.cookies["sesame"]
	delete(b.cookies, "sesame")
	b.follow(t).wantStatus(t, http.StatusUnauthorized)
	if !strings.Contains(b.last.body, told) {
		t.Errorf("the page doesn't speak of cookies: %s", b.last.body)
	}
	up.takeNone(t)

	// A logout isn't a rejected cookie.
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
	if session == "" || b.cookies["sesame"] == "" {
		t.Fatalf("no session: %v", b.cookies)
	}
	b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
	b.get(t, "/a").wantStatus(t, http.StatusSeeOther)
}

// TestOnlyBrowsersThatAskForAPageAreSentToTheLoginPage: no other request gets the
// page, or its cookie.
func TestOnlyBrowsersThatAskForAPageAreSentToTheLoginPage(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	s := withLogin(52)
	s.options = strings.Replace(s.options, "login {", "login {\nredirect on", 1)
	g := startGateway(t, db, up, s)
	navigation := append([]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document"}, asBrowser...)
	image := []string{"Accept", "image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Sec-Fetch-Site", "same-origin"}
	frame := append([]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "iframe"}, asBrowser...)
	for name, test := range map[string]struct {
		method string
		header []string
		status int
		shows  bool
	}{
		"the address bar":     {http.MethodGet, navigation, http.StatusSeeOther, false},
		"HEAD":                {http.MethodHead, navigation, http.StatusUnauthorized, false},
		"a prefetch":          {http.MethodGet, append([]string{"Sec-Purpose", "prefetch;prerender"}, navigation...), http.StatusUnauthorized, true},
		"an image":            {http.MethodGet, image, http.StatusUnauthorized, false},
		"an image over HTTP":  {http.MethodGet, image[:2], http.StatusUnauthorized, false},
		"a frame":             {http.MethodGet, frame, http.StatusUnauthorized, false},
		"a program":           {http.MethodGet, []string{"Accept", "*/*"}, http.StatusUnauthorized, false},
		"PUT":                 {http.MethodPut, navigation, http.StatusUnauthorized, false},
		"a form without body": {http.MethodPost, navigation, http.StatusUnauthorized, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.do(t, test.method, "/a", test.header...)
			got.wantStatus(t, test.status)
			if shows := strings.Contains(got.body, `name="password"`); shows != test.shows || shows != (got.header.Get("Set-Cookie") != "") {
				t.Errorf("shows the page: %t, want %t; cookie %q", shows, test.shows, got.header.Get("Set-Cookie"))
			}
		})
	}
	up.takeNone(t)
	optional := s
	optional.options += "\noptional"
	loadCaddyfile(t, g.caddyfile(db, up, optional))
	g.get(t, "/a", navigation...).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "")
}

// TestLoginLeadsToAFragment: a script sends its page's own next.
func TestLoginLeadsToAFragment(t *testing.T) {
	g, up, db := startRepost(t, 53, "scope report:{http.request.uri.query.id}")
	b := newBrowser(g)
	b.get(t, "/_sesame/login?next="+url.QueryEscape("/app?id=7#/inbox/3")).wantStatus(t, http.StatusOK)
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
	wantHeader(t, b.last.header, "Location", "/app?id=7#/inbox/3")
	b.get(t, "/app?id=7").wantStatus(t, http.StatusOK)
	b.get(t, "/app?id=8").wantStatus(t, http.StatusUnauthorized)
	up.takeOne(t)
	loadCaddyfile(t, g.caddyfile(db, up, withLogin(53)))
	for _, next := range []string{"//evil.example/", "https://evil.example/", `/\evil.example`, "/%2Fevil.example"} {
		b = newBrowser(g)
		b.get(t, "/_sesame/login?next="+url.QueryEscape(next))
		b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/")
	}
}

// TestErrorRoutesStandInThePlaceOfTheLoginPage, and know the reason. Others leave the
// page.
func TestErrorRoutesStandInThePlaceOfTheLoginPage(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	s := withLogin(54)
	s.after = "reverse_proxy " + up.addr + "\nhandle_errors 401 {\nrespond \"own: {http.auth.sesame.error}\" 401\n}"
	g := startGateway(t, db, up, s)
	if got := g.get(t, "/", asBrowser...); got.status != http.StatusUnauthorized || got.body != "own: missing" {
		t.Errorf("%d %s", got.status, got.body)
	}
	g.get(t, "/_sesame/login", asBrowser...).wantStatus(t, http.StatusOK)
	s.after = "reverse_proxy " + up.addr + "\nhandle_errors 404 {\nrespond own 404\n}"
	loadCaddyfile(t, g.caddyfile(db, up, s))
	if got := g.get(t, "/", asBrowser...); !strings.Contains(got.body, `name="password"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestLoginsOfTwoHandlersOfASiteAreApart: each has its own pages, requirements and
// session, and a form of one of them doesn't log in at the other.
func TestLoginsOfTwoHandlersOfASiteAreApart(t *testing.T) {
	db := anyDatabase(t)
	t.Cleanup(func() { db.reset(t) })
	up := startUpstream(t)
	for _, u := range []testUser{alice, carol} {
		db.setPassword(t, u, hashOf(t, password.MD5, "secret"))
	}
	options := withLogin(55).options
	g := startSite(t, db, up, "DEBUG", "", `handle /admin/* {
			SESAME {
				require user alice
				reserved_path /admin/_sesame/
				scope admin
				`+strings.Replace(options, "session\n", "session {\nname admin\npath /admin/\n}\n", 1)+`
			}
			reverse_proxy UPSTREAM
		}
		handle {
			SESAME {
				`+options+`
			}
			reverse_proxy UPSTREAM
		}`)
	b := newBrowser(g)
	b.get(t, "/admin/users").wantStatus(t, http.StatusUnauthorized)
	admin := b.last
	b.logInWithCarried(t, "carol").wantStatus(t, http.StatusForbidden)
	b.get(t, "/").wantStatus(t, http.StatusUnauthorized)
	b.logInWithCarried(t, "carol").wantStatus(t, http.StatusSeeOther)
	b.follow(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
	b.get(t, "/admin/users").wantStatus(t, http.StatusUnauthorized)

	b.last = admin
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
	b.follow(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	b.get(t, "/other").wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")

	// A session of one handler is none of the other, whatever its cookie is called.
	other := newBrowser(g)
	other.cookies["admin"] = b.cookies["sesame"]
	other.get(t, "/admin/users").wantStatus(t, http.StatusUnauthorized)
	other.cookies["sesame"] = b.cookies["admin"]
	other.get(t, "/").wantStatus(t, http.StatusUnauthorized)
	up.takeNone(t)
}

// TestLoginPageIsAnsweredToHTTP10Clients, which ask for no connection to be kept.
func TestLoginPageIsAnsweredToHTTP10Clients(t *testing.T) {
	db := anyDatabase(t)
	g := startGateway(t, db, startUpstream(t), withLogin(56))
	got := sendHTTP1(t, g.addr, "GET /a HTTP/1.0\r\nHost: app.example.com\r\nAccept: text/html\r\n\r\n", "")
	if len(got.statuses) != 1 || got.statuses[0] != http.StatusUnauthorized || !strings.Contains(string(got.raw), `name="password"`) {
		t.Errorf("%v %s", got.statuses, got.raw)
	}
}
