package sesame_test

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestEachAnswerOfTheGatewayItselfIsCountedOnce by its outcome.
func TestEachAnswerOfTheGatewayItselfIsCountedOnce(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(51, "identifier username")
		s.options += "\nlogin {\npassword\n}\nassertion {\naudience app\n}\nconfirm strict"
		s.global = "metrics"
		g := startGateway(t, db, up, s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		hashed := alice
		hashed.password = db.passwordOf(t, alice.id)
		link := tokenFor(t, hashed)
		b := newBrowser(g)
		b.openLink(t, "/?sesame="+link)
		cookie := "sesame=" + b.cookies["sesame"]
		own := []string{"Cookie", cookie, "Origin", "http://" + g.addr}
		foreign := []string{"Cookie", cookie, "Origin", "https://evil.example"}
		for _, test := range []struct {
			method, uri string
			header      []string
			status      int
			outcome     string
		}{
			{http.MethodGet, "/_sesame/", nil, 404, "page"},
			{http.MethodGet, "/_sesame/nothing", own, 404, "page"},
			{http.MethodGet, "/_sesame/login", nil, 200, "page"},
			{http.MethodGet, "/_sesame/login", own[:2], 303, "page"},
			{http.MethodPut, "/_sesame/login", own, 405, "page"},
			{http.MethodGet, "/_sesame/logout", own, 200, "page"},
			{http.MethodPut, "/_sesame/logout", own, 405, "page"},
			{http.MethodPost, "/_sesame/logout", foreign, 403, "page"},
			{http.MethodGet, "/_sesame/whoami", own, 200, "page"},
			{http.MethodGet, "/_sesame/jwks.json", nil, 200, "page"},
			{http.MethodHead, "/_sesame/jwks.json", nil, 200, "page"},
			{http.MethodPost, "/_sesame/jwks.json", nil, 405, "page"},
			{http.MethodGet, "/?sesame=" + link, nil, 200, "page"},
			{http.MethodGet, "/", own, 200, "session"},
			{http.MethodPost, "/_sesame/logout", own, 200, "page"},
		} {
			before := metricValues(t)
			g.do(t, test.method, test.uri, test.header...).wantStatus(t, test.status)
			counted := make(map[string]float64)
			for name, value := range metricValues(t) {
				if grown := value - before[name]; grown != 0 && strings.HasPrefix(name, "requests_total") {
					counted[name] = grown
				}
			}
			if want := map[string]float64{fmt.Sprintf(`requests_total{outcome=%q,reason=""}`, test.outcome): 1}; !maps.Equal(counted, want) {
				t.Errorf("%s %s is counted as %v, want %v", test.method, test.uri, counted, want)
			}
		}
		up.take()
	})
}

// TestReservedPagesAreThoseThatTheConfigurationNeeds: without logins, the others are
// the upstream's.
func TestReservedPagesAreThoseThatTheConfigurationNeeds(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	const everything = "login logout whoami jwks.json nothing"
	for _, test := range []struct{ name, options, gateway string }{
		{"tokens alone", "", ""},
		{"sessions", "session", everything},
		{"assertions", "assertion {\naudience app\n}", "jwks.json"},
		{"sessions of Django", "django_session {\nengine signed_cookies\n}", "whoami"},
		{"sessions and assertions", "session\nassertion {\naudience app\n}", everything},
		{"sessions, and no reserved path", "session\nreserved_path off", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGateway(t, db, up, site{options: "optional\n" + test.options})
			for page := range strings.FieldsSeq(everything) {
				g.get(t, "/_sesame/"+page)
				byGateway := len(up.take()) == 0
				if want := slices.Contains(strings.Fields(test.gateway), page); byGateway != want {
					t.Errorf("%s is answered by the gateway: %t, want %t", page, byGateway, want)
				}
			}
		})
	}
}

