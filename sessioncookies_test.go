package sesame_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestJunkCookiesHideNoSession: other hosts of the domain can put cookies in front.
func TestJunkCookiesHideNoSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n domain example.com\n}\nlimit_failures " + ownLimit("1 per 1h")})
		b := newBrowser(g)
		const host = "app.example.com"
		b.get(t, "/?sesame="+tokenFor(t, alice), "Host", host).wantStatus(t, http.StatusSeeOther)
		valid := b.cookies["sesame"]
		forged := valid[:20] + "AAAA" + valid[24:]
		for name, test := range map[string]struct{ before, after []string }{
			"four":                   {before: slices.Repeat([]string{"junk"}, 4)},
			"four that look like it": {before: slices.Repeat([]string{forged}, 4)},
			"as many as browsers keep": {
				before: slices.Repeat([]string{forged, "junk"}, 90),
			},
			"on both sides":              {before: []string{forged, ""}, after: []string{"x", forged}},
			"behind":                     {after: slices.Repeat([]string{forged}, 180)},
			"the session more than once": {before: []string{valid, "junk", valid}},
		} {
			var pairs []string
			for _, value := range slices.Concat(test.before, []string{valid}, test.after) {
				pairs = append(pairs, "sesame="+value)
			}
			answer := g.get(t, "/", "Host", host, "Cookie", strings.Join(pairs, "; ")+"; other=1")
			if answer.status != http.StatusOK {
				t.Errorf("%s: status %d", name, answer.status)
				up.take()
				continue
			}
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", "alice")
			wantHeader(t, got.header, "Cookie", "other=1")
			wantHeader(t, answer.header, "Set-Cookie", "")
		}
	})
}

// TestManyCookiesAreBoundedWork: cookies beyond the number that a browser can have
// are ignored, and a request can't cause many lookups.
func TestManyCookiesAreBoundedWork(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		valid := sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, alice)))
		junk := strings.Repeat("sesame=x; ", 200)
		g.get(t, "/", "Cookie", junk[len("sesame=x; "):]+valid).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		g.get(t, "/", "Cookie", junk+valid).wantStatus(t, http.StatusUnauthorized)
		up.takeNone(t)
	})
}

// TestSessionsOfTwoUsersAreRejected: the gateway can't know which user sent the
// request, so it accepts neither.
func TestSessionsOfTwoUsersAreRejected(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n domain example.com\n}\noptional"})
		host := []string{"Host", "app.example.com"}
		logIn := func(u testUser) string {
			t.Helper()
			return sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, u), host...))
		}
		alices, carols := logIn(alice), logIn(carol)
		for _, both := range []string{alices + "; " + carols, carols + "; " + alices, alices + "; " + carols + "; " + alices} {
			answer := g.get(t, "/a/b?x", append(host, "Cookie", both+"; other=1")...)
			answer.wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", "")
			wantHeader(t, got.header, "Cookie", "other=1")
			// The browser deletes both, whichever host has set them: if one were
			// left, it would authenticate the next request.
			for _, want := range []string{"Path=/; Domain=example.com", "Path=/; Max-Age=0", "Path=/; Domain=app.example.com", "Path=/a; Domain=example.com", "Path=/a/; Domain=example.com"} {
				if !slices.ContainsFunc(answer.header["Set-Cookie"], func(set string) bool {
					return strings.HasPrefix(set, "sesame=; "+want) && strings.Contains(set, "Max-Age=0")
				}) {
					t.Errorf("no cookie with %s is cleared: %q", want, answer.header["Set-Cookie"])
				}
			}
		}
		// A session that has ended doesn't count.
		db.mustExec(t, "UPDATE auth_user SET password = 'new' WHERE id = ?", carol.id)
		g.get(t, "/", append(host, "Cookie", carols+"; "+alices)...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		// Both logging in again and logging out help.
		db.reset(t)
		answer := newBrowser(g).get(t, "/?sesame="+tokenFor(t, alice), append(host, "Cookie", carols+"; "+alices)...)
		if !strings.Contains(answer.body, "Switch to another account?") || !strings.Contains(answer.body, "carol") {
			t.Errorf("a link beside both: %d %s", answer.status, answer.body)
		}
	})
}

