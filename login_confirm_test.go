package sesame_test

import (
	"html"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestButtonPressedTwice: the second time, the token is used up, but the user is
// logged in. The upstream never gets the button's request.
func TestButtonPressedTwice(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("one_time"))
		b := newBrowser(g)
		page := b.get(t, "/page?sesame="+tokenFor(t, alice, oneTime))
		b.press(t).wantStatus(t, http.StatusSeeOther)
		b.last = page
		b.press(t).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/page")
		up.takeNone(t)
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	})
}

// TestOneTimeLinkInABrowser has mail scanners open the link first.
func TestOneTimeLinkInABrowser(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("one_time\nmax_age 1h"))
		link := "/reports/7?x=1&sesame=" + tokenFor(t, alice, oneTime, withMaxAge(time.Hour))
		for range 20 {
			scanner := newBrowser(g)
			scanner.do(t, http.MethodHead, link)
			scanner.get(t, link).wantStatus(t, http.StatusOK)
		}
		up.takeNone(t)

		b := newBrowser(g)
		page := b.get(t, link)
		for name, want := range map[string]string{
			"Content-Type":    "text/html; charset=utf-8",
			"Cache-Control":   "no-store",
			"Referrer-Policy": "no-referrer",
		} {
			wantHeader(t, page.header, name, want)
		}
		policy := page.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("Content-Security-Policy: %s", policy)
		}
		b.press(t).wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/reports/7?x=1")
		b.follow(t).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "Remote-User", "alice")
		wantHeader(t, got.header, "Cookie", "")

		// The same link again: the session is accepted, but another browser has
		// none.
		b.get(t, link)
		b.follow(t).wantStatus(t, http.StatusOK)
		newBrowser(g).get(t, link).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestOthersCantPressTheButton has pages of other sites try to log their visitors in
// as the attacker.
func TestOthersCantPressTheButton(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("one_time"))
		link := "/?sesame=" + tokenFor(t, alice, oneTime)

		attacker := newBrowser(g)
		attacker.get(t, link)
		action := html.UnescapeString(formAction.FindStringSubmatch(attacker.last.body)[1])
		victim := newBrowser(g)
		victim.get(t, link) // has a cookie of its own
		victim.do(t, http.MethodPost, action, "Origin", "https://evil.example").wantStatus(t, http.StatusNoContent)
		// If the browser doesn't name the page's origin, the user gets the button
		// again.
		victim.do(t, http.MethodPost, action, "Origin", "null").wantStatus(t, http.StatusOK)
		if _, ok := victim.cookies["sesame"]; ok {
			t.Error("the victim is logged in")
		}
		victim.press(t).wantStatus(t, http.StatusSeeOther)
		up.takeNone(t)
	})
}

func TestOneTimeWithoutSessions(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time"})
		b := newBrowser(g)
		b.get(t, "/a?x=1&sesame="+tokenFor(t, alice, oneTime)).wantStatus(t, http.StatusOK)
		up.takeNone(t)
		b.press(t).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "Remote-User", "alice")
		if got.method != http.MethodGet || got.uri != "/a?x=1" {
			t.Errorf("the upstream got %s %s", got.method, got.uri)
		}
	})
}

func TestConfirmOption(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		t.Run("always", func(t *testing.T) {
			b := newBrowser(startGateway(t, db, up, sessionSite("confirm always")))
			b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
			b.press(t).wantStatus(t, http.StatusSeeOther)
		})
		t.Run("off", func(t *testing.T) {
			b := newBrowser(startGateway(t, db, up, sessionSite("confirm off\none_time")))
			db.reset(t)
			b.get(t, "/?sesame="+tokenFor(t, alice, oneTime)).wantStatus(t, http.StatusSeeOther)
		})
	})
}

// TestLinkWithAnAbsoluteTargetLeadsToItsPath: proxies in front may send the
// whole URL, as clients do to them.
func TestLinkWithAnAbsoluteTargetLeadsToItsPath(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite(""))
	request := "GET http://app.example.com/a?x=1&sesame=" + tokenFor(t, alice) + " HTTP/1.1\r\nHost: app.example.com\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
	got := sendHTTP1(t, g.addr, request, "")
	if len(got.statuses) != 1 || got.statuses[0] != http.StatusSeeOther || !strings.Contains(string(got.raw), "\r\nLocation: /a?x=1\r\n") {
		t.Errorf("%v %s", got.statuses, got.raw)
	}
	// The URL that it leads from has the token.
	for _, line := range []string{"Cache-Control: no-store", "Referrer-Policy: no-referrer"} {
		if !strings.Contains(string(got.raw), "\r\n"+line+"\r\n") {
			t.Errorf("%s is missing in %s", line, got.raw)
		}
	}
	up.takeNone(t)
}