// TestLoginsWriteTheirTime, as Django does: each way to log in once, unless
// update_last_login is off.
func TestLoginsWriteTheirTime(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		smtp := startMailServer(t)
		for _, test := range []struct {
			name, options string
			logIn         func(t *testing.T, b *browser)
			writes        bool
		}{
			{"a password", "", func(t *testing.T, b *browser) {
				b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
				b.fill(t, typing("alice", "secret")).wantStatus(t, http.StatusSeeOther)
			}, true},
			{"a password, and no time", "update_last_login off", func(t *testing.T, b *browser) {
				b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
				b.fill(t, typing("alice", "secret")).wantStatus(t, http.StatusSeeOther)
			}, false},
			{"a code", "", func(t *testing.T, b *browser) {
				b.askForLink(t, "/", alice.email)
				b.typeCode(t, readMail(t, smtp.WaitMail(t)).code).wantStatus(t, http.StatusSeeOther)
			}, true},
		} {
			t.Run(test.name, func(t *testing.T) {
				db.reset(t)
				db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
				s := passwordSite(52, "identifier username")
				g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
				mailing := mailingSite(smtp, "http://"+g.addr, s.options+"\nsession {\n"+test.options+"\n}", "")
				mailing.options = strings.Replace(mailing.options, "login {", "login {\npassword", 1)
				loadCaddyfile(t, g.caddyfile(db, startUpstream(t), mailing))
				test.logIn(t, newBrowser(g))
				var written bool
				if err := db.QueryRow("SELECT COALESCE(last_login > UTC_TIMESTAMP() - INTERVAL 1 HOUR, FALSE) FROM auth_user WHERE id = 1").Scan(&written); err != nil {
					t.Fatal(err)
				}
				if written != test.writes {
					t.Errorf("last_login has the time of the login: %t, want %t", written, test.writes)
				}
			})
		}
	})
}

// TestOnlyTheSitesOwnScriptReplacesASession by a link of another user's. A script
// can't show the page that asks first.
func TestOnlyTheSitesOwnScriptReplacesASession(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("confirm off"))
	for site, want := range map[string]string{"same-origin": "carol", "cross-site": "alice", "same-site": "alice", "": "alice"} {
		b := newBrowser(g)
		b.openLink(t, "/?sesame="+tokenFor(t, alice))
		header := []string{"Accept", "*/*"}
		if site != "" {
			header = append(header, "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty")
		}
		b.exchange(t, http.MethodGet, "/?sesame="+tokenFor(t, carol), header)
		up.take()
		b.get(t, "/").wantStatus(t, http.StatusOK)
		if got := up.takeOne(t).header.Get("Remote-User"); got != want {
			t.Errorf("after a script's request with Sec-Fetch-Site %q the session is %s's, want %s's", site, got, want)
		}
	}
}

// sessionOfAnotherPage is a session cookie of a user in a table, for another scope
// than that of any page.
func sessionOfAnotherPage(t *testing.T, table string, id int64) string {
	t.Helper()
	return sessionOfPage(t, table, "other", id)
}

// sessionOfPage is the cookie of a user's session for a page.
func sessionOfPage(t *testing.T, table, page string, id int64) string {
	t.Helper()
	sessions, err := session.New(session.Settings{SecretKey: secretKey, Encoding: token.LongPacker, Audience: table + "\x00\x00pk\x00"})
	if err != nil {
		t.Fatal(err)
	}
	value, err := sessions.Create(token.IntKey(id), token.User{Password: &alice.password}, "127.0.0.1\x00"+page, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return "sesame=" + value
}

// TestLoginFailsWhereTheFormerUserCannotBeReadNow, rather than end a session without
// asking its user.
func TestLoginFailsWhereTheFormerUserCannotBeReadNow(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.mustExec(t, "CREATE OR REPLACE VIEW doubled AS SELECT * FROM auth_user UNION ALL SELECT * FROM auth_user WHERE id = 1")
		t.Cleanup(func() { db.mustExec(t, "DROP VIEW doubled") })
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\nupdate_last_login off\n}\nscope {http.request.uri.path.0}", store: "table doubled"})
		link := "/a?sesame=" + tokenAt(t, carol, "a", time.Now())
		g.get(t, link, asChrome...).wantStatus(t, http.StatusSeeOther)
		for _, cookie := range []string{sessionOfAnotherPage(t, "doubled", alice.id), sessionOfPage(t, "doubled", "a", alice.id)} {
			answer := g.get(t, link, append(asChrome, "Cookie", cookie)...)
			answer.wantStatus(t, http.StatusServiceUnavailable)
			wantHeader(t, answer.header, "Set-Cookie", "")
			up.takeNone(t)
		}
	})
}

