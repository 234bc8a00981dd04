package sesame_test

import (
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// withLogin is a site with the login page, where passwords are asked for.
func withLogin(atWork int, options ...string) site {
	s := passwordSite(atWork)
	s.options += "\nsession\nlogin {\npassword\n}\n" + strings.Join(options, "\n")
	return s
}

var (
	wayLink   = regexp.MustCompile(`<a href="([^"]*)">([^<]*)</a>`)
	wayButton = regexp.MustCompile(`<form method="post" action="([^"]*)">\s*<button>([^<]*)</button>`)
)

// ways are the targets of the page's links and buttons, by their texts.
func (r *response) ways() map[string]string {
	ways := make(map[string]string)
	for _, pattern := range []*regexp.Regexp{wayLink, wayButton} {
		for _, match := range pattern.FindAllStringSubmatch(r.body, -1) {
			ways[html.UnescapeString(match[2])] = html.UnescapeString(match[1])
		}
	}
	return ways
}

// wantWay checks that a page has a way with a text, and returns its target.
func (r *response) wantWay(t *testing.T, text, target string) {
	t.Helper()
	if got, ok := r.ways()[text]; !ok || got != target {
		t.Errorf("the way %q leads to %q, want %q; the page (status %d) has %v", text, got, target, r.status, r.ways())
	}
}

// TestSwitchPageLetsTheUserStay: the link to stay has no token.
func TestSwitchPageLetsTheUserStay(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite(""))
	b := newBrowser(g)
	b.get(t, "/?sesame="+tokenFor(t, carol)).wantStatus(t, http.StatusSeeOther)
	b.get(t, "/a?x=1&sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
	b.last.wantWay(t, "Stay logged in as carol", "/a?x=1")
	b.get(t, "/a?x=1").wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
}

// TestForbiddenUserCanChangeTheAccount, by the login page or by logging out.
func TestForbiddenUserCanChangeTheAccount(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, withLogin(21, "require user alice"))
	db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
	link := "/?sesame=" + tokenFor(t, carol)
	g.get(t, link, asBrowser...).wantWay(t, "Use another account", "/_sesame/login?switch=")

	loadCaddyfile(t, g.caddyfile(db, up, withLogin(21)))
	b := newBrowser(g)
	b.get(t, link).wantStatus(t, http.StatusSeeOther)
	loadCaddyfile(t, g.caddyfile(db, up, withLogin(21, "require user alice")))
	b.get(t, "/reports/7?x=1").wantStatus(t, http.StatusForbidden)
	forbidden := b.last
	forbidden.wantWay(t, "Use another account", "/_sesame/login?next=%2Freports%2F7%3Fx%3D1&switch=")
	forbidden.wantWay(t, "Log out", "/_sesame/logout")

	b.get(t, forbidden.ways()["Use another account"]).wantStatus(t, http.StatusOK)
	b.last.wantWay(t, "Stay logged in as carol", "/reports/7?x=1")
	b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}})
	b.follow(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
}

// TestLogoutLeadsToTheLoginPage, and the page that asks leads back.
func TestLogoutLeadsToTheLoginPage(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, withLogin(22, "reserved_path /app/_sesame/"))
	b := newBrowser(g)
	b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
	b.get(t, "/app/_sesame/logout", "Referer", "http://"+g.addr+"/reports/7?x=1&sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
	b.last.wantWay(t, "Back to the site", "/reports/7?x=1")
	b.get(t, "/app/_sesame/logout", "Referer", "https://evil.example/reports").wantWay(t, "Back to the site", "/")
	b.do(t, http.MethodPost, "/app/_sesame/logout", "Sec-Fetch-Site", "same-origin").wantStatus(t, http.StatusOK)
	b.last.wantWay(t, "Log in again", "/app/_sesame/login")
	b.get(t, "/app/_sesame/login").wantStatus(t, http.StatusOK)
	up.takeNone(t)
}