// TestReservedPathOffLeavesItsPathsToTheUpstream, which also gets the requests of
// sessions there.
func TestReservedPathOffLeavesItsPathsToTheUpstream(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	without := startGateway(t, db, up, site{}) // nothing is there without sessions, either
	without.get(t, "/_sesame/whoami", "Authorization", "Bearer "+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	g := startGateway(t, db, up, sessionSite("reserved_path off"))
	b := newBrowser(g)
	b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
	for _, path := range []string{"/_sesame/logout", "/_sesame/whoami", "/_sesame/"} {
		b.do(t, http.MethodPost, path, "Sec-Fetch-Site", "same-origin").wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	}
}

// TestLinkBesideASessionThatHasEndedAsksNobody: there is no account to switch
// from.
func TestLinkBesideASessionThatHasEndedAsksNobody(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite(""))
	b := newBrowser(g)
	b.get(t, "/?sesame="+tokenFor(t, carol)).wantStatus(t, http.StatusSeeOther)
	db.mustExec(t, "UPDATE auth_user SET password = 'new' WHERE id = ?", carol.id)
	b.get(t, "/a?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
	b.follow(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	db.reset(t)
}

// TestReservedPagesOfAnAmbiguousTargetAreRejected: servers could derive different
// scopes from the target.
func TestReservedPagesOfAnAmbiguousTargetAreRejected(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("scope report:{http.request.uri.query.id}"))
	b := newBrowser(g)
	b.get(t, "/?id=7&sesame="+tokenAt(t, alice, "report:7", time.Now())).wantStatus(t, http.StatusSeeOther)
	b.get(t, "/_sesame/whoami?id=7").wantStatus(t, http.StatusOK)
	for _, uri := range []string{"/_sesame/whoami?id=7&id=8", "/_sesame/whoami?id=8", "/_sesame/login?next=/%3Fid=7%26id=8", "/_sesame/login?next=/%3Fid=8"} {
		b.get(t, uri).wantStatus(t, http.StatusUnauthorized)
	}
	up.takeNone(t)
	b.get(t, "/?id=7").wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
}

// TestOnlyThePressedButtonConfirms: a link, a frame and a script that know what
// the button sends don't.
func TestOnlyThePressedButtonConfirms(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("one_time"))
	b := newBrowser(g)
	page := b.get(t, "/?sesame="+tokenFor(t, alice, oneTime))
	action := html.UnescapeString(formAction.FindStringSubmatch(page.body)[1])
	for name, test := range map[string]struct {
		method string
		header []string
	}{
		"a link":                   {http.MethodGet, nil},
		"a link of the same site":  {http.MethodGet, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		"a frame of the same site": {http.MethodPost, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
		"a form of another site":   {http.MethodPost, []string{"Origin", "https://evil.example"}},
	} {
		b.send(t, test.method, action, test.header...)
		if b.last.status == http.StatusSeeOther || b.cookies["sesame"] != "" {
			t.Errorf("%s: status %d, cookies %v", name, b.last.status, b.cookies)
		}
	}
	up.takeNone(t)
	b.last = page
	b.press(t).wantStatus(t, http.StatusSeeOther)
	b.follow(t).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
}

// TestProgramsWithTokensGetNoConfirmPage: programs send their token with each request.
func TestProgramsWithTokensGetNoConfirmPage(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("confirm always"))
	g.get(t, "/", "Accept", "text/html", "Authorization", "Bearer "+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
	b := newBrowser(g)
	b.send(t, http.MethodPost, "/?sesame="+tokenFor(t, carol), "Accept", "text/html", "Origin", "http://"+g.addr)
	b.last.wantStatus(t, http.StatusOK)
	wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
}

// TestLoginTellsThatTheUpstreamIsGone, in the answer.
func TestLoginTellsThatTheUpstreamIsGone(t *testing.T) {
	db := anyDatabase(t)
	g := startGateway(t, db, &upstream{addr: freeAddr(t)}, site{options: "session {\n redirect off\n}"})
	g.get(t, "/?sesame="+tokenFor(t, alice), asChrome...).wantStatus(t, http.StatusBadGateway)
}