// TestLoginAsksForAFewOfTheFormerUsers, whose sessions for other pages it would end:
// a client could send sessions of any number of users.
func TestLoginAsksForAFewOfTheFormerUsers(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, sessionSite("scope {http.request.uri.path.0}"))
	for _, test := range []struct {
		name  string
		users []int64
		asks  bool
	}{
		{"another user's", []int64{alice.id}, true},
		{"the same user's", []int64{carol.id}, false},
		{"a deleted user's", []int64{901}, false},
		{"another user's, behind those of three deleted users", []int64{901, 902, 903, alice.id}, true},
		{"another user's, behind many of one deleted user", []int64{901, 901, 901, 901, 901, alice.id}, true},
		{"another user's, behind the same user's", []int64{carol.id, 901, 902, 903, alice.id}, true},
		{"another user's, behind those of four deleted users", []int64{901, 902, 903, 904, alice.id}, false},
	} {
		var cookies []string
		for _, id := range test.users {
			cookies = append(cookies, sessionOfAnotherPage(t, "auth_user", id))
		}
		answer := g.get(t, "/a?sesame="+tokenAt(t, carol, "a", time.Now()), append(asChrome, "Cookie", strings.Join(cookies, "; "))...)
		if asks := answer.status == http.StatusOK && strings.Contains(answer.body, "alice"); asks != test.asks {
			t.Errorf("%s: the page asks whether to end alice's session: %t, want %t (status %d)", test.name, asks, test.asks, answer.status)
		}
	}
	up.takeNone(t)
}

// TestPressedButtonComesToTheUpstreamAsTheLinksRequest, without what only the form
// has sent.
func TestPressedButtonComesToTheUpstreamAsTheLinksRequest(t *testing.T) {
	db := anyDatabase(t)
	db.reset(t)
	defer db.reset(t)
	g := startGateway(t, db, startUpstream(t), site{
		options: "one_time",
		after:   `respond "{method} type={header.Content-Type} length={header.Content-Length} coding={header.Content-Encoding} origin={header.Origin} x={header.X-Other} body={http.request.body}"`,
	})
	b := newBrowser(g)
	b.get(t, "/a?sesame="+tokenFor(t, alice, oneTime)).wantStatus(t, http.StatusOK)
	b.press(t, "Content-Type", "application/x-www-form-urlencoded", "Content-Encoding", "identity", "Content-Length", "0", "X-Other", "1").wantStatus(t, http.StatusOK)
	if want := "GET type= length= coding= origin= x=1 body="; b.last.body != want {
		t.Errorf("behind the gateway the request is %q, want %q", b.last.body, want)
	}
}