// TestLimitedClientIsToldHowLongToWait, in words, with a way to try again.
func TestLimitedClientIsToldHowLongToWait(t *testing.T) {
	db := anyDatabase(t)
	g := startGateway(t, db, startUpstream(t), site{options: "session\nlimit_failures " + ownLimit("1 per 10m")})
	damaged := func(i byte) string {
		token := []byte(tokenFor(t, alice))
		token[len(token)-1-int(i)] ^= 1
		return "/a?x=1&sesame=" + string(token)
	}
	for i := range byte(4) {
		g.get(t, damaged(i), asBrowser...)
	}
	got := g.get(t, damaged(5), asBrowser...)
	got.wantStatus(t, http.StatusTooManyRequests)
	if !regexp.MustCompile(`You can try again in \d+ (minute|second)s?\.`).MatchString(got.body) {
		t.Errorf("the page doesn't say how long to wait: %s", got.body)
	}
	got.wantWay(t, "Try again", "/a?x=1")
}

// TestWaysOnFromOtherRefusals: from a request that would change something, they lead
// to the page that it came from.
func TestWaysOnFromOtherRefusals(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, withLogin(23))
	b := newBrowser(g)
	own := "http://" + g.addr
	b.do(t, http.MethodPost, "/comments/new", "Origin", own, "Referer", own+"/comments?page=2").wantStatus(t, http.StatusUnauthorized)
	b.last.wantWay(t, "Log in", "/_sesame/login?next=%2Fcomments%3Fpage%3D2")
	for _, referer := range []string{"https://evil.example/x", own + "//evil.example/", own + "/%5Cevil.example/", "", "://", own + "/_sesame/logout"} {
		b.do(t, http.MethodPost, "/comments/new", "Origin", own, "Referer", referer).wantWay(t, "Log in", "/_sesame/login")
	}
	up.takeNone(t)
}

// TestScriptWhoseSessionHasEndedIsToldWhereToLogIn: the login leads back to the page
// that the script is of, if that is of this site.
func TestScriptWhoseSessionHasEndedIsToldWhereToLogIn(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, withLogin(24))
	page := "http://" + g.addr + "/reports/7?x=1&sesame=" + tokenFor(t, alice)
	fetch := []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"}
	const back = "/_sesame/login?next=%2Freports%2F7%3Fx%3D1"
	for name, test := range map[string]struct {
		uri    string
		header []string
		want   string
	}{
		"fetch":                        {"/api", append([]string{"Referer", page}, fetch...), back},
		"whoami":                       {"/_sesame/whoami", append([]string{"Referer", page}, fetch...), back},
		"fetch from another site":      {"/api", append([]string{"Referer", "https://evil.example/x"}, fetch...), "/_sesame/login"},
		"fetch without a referrer":     {"/api", fetch, "/_sesame/login"},
		"a library":                    {"/api", []string{"X-Requested-With", "XMLHttpRequest", "Accept", "text/html, */*", "Referer", page}, back},
		"a client that prefers JSON":   {"/api", []string{"Accept", "application/json"}, "/_sesame/login"},
		"htmx without fetch metadata":  {"/api", []string{"HX-Request", "true", "Accept", "*/*", "Referer", page}, back},
		"fetch of a page with HTML in": {"/api", append(fetch[2:len(fetch):len(fetch)], "Accept", "text/html", "Referer", page), back},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.get(t, test.uri, test.header...)
			got.wantStatus(t, http.StatusUnauthorized)
			wantHeader(t, got.header, "Content-Type", "application/json")
			wantHeader(t, got.header, "Set-Cookie", "")
			var told map[string]string
			if err := json.Unmarshal([]byte(got.body), &told); err != nil || told["error"] != "missing" || told["login_url"] != test.want {
				t.Errorf("%v, %v; want login_url %s", told, err, test.want)
			}
			redirect := ""
			if strings.HasPrefix(name, "htmx") {
				redirect = test.want
			}
			wantHeader(t, got.header, "Hx-Redirect", redirect)
		})
	}
	up.takeNone(t)
}

// TestHTMXFormIsNotSentToTheLoginPage: what the user has typed would be lost.
func TestHTMXFormIsNotSentToTheLoginPage(t *testing.T) {
	db := anyDatabase(t)
	g := startGateway(t, db, startUpstream(t), withLogin(25))
	got := g.do(t, http.MethodPost, "/comments", "HX-Request", "true", "Accept", "*/*", "Origin", "http://"+g.addr)
	got.wantStatus(t, http.StatusUnauthorized)
	wantHeader(t, got.header, "Hx-Redirect", "")
}
