package sesame_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

var (
	repostForm  = regexp.MustCompile(`<form method="post" action="([^"]*)" enctype="([^"]*)">`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	carriedForm = regexp.MustCompile(`name="carried" value="([^"]*)"`)
)

// postForm posts a form of a page of the site.
func (b *browser) postForm(t *testing.T, uri, body string, header ...string) *response {
	t.Helper()
	header = append(header, "Origin", "http://"+b.gateway.addr, "Content-Type", "application/x-www-form-urlencoded")
	return b.exchangeBody(t, http.MethodPost, uri, body, append(header, asBrowser...))
}

// logInWithCarried logs in on the page that the browser shows, with what the page
// carries.
func (b *browser) logInWithCarried(t *testing.T, user string) *response {
	t.Helper()
	form := url.Values{"method": {"password"}, "identifier": {user}, "password": {"secret"}}
	if carried := carriedForm.FindStringSubmatch(b.last.body); carried != nil {
		form.Set("carried", html.UnescapeString(carried[1]))
	}
	return b.fill(t, form)
}

// resend presses the button that sends a form again.
func (b *browser) resend(t *testing.T) *response {
	t.Helper()
	_, form, ok := strings.Cut(b.last.body, `enctype=`)
	action := repostForm.FindStringSubmatch(b.last.body)
	if !ok || action == nil {
		t.Fatalf("no form to send again (status %d): %s", b.last.status, b.last.body)
	}
	form, _, _ = strings.Cut(form, "</form>")
	var pairs []string
	for _, input := range hiddenInput.FindAllStringSubmatch(form, -1) {
		pairs = append(pairs, url.QueryEscape(html.UnescapeString(input[1]))+"="+url.QueryEscape(html.UnescapeString(input[2])))
	}
	return b.postForm(t, html.UnescapeString(action[1]), strings.Join(pairs, "&"))
}

// startRepost is a site on which alice and carol log in by password.
func startRepost(t *testing.T, atWork int, options ...string) (*gateway, *upstream, *database) {
	t.Helper()
	db := anyDatabase(t)
	up := startUpstream(t)
	for _, u := range []testUser{alice, carol} {
		db.setPassword(t, u, hashOf(t, password.MD5, "secret"))
	}
	t.Cleanup(func() { db.reset(t) })
	return startGateway(t, db, up, withLogin(atWork, options...)), up, db
}

const postedBody = "text=%3Cb%3Ea%0D%0A%22b%22+%26+c%2B%C3%A9&csrfmiddlewaretoken=x&text=2&method=password&csrf=y&submit="

// TestFormOfAnEndedSessionCanBeSentAgain: the login sends nothing by itself, and the
// button sends what the form has sent.
func TestFormOfAnEndedSessionCanBeSentAgain(t *testing.T) {
	g, up, _ := startRepost(t, 31)
	b := newBrowser(g)
	b.postForm(t, "/comments/new?page=2", postedBody, "Referer", "http://"+g.addr+"/comments").wantStatus(t, http.StatusUnauthorized)
	if strings.Contains(b.last.body, "csrfmiddlewaretoken") {
		t.Errorf("the login page shows the form's fields: %s", b.last.body)
	}
	// A wrong password first: the form isn't lost.
	carried := carriedForm.FindStringSubmatch(b.last.body)
	b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"wrong"}, "carried": {carried[1]}}).wantStatus(t, http.StatusUnauthorized)
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusOK)
	b.last.wantWay(t, "Don't send it", "/comments")
	wantHeader(t, b.last.header, "Cache-Control", "no-store")
	up.takeNone(t)

	b.resend(t).wantStatus(t, http.StatusOK)
	got := up.takeOne(t)
	if got.method != http.MethodPost || got.uri != "/comments/new?page=2" || got.body != postedBody {
		t.Errorf("the upstream got %s %s with %q, want %q", got.method, got.uri, got.body, postedBody)
	}
	wantHeader(t, got.header, "Remote-User", "alice")
	wantHeader(t, got.header, "Origin", "http://"+g.addr)
}

// TestOnlyTheUserWhoPostedAFormGetsItBack: another user goes on to the page.
func TestOnlyTheUserWhoPostedAFormGetsItBack(t *testing.T) {
	g, up, db := startRepost(t, 32)
	b := newBrowser(g)
	b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
	db.setPassword(t, alice, hashOf(t, password.MD5, "secret")) // ends the session
	b.postForm(t, "/comments/new", postedBody, "Referer", "http://"+g.addr+"/comments").wantStatus(t, http.StatusUnauthorized)
	shown := b.last
	b.logInWithCarried(t, "carol").wantStatus(t, http.StatusSeeOther)
	wantHeader(t, b.last.header, "Location", "/comments")

	b.last = shown
	delete(b.cookies, "sesame") // the page doesn't tell that carol is logged in
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusOK)
	up.takeNone(t)
	b.resend(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
}