// TestAmbiguousSessionsOfUsersWithoutTheRight: a session counts even if its user
// doesn't meet the requirements.
func TestAmbiguousSessionsOfUsersWithoutTheRight(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		open := startGateway(t, db, up, sessionSite(""))
		alices := sessionCookie(t, open.get(t, "/?sesame="+tokenFor(t, alice), "Host", "app.example.com"))
		carols := sessionCookie(t, open.get(t, "/?sesame="+tokenFor(t, carol), "Host", "app.example.com"))
		g := startGateway(t, db, up, sessionSite("require user alice"))
		for cookies, status := range map[string]int{
			alices:                 http.StatusOK,
			carols:                 http.StatusForbidden,
			alices + "; " + carols: http.StatusUnauthorized,
			carols + "; " + alices: http.StatusUnauthorized,
		} {
			g.get(t, "/", "Host", "app.example.com", "Cookie", cookies).wantStatus(t, status)
		}
	})
}

// TestForgedCookieBeforeAnExpiredOne: a second cookie behind the forged one reveals
// nothing to a client over the limit.
func TestForgedCookieBeforeAnExpiredOne(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n max_age 1s\n}\nwatch off\nlimit_failures " + ownLimit("1 per 1h")})
		expired := sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, alice)))
		poll(t, "the end of the session", func() bool {
			return g.get(t, "/", "Cookie", expired).status == http.StatusUnauthorized
		})
		other := otherSitesSession(t, g)
		// Each is another guess, in the form of a session and not signed.
		forged := func(n int) string { return fmt.Sprintf("%s%04d%s", other[:27], n, other[31:]) }
		g.get(t, "/", "Cookie", forged(0))
		for i, cookies := range []string{"%s", "%s; " + expired, expired + "; %s", "%s; " + other, other + "; %s"} {
			cookies = fmt.Sprintf(cookies, forged(i+1))
			if answer := g.get(t, "/", "Cookie", cookies); answer.status != http.StatusTooManyRequests {
				t.Errorf("%s: status %d, want 429", cookies, answer.status)
			}
		}
		up.take()
	})
}

