package sesame_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sessionSite is a site with sessions.
func sessionSite(options string) site { return site{options: "session\n" + options} }

func TestTokenInALinkStartsASession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(g)

		answer := b.get(t, "/a%2Fb/?x=1&sesame="+tokenFor(t, alice)+"&y=%7e")
		answer.wantStatus(t, http.StatusSeeOther)
		wantHeader(t, answer.header, "Location", "/a%2Fb/?x=1&y=%7e")
		wantHeader(t, answer.header, "Cache-Control", "no-store")
		wantHeader(t, answer.header, "Referrer-Policy", "no-referrer")
		up.takeNone(t)
		set := answer.header.Get("Set-Cookie")
		for _, part := range []string{"sesame=", "Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Lax"} {
			if !strings.Contains(set, part) {
				t.Errorf("Set-Cookie: %s; want %s in it", set, part)
			}
		}

		b.cookies["other"] = "1"
		b.follow(t).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "Remote-User", "alice")
		wantHeader(t, got.header, "Cookie", "other=1")
		if got.uri != "/a%2Fb/?x=1&y=%7e" {
			t.Errorf("the upstream got %s", got.uri)
		}

		var lastLogin string
		if err := db.QueryRow("SELECT CAST(last_login AS CHAR) FROM auth_user WHERE id = 1").Scan(&lastLogin); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(lastLogin, time.Now().UTC().Format("2006-01-02")) {
			t.Errorf("last_login is %s", lastLogin)
		}
	})
}

func TestSessionEndsWithTheUsersRow(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		for name, end := range map[string]string{
			"password":    "UPDATE auth_user SET password = 'new' WHERE id = 1",
			"deactivated": "UPDATE auth_user SET is_active = 0 WHERE id = 1",
			"deleted":     "DELETE FROM auth_user WHERE id = 1",
		} {
			t.Run(name, func(t *testing.T) {
				db.reset(t)
				b := newBrowser(g)
				b.get(t, "/?sesame="+tokenFor(t, alice))
				b.follow(t).wantStatus(t, http.StatusOK)
				db.mustExec(t, end)
				up.take()
				b.get(t, "/").wantStatus(t, http.StatusUnauthorized)
				up.takeNone(t)
				if len(b.cookies) > 0 {
					t.Errorf("the browser keeps %v", b.cookies)
				}
			})
		}
	})
}

func TestForgedCookies(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(`scope {http.request.uri.path.0}`))
		b := newBrowser(g)
		b.get(t, "/a/?sesame="+tokenAt(t, alice, "a", time.Now()), "Host", "app.example.com").wantStatus(t, http.StatusSeeOther)
		value := b.cookies["sesame"]
		for name, test := range map[string]struct{ uri, host, cookie string }{
			"none":         {"/a/", "app.example.com", ""},
			"truncated":    {"/a/", "app.example.com", value[:len(value)-1]},
			"tampered":     {"/a/", "app.example.com", "B" + value[1:]},
			"other scope":  {"/b/", "app.example.com", value},
			"other site":   {"/a/", "x.wild.example.com", value},
			"a token":      {"/a/", "app.example.com", tokenAt(t, alice, "a", time.Now())},
			"long":         {"/a/", "app.example.com", strings.Repeat("A", 8000)},
			"not a cookie": {"/a/", "app.example.com", "\"\\;;=" + value},
		} {
			t.Run(name, func(t *testing.T) {
				g.get(t, test.uri, "Host", test.host, "Cookie", "sesame="+test.cookie).wantStatus(t, http.StatusUnauthorized)
				up.takeNone(t)
			})
		}
		// Another site of the domain may have planted one in front.
		g.get(t, "/a/", "Host", "app.example.com", "Cookie", "sesame=planted; sesame="+value+"; x=y").wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Cookie", "x=y")
	})
}

func TestTokensOfOtherRequestsThanLinksStartNoSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(g)
		b.do(t, http.MethodPost, "/form?sesame="+tokenFor(t, alice), "Sec-Fetch-Site", "same-origin").wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		b.get(t, "/").wantStatus(t, http.StatusOK)

		// Scripts that send the token in a header need no cookie.
		answer := g.get(t, "/", "Authorization", "Bearer "+tokenFor(t, alice))
		answer.wantStatus(t, http.StatusOK)
		wantHeader(t, answer.header, "Set-Cookie", "")
		// A prefetch logs no user in, either.
		wantHeader(t, g.do(t, http.MethodHead, "/?sesame="+tokenFor(t, alice)).header, "Set-Cookie", "")
	})
}