// TestFormOfAnotherBrowserIsNotSentAgain: what an attacker's browser has posted
// isn't offered to a victim.
func TestFormOfAnotherBrowserIsNotSentAgain(t *testing.T) {
	g, up, _ := startRepost(t, 33)
	attacker, victim := newBrowser(g), newBrowser(g)
	attacker.postForm(t, "/transfer", "to=attacker").wantStatus(t, http.StatusUnauthorized)
	carried := carriedForm.FindStringSubmatch(attacker.last.body)
	victim.get(t, "/").wantStatus(t, http.StatusUnauthorized)
	victim.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}, "carried": {carried[1]}})
	victim.last.wantStatus(t, http.StatusSeeOther)
	wantHeader(t, victim.last.header, "Location", "/")
	up.takeNone(t)
}

// TestOtherRequestsAreNotKept: of other sites, too large, and of scripts.
func TestOtherRequestsAreNotKept(t *testing.T) {
	g, up, _ := startRepost(t, 34)
	for name, test := range map[string]struct {
		body   string
		header []string
	}{
		"of another site": {"a=1", []string{"Origin", "https://evil.example", "Content-Type", "application/x-www-form-urlencoded"}},
		"of no origin":    {"a=1", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"too large":       {strings.Repeat("a", 64<<10+1), []string{"Origin", "http://" + g.addr, "Content-Type", "application/x-www-form-urlencoded"}},
		"JSON":            {"{}", []string{"Origin", "http://" + g.addr, "Content-Type", "application/json"}},
	} {
		got := g.doWithBody(t, http.MethodPost, "/a", test.body, append(test.header, asBrowser...)...)
		got.wantStatus(t, http.StatusUnauthorized)
		if carriedForm.MatchString(got.body) {
			t.Errorf("%s: it is kept: %s", name, got.body)
		}
		got.wantWay(t, "Log in", "/_sesame/login")
	}
	up.takeNone(t)
}

// TestFormIsSentAgainInItsOwnScope: the session is for the page that it goes to.
func TestFormIsSentAgainInItsOwnScope(t *testing.T) {
	g, up, _ := startRepost(t, 35, "scope report:{http.request.uri.query.id}")
	b := newBrowser(g)
	b.postForm(t, "/edit?id=7", "a=1", "Referer", "http://"+g.addr+"/list?id=8").wantStatus(t, http.StatusUnauthorized)
	b.logInWithCarried(t, "alice").wantStatus(t, http.StatusOK)
	b.last.wantWay(t, "Don't send it", "/edit?id=7")
	b.resend(t).wantStatus(t, http.StatusOK)
	if got := up.takeOne(t); got.uri != "/edit?id=7" || got.body != "a=1" {
		t.Errorf("the upstream got %s with %q", got.uri, got.body)
	}
	b.get(t, "/list?id=8").wantStatus(t, http.StatusUnauthorized)
}

// TestDjangosCSRFCookieOutlivesTheLoginBeforeAForm: the form has that cookie's token.
// Other logins have Django make another one.
func TestDjangosCSRFCookieOutlivesTheLoginBeforeAForm(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		s := passwordSite(36)
		s.options += "\n" + writing + "\nlogin {\npassword\n}"
		g := startGateway(t, db, startUpstream(t), s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		b := newBrowser(g)
		b.cookies["csrftoken"] = "former"
		b.postForm(t, "/comments/new", postedBody).wantStatus(t, http.StatusUnauthorized)
		b.logInWithCarried(t, "alice").wantStatus(t, http.StatusOK)
		if b.cookies["csrftoken"] != "former" || b.cookies["sessionid"] == "" {
			t.Errorf("the browser has %v", b.cookies)
		}
		b.resend(t).wantStatus(t, http.StatusOK)

		b = newBrowser(g)
		b.cookies["csrftoken"] = "former"
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.logInWithCarried(t, "alice").wantStatus(t, http.StatusSeeOther)
		if b.cookies["csrftoken"] != "" {
			t.Errorf("the browser has %v", b.cookies)
		}
	})
}