// TestCookieAttributes sets each option of the cookie, and checks the cookie's
// attributes and that the session works.
func TestCookieAttributes(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		const trusting = "servers {\n trusted_proxies static 127.0.0.0/8\n trusted_proxies_strict\n}"
		forwarded := []string{"X-Forwarded-Proto", "https"}
		for name, test := range map[string]struct {
			session, global string
			header          []string
			name            string
			want, unwanted  []string
		}{
			"the defaults":                     {name: "sesame", want: []string{"Path=/", "SameSite=Lax", "HttpOnly"}, unwanted: []string{"Secure", "Domain"}},
			"domain":                           {session: "domain .Example.com", name: "sesame", want: []string{"Domain=example.com", "Path=/"}, unwanted: []string{"Secure"}},
			"domain over HTTPS":                {session: "domain example.com\nsecure on", name: "sesame", want: []string{"Domain=example.com", "Secure"}},
			"path":                             {session: "path /app", name: "sesame", want: []string{"Path=/app;"}, unwanted: []string{"Domain"}},
			"path over HTTPS":                  {session: "path /app\nsecure on", name: "sesame", want: []string{"Path=/app;", "Secure"}},
			"secure on":                        {session: "secure on", name: "__Host-sesame", want: []string{"Path=/", "Secure"}, unwanted: []string{"Domain"}},
			"secure off behind HTTPS":          {session: "secure off", global: trusting, header: forwarded, name: "sesame", unwanted: []string{"Secure"}},
			"same_site none over HTTP":         {session: "same_site none", name: "__Host-sesame", want: []string{"SameSite=None", "Secure"}},
			"partitioned":                      {session: "same_site none\npartitioned on", name: "__Host-sesame", want: []string{"SameSite=None", "Secure", "Partitioned"}},
			"same_site strict":                 {session: "same_site strict", name: "sesame", want: []string{"SameSite=Strict"}},
			"HTTPS, by a trusted proxy":        {global: trusting, header: forwarded, name: "__Host-sesame", want: []string{"Secure"}},
			"HTTPS, by any other client":       {header: forwarded, name: "sesame", unwanted: []string{"Secure"}},
			"a trusted proxy that speaks HTTP": {global: trusting, header: []string{"X-Forwarded-Proto", "http"}, name: "sesame", unwanted: []string{"Secure"}},
			"another name":                     {session: "name who\nsecure on", name: "__Host-who"},
		} {
			t.Run(name, func(t *testing.T) {
				g := startGateway(t, db, up, site{options: "session {\n" + test.session + "\n}", global: test.global})
				header := append([]string{"Host", "app.example.com", "Accept", "text/html"}, test.header...)
				answer := g.get(t, "/app/x?sesame="+tokenFor(t, alice), header...)
				answer.wantStatus(t, http.StatusSeeOther)
				set := answer.header.Get("Set-Cookie")
				value, ok := strings.CutPrefix(set, test.name+"=")
				if !ok {
					t.Fatalf("Set-Cookie: %s; want %s", set, test.name)
				}
				for _, part := range append(test.want, "Max-Age=43200", "HttpOnly") {
					if !strings.Contains(set, part) {
						t.Errorf("Set-Cookie: %s; want %s in it", set, part)
					}
				}
				for _, part := range test.unwanted {
					if strings.Contains(set, part) {
						t.Errorf("Set-Cookie: %s; want no %s", set, part)
					}
				}
				value, _, _ = strings.Cut(value, ";")
				g.get(t, "/app/x", append(header, "Cookie", test.name+"="+value)...).wantStatus(t, http.StatusOK)
				wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
				// The same value under the name for the other scheme, HTTP or HTTPS,
				// is no session.
				wrong := "__Host-" + test.name
				if bare, isHost := strings.CutPrefix(test.name, "__Host-"); isHost {
					wrong = bare
				}
				g.get(t, "/app/x", append(header, "Cookie", wrong+"="+value)...).wantStatus(t, http.StatusUnauthorized)
				up.takeNone(t)
			})
		}
	})
}

// TestSessionIsBoundToItsDomain: with a domain it is valid on all hosts of the
// domain, without one on its own host.
func TestSessionIsBoundToItsDomain(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for options, status := range map[string]int{"session {\n domain example.com\n}": http.StatusOK, "session": http.StatusUnauthorized} {
			g := startGateway(t, db, up, site{options: options})
			cookie := sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, alice), "Host", "app.example.com"))
			g.get(t, "/", "Host", "a.wild.example.com", "Cookie", cookie).wantStatus(t, status)
			if got := up.take(); status == http.StatusOK && (len(got) != 1 || got[0].header.Get("Remote-User") != "alice") {
				t.Errorf("%s: the upstream got %v", options, got)
			}
		}
	})
}

// TestRenewedCookieLastsAsLongAsTheSession, to the last second of max_age. A response that
// is under way then isn't cut off, as watch would.
func TestRenewedCookieLastsAsLongAsTheSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n max_age 3s\n idle 2s\n}\nwatch off"})
		b := newBrowser(g)
		b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
		renewals := 0
		poll(t, "the end of the session", func() bool {
			b.get(t, "/")
			if set := b.last.header.Get("Set-Cookie"); set != "" && b.last.status == http.StatusOK {
				renewals++
				if !strings.Contains(set, "Max-Age=1") && !strings.Contains(set, "Max-Age=2") {
					t.Errorf("a renewal doesn't say how long it lasts: %s", set)
				}
			}
			return b.last.status == http.StatusUnauthorized
		})
		if renewals == 0 {
			t.Error("nothing was renewed")
		}
	})
}