// TestPlantedRequestsStartNoSession sends requests that a page of another site makes
// by itself. They start no session, so that no user works in another user's account.
func TestPlantedRequestsStartNoSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		link := "/?sesame=" + tokenFor(t, carol)
		for _, planted := range []struct {
			method string
			header []string
		}{
			{http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}},
			{http.MethodPost, []string{"Origin", "https://evil.example"}},
			{http.MethodGet, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Accept", "image/*"}},
		} {
			answer := g.do(t, planted.method, link, planted.header...)
			answer.wantStatus(t, http.StatusOK)
			wantHeader(t, answer.header, "Set-Cookie", "")
		}
		// A link in a web mail is from another site as well, but it was clicked.
		answer := newBrowser(g).get(t, link, "Sec-Fetch-Site", "cross-site")
		if answer.header.Get("Set-Cookie") == "" {
			t.Errorf("no session, status %d", answer.status)
		}
	})
}

// TestSessionOfAnotherScopeIsKept: a request for a page of another scope doesn't end the
// session.
func TestSessionOfAnotherScopeIsKept(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		b := newBrowser(startGateway(t, db, up, sessionSite("scope {http.request.uri.path.0}")))
		b.get(t, "/a/?sesame="+tokenAt(t, alice, "a", time.Now())).wantStatus(t, http.StatusSeeOther)
		b.get(t, "/b/image.png").wantStatus(t, http.StatusUnauthorized)
		b.get(t, "/a/").wantStatus(t, http.StatusOK)
	})
}

// TestPlantedOneTimeTokenIsNotUsedUp isn't used up by a page of another site.
func TestPlantedOneTimeTokenIsNotUsedUp(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite("one_time"))
		link := "/?sesame=" + tokenFor(t, alice, oneTime)
		g.do(t, http.MethodPost, link, "Sec-Fetch-Site", "cross-site").wantStatus(t, http.StatusNoContent)
		up.takeNone(t)
		b := newBrowser(g)
		b.get(t, link)
		b.press(t).wantStatus(t, http.StatusSeeOther)
	})
}

func TestOldLinkBesideSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(g)
		b.get(t, "/?sesame="+tokenFor(t, alice))
		b.get(t, "/page?sesame=bad")
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		if line := g.awaitLines(t, "http.handlers.sesame", 1)[0]; line["reason"] != "malformed" {
			t.Errorf("logged %v", line)
		}
		b.do(t, http.MethodPost, "/page?sesame=bad").wantStatus(t, http.StatusOK)
		if got := up.takeOne(t); got.uri != "/page" {
			t.Errorf("the upstream got %s", got.uri)
		}
	})
}

// TestOldLinkOfAScriptIsServedByTheSession: a request that isn't for a page is
// served by the session, and isn't redirected; so is a page with redirect off.
func TestOldLinkOfAScriptIsServedByTheSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for _, test := range []struct {
			redirect, accept string
			status           int
		}{
			{"on", "text/html", http.StatusSeeOther},
			{"on", "application/json", http.StatusOK},
			{"on", "*/*", http.StatusOK},
			{"off", "text/html", http.StatusOK},
		} {
			g := startGateway(t, db, up, site{options: "session {\n redirect " + test.redirect + "\n}", global: "metrics"})
			cookie := sessionCookie(t, g.get(t, "/?sesame="+tokenFor(t, alice)))
			up.take()
			before := metricValues(t)
			answer := g.get(t, "/page?sesame=bad", "Accept", test.accept, "Cookie", cookie)
			answer.wantStatus(t, test.status)
			if test.status == http.StatusOK {
				wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			} else {
				up.takeNone(t)
			}
			const served = `requests_total{outcome="session",reason=""}`
			if grown := metricValues(t)[served] - before[served]; grown != 1 {
				t.Errorf("%+v: %s has grown by %v, want 1", test, served, grown)
			}
		}
	})
}