// TestWhoamiListsTheGroupsThatAreRead, and an empty list for a user without any, so
// that scripts can tell that from groups that aren't read.
func TestWhoamiListsTheGroupsThatAreRead(t *testing.T) {
	db := anyDatabase(t).asAdministrator()
	db.addRights(t)
	db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = ?", carol.id)
	up := startUpstream(t)
	for store, want := range map[string]map[string]string{
		"groups": {tokenFor(t, alice): `"groups":["admins","editors"]`, tokenFor(t, carol): `"groups":[]`},
		"":       {tokenFor(t, alice): ""},
	} {
		g := startGateway(t, db, up, site{options: "session", store: store})
		for bearer, part := range want {
			answer := g.get(t, "/_sesame/whoami", "Authorization", "Bearer "+bearer)
			answer.wantStatus(t, http.StatusOK)
			if has := strings.Contains(answer.body, `"groups"`); has != (part != "") || !strings.Contains(answer.body, part) {
				t.Errorf("%q: %s; want %s", store, answer.body, part)
			}
		}
	}
	up.takeNone(t)
}

// TestLogoutLeadsToTheSiteWhereNoLoginIsNeeded: elsewhere the site would reject the
// user who has just logged out.
func TestLogoutLeadsToTheSiteWhereNoLoginIsNeeded(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	for options, want := range map[string]bool{"optional": true, "": false} {
		g := startGateway(t, db, up, sessionSite(options))
		b := newBrowser(g)
		b.openLink(t, "/?sesame="+tokenFor(t, alice))
		b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
		if leads := strings.Contains(b.last.body, `href="/"`); leads != want {
			t.Errorf("%q: the page leads to the site: %t, want %t: %s", options, leads, want, b.last.body)
		}
	}
	up.takeNone(t)
}

// TestLoginPageIs503WhereSessionsCannotBeChecked: a browser that is logged in would
// otherwise be asked to log in again.
func TestLoginPageIs503WhereSessionsCannotBeChecked(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(53, "identifier username")
		s.options += "\nlogin {\npassword\n}"
		g := startGateway(t, db, up, s)
		b := newBrowser(g)
		b.openLink(t, "/?sesame="+tokenFor(t, alice))
		db.mustExec(t, "ALTER TABLE auth_user RENAME COLUMN password TO secret")
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusServiceUnavailable)
		if b.last.header.Get("Retry-After") == "" {
			t.Error("it isn't said when to come back")
		}
		newBrowser(g).get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		db.mustExec(t, "ALTER TABLE auth_user RENAME COLUMN secret TO password")
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusSeeOther)
		up.takeNone(t)
	})
}

// TestLinkAsksForNoSessionOfDjangosThatItLeavesAlone: the gateway only reads Django's
// sessions there, and this one isn't accepted.
func TestLinkAsksForNoSessionOfDjangosThatItLeavesAlone(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "confirm off\nsession\ndjango_session"})
		cookie := db.logIn(t, djangoLogin{user: alice, backend: "a.Backend"})
		header := append([]string{"Accept", "text/html"}, cookie...)
		answer := g.get(t, "/?sesame="+tokenFor(t, carol), header...)
		answer.wantStatus(t, http.StatusSeeOther)
		sessionCookie(t, answer)
		if db.sessionGone(t, keyOf(cookie)) {
			t.Error("Django's session has ended")
		}
	})
}

// TestRequestsAheadOfAClickTellThatTheUpstreamIsGone: a reusable token authenticates
// them as any other request, so that the server's error routes answer.
func TestRequestsAheadOfAClickTellThatTheUpstreamIsGone(t *testing.T) {
	db := anyDatabase(t)
	for _, test := range []struct {
		name, options string
		header        []string
	}{
		{"a strict link in a frame", "confirm strict", []string{"Accept", "text/html", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
		{"a link in a frame", "confirm always", []string{"Accept", "text/html", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}},
		{"an image", "confirm always", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "image/*"}},
	} {
		g := startGateway(t, db, &upstream{addr: freeAddr(t)}, sessionSite(test.options))
		answer := g.get(t, "/?sesame="+tokenFor(t, alice), test.header...)
		if answer.status != http.StatusBadGateway {
			t.Errorf("%s: status %d, want 502", test.name, answer.status)
		}
		wantHeader(t, answer.header, "Set-Cookie", "")
	}
}