// TestLogoutEndsTheApplicationsCookies has applications with sessions of their own.
func TestLogoutEndsTheApplicationsCookies(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n redirect off\n end_cookies sessionid sid:/tt-rss/ wordpress_*\n}"})
		const theirs = "sessionid=s; wordpress_abc=w; keep=1; xsessionid=2"
		const host = "app.example.com"
		b := newBrowser(g)
		open := func(u testUser, cookies string) *response {
			t.Helper()
			return g.get(t, "/blog/?sesame="+tokenFor(t, u), append(asChrome, "Host", host, "Cookie", cookies)...)
		}

		// The first login: the application's cookies may be another user's.
		answer := open(alice, theirs)
		answer.wantStatus(t, http.StatusOK)
		wantExpired(t, answer, "sessionid", "sid", "wordpress_abc")
		got := up.takeOne(t)
		wantHeader(t, got.header, "Cookie", "keep=1; xsessionid=2")
		wantHeader(t, got.header, "Remote-User", "alice")

		// The same user again: they stay logged in to the application, too.
		alices := "sesame=" + cookieOf(answer, "sesame")
		answer = open(alice, alices+"; "+theirs)
		wantExpired(t, answer)
		wantHeader(t, up.takeOne(t).header, "Cookie", theirs)

		// Another user, by the button.
		b.cookies = map[string]string{"sesame": cookieOf(answer, "sesame"), "sessionid": "s"}
		b.get(t, "/blog/?sesame="+tokenFor(t, carol), "Host", host).wantStatus(t, http.StatusOK)
		wantExpired(t, b.last) // not before it is pressed
		b.press(t, "Host", host).wantStatus(t, http.StatusSeeOther)
		wantExpired(t, b.last, "sessionid", "sid")
		if set := strings.Join(b.last.header["Set-Cookie"], "\n"); !strings.Contains(set, "sid=; Path=/tt-rss/; Domain=example.com; Max-Age=0") || !strings.Contains(set, "sid=; Path=/tt-rss/; Max-Age=0") {
			t.Errorf("a cookie with a path isn't expired for it: %s", set)
		}
		up.takeNone(t)

		// A logout, where the browser doesn't send the cookies of other paths.
		b.do(t, http.MethodPost, "/_sesame/logout", "Host", host).wantStatus(t, http.StatusOK)
		wantExpired(t, b.last, "sessionid", "sid")

		// A session that has ended: its user may come back without one.
		db.mustExec(t, "UPDATE auth_user SET password = 'new' WHERE id = ?", alice.id)
		answer = g.get(t, "/", "Host", host, "Cookie", alices+"; "+theirs)
		answer.wantStatus(t, http.StatusUnauthorized)
		wantExpired(t, answer, "sessionid", "sid", "wordpress_abc")
		// Junk is no session: other hosts can't end the application's sessions with
		// it.
		wantExpired(t, g.get(t, "/", "Host", host, "Cookie", "sesame=junk; "+theirs))
	})
}

// wantExpired fails the test unless these cookies of applications are expired,
// and no others.
func wantExpired(t *testing.T, answer *response, names ...string) {
	t.Helper()
	var expired []string
	for _, c := range (&http.Response{Header: answer.header}).Cookies() {
		if c.MaxAge < 0 && !strings.Contains(c.Name, "sesame") && !slices.Contains(expired, c.Name) {
			expired = append(expired, c.Name)
		}
	}
	slices.Sort(expired)
	slices.Sort(names)
	if fmt.Sprint(expired) != fmt.Sprint(names) {
		t.Errorf("expired are %q, want %q; status %d", expired, names, answer.status)
	}
}

// cookieOf is the value that an answer sets last of a cookie.
func cookieOf(answer *response, name string) (value string) {
	for _, c := range (&http.Response{Header: answer.header}).Cookies() {
		if c.Name == name {
			value = c.Value
		}
	}
	return value
}