// TestSwitchingAccounts has an attacker send the attacker's own link to a user.
func TestSwitchingAccounts(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for _, options := range []string{"", "confirm off"} {
			db.reset(t)
			b := newBrowser(startGateway(t, db, up, sessionSite(options)))
			b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
			page := b.get(t, "/?sesame="+tokenFor(t, carol))
			page.wantStatus(t, http.StatusOK)
			if !strings.Contains(page.body, "alice") || !strings.Contains(page.body, "carol") {
				t.Errorf("the page doesn't say who is who: %s", page.body)
			}
			b.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")

			b.get(t, "/?sesame="+tokenFor(t, carol))
			b.press(t).wantStatus(t, http.StatusSeeOther)
			b.get(t, "/").wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
		}
	})
}

// attacksOnNext are targets that some browser or app takes for another site.
var attacksOnNext = []string{
	"//evil.example", "///evil.example", "////evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`,
	`/\/evil.example`, `//\evil.example`, "https://evil.example", "https:evil.example", "https:/evil.example",
	"HTTPS://evil.example", "http:///evil.example", "javascript:alert(1)", "data:text/html,x", "evil.example",
	"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\t//evil.example", " //evil.example",
	"/%2Fevil.example", "/%2f%2fevil.example", "/%5Cevil.example", "/%5c/evil.example", "%2F%2Fevil.example",
	"/%252Fevil.example", "/%09/evil.example\x00", "//evil.example@app.example.com", "//app.example.com@evil.example",
	"/\u2028//evil.example\x7f", "https://app.example.com.evil.example", "?x", "#x", "",
	".//evil.example", "@evil.example", ":80", "/" + strings.Repeat("a", 3000),
}

func TestLoginPageAsksBeforeItLogsIn(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		valid := tokenFor(t, alice)
		login := func(next string) string {
			answer := newBrowser(g).get(t, "/_sesame/login?sesame="+valid+"&next="+url.QueryEscape(next))
			answer.wantStatus(t, http.StatusSeeOther)
			if answer.header.Get("Set-Cookie") == "" {
				t.Errorf("%q: no session", next)
			}
			return answer.header.Get("Location")
		}
		for _, next := range []string{"/", "/a/b?c=d&e=%20f#g", "/a//b", "/?next=//x"} {
			if got := login(next); got != next {
				t.Errorf("next=%q leads to %q", next, got)
			}
		}
		for _, next := range attacksOnNext {
			if got := login(next); got != "/" {
				t.Errorf("next=%q leads to %q", next, got)
			}
		}
		g.get(t, "/_sesame/login?sesame=bad&next=/a").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/_sesame/login").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/_sesame/nothing?sesame="+valid).wantStatus(t, http.StatusNotFound)
		up.takeNone(t)
	})
}