// otherSitesSession is a session cookie for another site of the gateway.
func otherSitesSession(t *testing.T, g *gateway) string {
	t.Helper()
	return sessionCookie(t, g.get(t, "/?sesame="+tokenAt(t, alice, "", time.Now()), "Host", "app.example.com"))
}

// TestLogoutEndsOpenResponses: a logout ends the open responses of its session in
// all handlers, and of no other session.
func TestLogoutEndsOpenResponses(t *testing.T) {
	up := startEndless(t)
	for name, leave := range map[string]func(t *testing.T, b *browser){
		"a logout": func(t *testing.T, b *browser) {
			b.do(t, http.MethodPost, "/_sesame/logout").wantStatus(t, http.StatusOK)
		},
		"another user's login": func(t *testing.T, b *browser) {
			b.get(t, "/?sesame="+tokenAt(t, carol, "report", time.Now())).wantStatus(t, http.StatusOK)
			b.press(t).wantStatus(t, http.StatusSeeOther)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withEachDatabase(t, func(t *testing.T, db *database) {
				g := startGateway(t, db, &upstream{addr: up}, sessionSite("scope report"))
				made := func(u testUser) string { return tokenAt(t, u, "report", time.Now()) }
				logIn := func(link string) *browser {
					b := newBrowser(g)
					b.get(t, link).wantStatus(t, http.StatusSeeOther)
					return b
				}
				open := func(b *browser, path string) net.Conn {
					return g.open(t, "GET "+path+" HTTP/1.1\nHost: "+g.addr+"\nConnection: Upgrade\nUpgrade: websocket\nCookie: sesame="+b.cookies["sesame"]+"\n\n")
				}
				leaving := logIn("/?sesame=" + made(alice))
				// Two logins of a user within a second make the same session.
				second := time.Now().Unix()
				poll(t, "the next second", func() bool { return time.Now().Unix() > second })
				staying, others := logIn("/?sesame="+made(alice)), logIn("/a?sesame="+made(carol))
				ended := []net.Conn{open(leaving, "/socket"), open(leaving, "/stream")}
				kept := []net.Conn{open(staying, "/socket"), open(others, "/socket")}
				leave(t, leaving)
				for i, conn := range ended {
					if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("response %d of the session is still open", i)
					}
				}
				for i, conn := range kept {
					if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
						t.Fatal(err)
					}
					if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("response %d of another session has ended: %v", i, err)
					}
				}
			})
		})
	}
}

// TestALinkBesideSessionsOfSeveralUsersAsksFirst: a sibling host can put sessions
// of the user of its link in front of the visitor's own.
func TestALinkBesideSessionsOfSeveralUsersAsksFirst(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n domain example.com\n}"})
		host := []string{"Host", "app.example.com"}
		users := []testUser{alice, carol}
		for i := range 4 {
			other := testUser{id: 100 + int64(i), username: fmt.Sprintf("other%d", i), password: carol.password, isActive: true}
			db.insert(t, other)
			users = append(users, other)
		}
		var cookies []string
		for _, user := range users {
			cookies = append(cookies, sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, user), host...)))
		}
		alices, carols, others := cookies[0], cookies[1], strings.Join(cookies[2:], "; ")
		for name, sent := range map[string]string{
			"the link's user first":            carols + "; " + alices,
			"the link's user last":             alices + "; " + carols,
			"the link's user in the middle":    carols + "; " + alices + "; " + carols,
			"more users than are looked up":    carols + "; " + others + "; " + alices,
			"many users, the link's user last": alices + "; " + others + "; " + carols,
		} {
			for _, uri := range []string{"/", "/_sesame/login"} {
				answer := g.get(t, uri+"?sesame="+tokenFor(t, carol), slices.Concat(host, asChrome, []string{"Cookie", sent})...)
				if answer.status != http.StatusOK || !strings.Contains(answer.body, "Switch to another account?") || strings.Contains(answer.header.Get("Set-Cookie"), "sesame=") {
					t.Errorf("%s, %s: status %d, %q", name, uri, answer.status, answer.header["Set-Cookie"])
				}
			}
		}
		up.takeNone(t)
	})
}