// TestRedirectStaysOnTheSite asks for paths that would be links to other hosts when
// they stand alone.
func TestRedirectStaysOnTheSite(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		for _, target := range []string{
			"//evil.example/", "///evil.example", `/\evil.example`, `//\evil.example`, "//evil.example:80/x?y=z",
			"http://app.example.com//evil.example/", "//evil.example/%2e%2e", "//evil.example@x/",
		} {
			conn := g.rawAnswer(t, "GET "+addQuery(target, "sesame="+tokenFor(t, alice))+" HTTP/1.1\nHost: app.example.com\nAccept: text/html\nConnection: close\n\n")
			location := conn.Header.Get("Location")
			resolved, err := url.Parse("http://app.example.com/base/")
			if err == nil {
				resolved, err = resolved.Parse(strings.ReplaceAll(location, `\`, "/")) // as browsers do
			}
			if conn.StatusCode != http.StatusSeeOther || err != nil || resolved.Host != "app.example.com" {
				t.Errorf("%s: status %d, Location %q", target, conn.StatusCode, location)
			}
		}
	})
}

func addQuery(uri, parameter string) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + parameter
	}
	return uri + "?" + parameter
}

func TestLogoutEndsTheSession(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(g)
		logIn := func() { b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther) }

		logIn()
		b.do(t, http.MethodPost, "/_sesame/logout", "Sec-Fetch-Site", "cross-site").wantStatus(t, http.StatusForbidden)
		b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "https://evil.example").wantStatus(t, http.StatusForbidden)
		b.get(t, "/_sesame/logout").wantStatus(t, http.StatusOK)
		b.get(t, "/").wantStatus(t, http.StatusOK) // looking at the page isn't enough

		b.get(t, "/_sesame/logout")
		b.last.body = strings.Replace(b.last.body, `action="?`, `action="/_sesame/logout?`, 1)
		b.press(t).wantStatus(t, http.StatusOK)
		b.get(t, "/").wantStatus(t, http.StatusUnauthorized)

		logIn()
		b.do(t, http.MethodPost, "/_sesame/logout?next=/bye").wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/bye")
		for _, next := range attacksOnNext {
			b.do(t, http.MethodPost, "/_sesame/logout?next="+url.QueryEscape(next)).wantStatus(t, http.StatusOK)
		}
	})
}

func TestWhoamiTellsWhoIsLoggedIn(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(g)
		b.get(t, "/_sesame/whoami").wantStatus(t, http.StatusUnauthorized)
		wantHeader(t, b.last.header, "Content-Type", "application/json")
		b.get(t, "/?sesame="+tokenFor(t, alice))
		b.get(t, "/_sesame/whoami").wantStatus(t, http.StatusOK)
		for _, part := range []string{`"id":"1"`, `"username":"alice"`, `"email":"alice@example.com"`, `"authenticated_by":"session"`, `"until":"2`} {
			if !strings.Contains(b.last.body, part) {
				t.Errorf("whoami: %s; want %s in it", b.last.body, part)
			}
		}
		answer := g.get(t, "/_sesame/whoami", "Authorization", "Bearer "+tokenFor(t, carol))
		if !strings.Contains(answer.body, `"authenticated_by":"token"`) || !strings.Contains(answer.body, "carol") {
			t.Errorf("whoami: %s", answer.body)
		}
		up.takeNone(t)
	})
}

func TestRedirectOption(t *testing.T) {
	const safari = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"
	const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		for _, test := range []struct {
			redirect, agent string
			status          int
		}{
			{"on", safari, http.StatusSeeOther},
			{"off", chrome, http.StatusOK},
			{"safari_off", safari, http.StatusOK},
			{"safari_off", chrome, http.StatusSeeOther},
		} {
			db.reset(t)
			g := startGateway(t, db, up, site{options: "session {\n redirect " + test.redirect + "\n}"})
			answer := newBrowser(g).get(t, "/?sesame="+tokenFor(t, alice), "User-Agent", test.agent)
			answer.wantStatus(t, test.status)
			if answer.header.Get("Set-Cookie") == "" {
				t.Errorf("%v: no session", test)
			}
			wantHeader(t, answer.header, "Referrer-Policy", "no-referrer")
		}
	})
}

func TestSessionOutOfUseEnds(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n max_age 1h\n idle 2s\n}"})
		b := newBrowser(g)
		b.get(t, "/?sesame="+tokenFor(t, alice))
		first := b.cookies["sesame"]
		poll(t, "a renewal", func() bool {
			b.get(t, "/").wantStatus(t, http.StatusOK)
			return b.cookies["sesame"] != first
		})
		kept := fmt.Sprint(b.cookies["sesame"])
		poll(t, "the end of an idle session", func() bool {
			// Not through the browser: its cookie would be renewed.
			return g.get(t, "/_sesame/whoami", "Cookie", "sesame="+kept).status == http.StatusUnauthorized
		})
	})
}

func TestRefusedLinksShowAPageWithTheReason(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		age := withMaxAge(time.Minute)
		expired := tokenAt(t, alice, "", time.Now().Add(-time.Hour), age)
		forged := tokenAt(t, alice, "", time.Now().Add(-time.Hour), age, withKey("x"))

		g := startGateway(t, db, up, sessionSite(`max_age 1m
			pages {
				help_url https://example.com/help?from=link
				expired_hint
				text expired.title "Zu alt"
				color accent "#0a7f5a" teal
				language de
			}`))
		page := newBrowser(g).get(t, "/?sesame="+expired)
		page.wantStatus(t, http.StatusUnauthorized)
		for _, part := range []string{"Zu alt", "alice", "https://example.com/help?from=link&amp;user=1&amp;", `lang="de"`, "--accent: teal"} {
			if !strings.Contains(page.body, part) {
				t.Errorf("%q is not on the page: %s", part, page.body)
			}
		}
		for _, tok := range []string{forged, "bad"} {
			page := newBrowser(g).get(t, "/?sesame="+tok)
			if strings.Contains(page.body, "alice") || strings.Contains(page.body, "user=1") || !strings.Contains(page.body, "https://example.com/help?from=link\"") {
				t.Errorf("the page of a forged link: %s", page.body)
			}
		}
	})
}

// TestOpenConnectionsEnd has a WebSocket and an event stream open while the
// user is deactivated, changes the password, or the session ends.
func TestOpenConnectionsEnd(t *testing.T) {
	up := startEndless(t)
	for name, test := range map[string]struct{ session, end string }{
		"password":    {"", "UPDATE auth_user SET password = 'new' WHERE id = 1"},
		"deactivated": {"", "UPDATE auth_user SET is_active = 0 WHERE id = 1"},
		"deleted":     {"", "DELETE FROM auth_user WHERE id = 1"},
		"max_age":     {"max_age 2s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			withEachDatabase(t, func(t *testing.T, db *database) {
				g := startGateway(t, db, &upstream{addr: up}, site{options: "session {\n" + test.session + "\n}\nwatch 100ms"})
				b := newBrowser(g)
				b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
				cookie := "Cookie: sesame=" + b.cookies["sesame"]
				stream := g.open(t, "GET /stream HTTP/1.1\nHost: "+g.addr+"\n"+cookie+"\n\n")
				socket := g.open(t, "GET /socket HTTP/1.1\nHost: "+g.addr+"\nConnection: Upgrade\nUpgrade: websocket\n"+cookie+"\n\n")
				if test.end != "" {
					db.mustExec(t, test.end)
				}
				for what, conn := range map[string]net.Conn{"stream": stream, "socket": socket} {
					if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the %s is still open", what)
					}
				}
			})
		})
	}
}

// startEndless runs an app whose responses only end when their client does.
func startEndless(t *testing.T) (addr string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		_, _ = io.WriteString(w, "hello")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// open sends a request, and returns the connection once its response began.
func (g *gateway) open(t *testing.T, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Caddy must be through with the connection before it is stopped.
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	})
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	begun, buffer := "", make([]byte, 1)
	for !strings.HasSuffix(begun, "hello") {
		if _, err := conn.Read(buffer); err != nil {
			t.Fatalf("reading the answer to %q: %v, after %q", request, err, begun)
		}
		begun += string(buffer)
	}
	return conn
}

// TestOwnTemplateTakesThePlaceOfAllPages has the operator's template in the place of
// all pages.
func TestOwnTemplateTakesThePlaceOfAllPages(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		file := filepath.Join(t.TempDir(), "page.html")
		const own = `<title>Ours: {{.Title}}</title><form method="post" action="{{.Action}}"><button>{{.Button}}</button></form>`
		if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBrowser(startGateway(t, db, up, sessionSite("one_time\npages {\n template "+file+"\n}")))
		b.get(t, "/a?x=%22%3E%3Cscript%3E&sesame="+tokenFor(t, alice, oneTime)).wantStatus(t, http.StatusOK)
		if !strings.HasPrefix(b.last.body, "<title>Ours: Log in</title>") || strings.Contains(b.last.body, "<script>") {
			t.Errorf("the page: %s", b.last.body)
		}
		if policy := b.last.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
			t.Errorf("Content-Security-Policy: %s", policy)
		}
		// Its button says where it was pressed; the other pages say nothing.
		wantHeader(t, b.last.header, "Referrer-Policy", "strict-origin")
		b.press(t).wantStatus(t, http.StatusSeeOther)
		refused := newBrowser(b.gateway).get(t, "/")
		refused.wantStatus(t, http.StatusUnauthorized)
		wantHeader(t, refused.header, "Referrer-Policy", "no-referrer")

		if err := os.WriteFile(file, []byte("{{.Nonsense}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tryCaddyfile(b.gateway.caddyfile(db, up, sessionSite("pages {\n template "+file+"\n}"))); err == nil || !strings.Contains(err.Error(), "template") {
			t.Errorf("a template that can't work: %v", err)
		}
	})
}
