package sesame_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
)

// dataOf reads the session of a key as Django does.
func (db *database) dataOf(t *testing.T, key string) (data djangosession.Data, ends time.Time) {
	t.Helper()
	var row djangosession.Row
	var text string
	if err := db.QueryRow("SELECT session_data, CAST(expire_date AS CHAR) FROM django_session WHERE session_key = ?", key).Scan(&row.SessionData, &text); err != nil {
		t.Fatalf("reading the session %q: %v", key, err)
	}
	ends, err := time.ParseInLocation("2006-01-02 15:04:05.999999", text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	row.ExpireDate = ends
	sessions, err := djangosession.New(djangosession.Settings{SecretKey: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := sessions.ParseRow(row, time.Now())
	if err != nil && err != djangosession.Anonymous { //nolint:errorlint // it isn't wrapped
		t.Fatalf("the session isn't Django's: %v", err)
	}
	return parsed.Data(), ends
}

// writing are options with which a login begins a session of Django's.
const writing = "django_session {\nwrite on\n}"

func TestLinkBeginsASessionOfDjangos(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: writing})
		b := newBrowser(g)
		b.get(t, "/x?sesame="+tokenFor(t, alice), "Cookie", "csrftoken=former")
		key := b.cookies["sessionid"]
		if data, ends := db.dataOf(t, key); data.UserID != "1" || data.Backend != djangosession.ModelBackend || time.Until(ends).Round(time.Minute) != 14*24*time.Hour {
			t.Errorf("the session is of user %q by %s, until %s", data.UserID, data.Backend, ends)
		}
		set := strings.Join(b.last.header["Set-Cookie"], "\n")
		if !strings.Contains(set, "Max-Age=1209600; HttpOnly; SameSite=Lax") || !strings.Contains(set, "csrftoken=; Path=/; Max-Age=0") || strings.Contains(set, "sesame") {
			t.Errorf("cookies: %s", set)
		}
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")

		var who struct {
			ID    string    `json:"id"`
			By    string    `json:"authenticated_by"`
			Until time.Time `json:"until"`
		}
		if err := json.Unmarshal([]byte(b.get(t, "/_sesame/whoami").body), &who); err != nil {
			t.Fatal(err)
		}
		if who.ID != "1" || who.By != "django_session" || time.Until(who.Until).Round(time.Minute) != 14*24*time.Hour {
			t.Errorf("whoami: %+v", who)
		}

		b.get(t, "/_sesame/logout").wantStatus(t, http.StatusOK)
		b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://evil.example").wantStatus(t, http.StatusForbidden)
		b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
		if !db.sessionGone(t, key) || b.cookies["sessionid"] != "" {
			t.Errorf("after the logout: the row is gone: %t, the browser has %q", db.sessionGone(t, key), b.cookies)
		}
		g.get(t, "/", "Cookie", "sessionid="+key).wantStatus(t, http.StatusUnauthorized)
		lines := g.awaitLines(t, "http.handlers.sesame.audit", 2)
		if lines[0]["scheme"] != "token" || lines[1]["scheme"] != "django_session" || lines[1]["msg"] != "logout" {
			t.Errorf("the audit log has %v", lines)
		}
		if strings.Contains(string(g.log(t)), key) {
			t.Error("the log has the session's key")
		}
	})
}

func TestLoginDealsWithTheFormerSessionAsDjangoDoes(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: writing})
		for name, test := range map[string]struct {
			before   djangoLogin
			asks     bool // for a switch of accounts
			keepsKey bool
			isGone   bool
		}{
			"of the same user":    {before: djangoLogin{user: alice}, keepsKey: true},
			"of another user":     {before: djangoLogin{user: carol}, asks: true, isGone: true},
			"of nobody":           {before: djangoLogin{isNobody: true}, isGone: true},
			"of another backend":  {before: djangoLogin{user: alice, backend: "a.B"}, keepsKey: true},
			"of an inactive user": {before: djangoLogin{user: bob}, isGone: true},
			"with another key":    {before: djangoLogin{user: alice, key: "other"}, isGone: true},
			"which has expired":   {before: djangoLogin{user: alice, lasts: -time.Minute}, isGone: true},
		} {
			t.Run(name, func(t *testing.T) {
				cookie := db.logIn(t, test.before)
				b := newBrowser(g)
				b.cookies["sessionid"] = keyOf(cookie)
				b.get(t, "/x?sesame="+tokenFor(t, alice))
				if test.asks {
					b.last.wantStatus(t, http.StatusOK)
					b.press(t, "Origin", "http://"+g.addr)
				}
				b.last.wantStatus(t, http.StatusSeeOther)
				key := b.cookies["sessionid"]
				if (key == keyOf(cookie)) != test.keepsKey {
					t.Errorf("the key stays: %t", key == keyOf(cookie))
				}
				if data, _ := db.dataOf(t, key); data.UserID != "1" || data.Backend != djangosession.ModelBackend {
					t.Errorf("the session is of user %q by %s", data.UserID, data.Backend)
				}
				if gone := db.sessionGone(t, keyOf(cookie)); gone != test.isGone {
					t.Errorf("the former session is gone: %t, want %t", gone, test.isGone)
				}
				b.get(t, "/x").wantStatus(t, http.StatusOK)
			})
		}
	})
}

// TestLoginReplacesSessionsThatOtherHostsHaveSet: what other hosts of the domain
// have set would be sent beside the new session.
func TestLoginReplacesSessionsThatOtherHostsHaveSet(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, startUpstream(t), site{options: writing + "\nconfirm off"})
		planted, other := keyOf(db.logIn(t, djangoLogin{isNobody: true})), keyOf(db.logIn(t, djangoLogin{isNobody: true}))
		answer := g.get(t, "/?sesame="+tokenFor(t, alice), append([]string{"Cookie", "sessionid=" + planted + "; sessionid=" + other}, asBrowser...)...)
		answer.wantStatus(t, http.StatusSeeOther)
		sets := answer.header["Set-Cookie"]
		last := sets[len(sets)-1]
		if len(sets) < 3 || !strings.HasPrefix(last, "sessionid=") || strings.Contains(last, planted) || strings.Contains(last, other) || strings.Contains(last, "Max-Age=0") {
			t.Errorf("cookies: %q", sets)
		}
		if !db.sessionGone(t, planted) || !db.sessionGone(t, other) {
			t.Error("a session that was planted is still there")
		}
	})
}

func TestCookiesOfSeveralUsersAreRejected(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: writing})
		hers, others, nobodys := db.logIn(t, djangoLogin{user: alice}), db.logIn(t, djangoLogin{user: carol}), db.logIn(t, djangoLogin{isNobody: true})
		again := db.logIn(t, djangoLogin{user: alice})
		for name, test := range map[string]struct {
			cookie string
			want   int
		}{
			"of two users":                {hers[1] + "; " + others[1], 401},
			"of one user":                 {hers[1] + "; " + again[1], 200},
			"of a user and of nobody":     {nobodys[1] + "; " + hers[1], 200},
			"of a user, and an ended one": {hers[1] + "; sessionid=" + djangosession.NewKey(), 200},
			"the same one twice":          {hers[1] + "; " + hers[1], 200},
		} {
			answer := g.get(t, "/", "Cookie", test.cookie)
			if answer.status != test.want {
				t.Errorf("%s: status %d, want %d", name, answer.status, test.want)
			}
			if got := up.take(); len(got) > 0 {
				wantHeader(t, got[0].header, "Remote-User", "alice")
				wantHeader(t, got[0].header, "Cookie", "")
			}
		}
		answer := g.get(t, "/", append(bearer(tokenFor(t, carol)), hers...)...)
		answer.wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "carol")
	})
}

func TestRequestExtendsItsSession(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, startUpstream(t), site{options: "django_session {\ncookie_age 10h\ntouch 1h\n}"})
		old, fresh, gone := db.logIn(t, djangoLogin{user: alice, lasts: 8 * time.Hour}), db.logIn(t, djangoLogin{user: carol, lasts: 9*time.Hour + 30*time.Minute}), db.logIn(t, djangoLogin{user: alice, lasts: -time.Minute})
		_, before := db.dataOf(t, keyOf(fresh))
		answer := g.get(t, "/", old...)
		answer.wantStatus(t, http.StatusOK)
		if set := answer.header.Get("Set-Cookie"); !strings.HasPrefix(set, "sessionid="+keyOf(old)) || !strings.Contains(set, "Max-Age=36000") || answer.header.Get("Cache-Control") != "private" {
			t.Errorf("the cookie is %q, Cache-Control %q", set, answer.header.Get("Cache-Control"))
		}
		poll(t, "the session to be extended", func() bool {
			_, ends := db.dataOf(t, keyOf(old))
			return time.Until(ends).Round(time.Minute) == 10*time.Hour
		})
		for _, cookie := range [][]string{old, fresh} {
			answer := g.get(t, "/", cookie...)
			answer.wantStatus(t, http.StatusOK)
			if set := answer.header.Get("Set-Cookie"); set != "" {
				t.Errorf("again: the cookie is %q", set)
			}
		}
		if _, after := db.dataOf(t, keyOf(fresh)); !after.Equal(before) {
			t.Errorf("a session that was saved half an hour ago ends at %s, and ended at %s", after, before)
		}
		g.get(t, "/", gone...).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestLogoutWinsOverWhatWritesAtTheSameTime logs out while requests extend the
// session and a link logs the same user in.
func TestLogoutWinsOverWhatWritesAtTheSameTime(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, startUpstream(t), site{options: "django_session {\nwrite on\ntouch 1s\n}"})
		for range 10 {
			cookie := db.logIn(t, djangoLogin{user: alice})
			origin := []string{"Origin", "http://" + g.addr}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					// The logout may cut the response off.
					request, _ := http.NewRequest(http.MethodGet, "http://"+g.addr, nil)
					request.Header.Set("Cookie", cookie[1])
					if answer, err := http.DefaultClient.Do(request); err == nil {
						_ = answer.Body.Close()
					}
				})
			}
			all.Go(func() {
				g.do(t, http.MethodPost, "/_sesame/logout", append(origin, cookie...)...).wantStatus(t, http.StatusOK)
			})
			all.Wait()
			g.get(t, "/", cookie...).wantStatus(t, http.StatusUnauthorized)
			if !db.sessionGone(t, keyOf(cookie)) {
				t.Fatal("a session that was logged out is there again")
			}
		}
	})
}

func TestStreamEndsWithItsSessionOfDjangos(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		site := site{options: "watch 50ms\n" + writing, after: "reverse_proxy " + startEndless(t) + " {\nflush_interval -1\n}"}
		g := startGateway(t, db, startUpstream(t), site)
		for name, test := range map[string]struct{ end func(cookie []string) }{
			"a logout in Django": {func(cookie []string) {
				db.mustExec(t, "DELETE FROM django_session WHERE session_key = ?", keyOf(cookie))
			}},
			"a logout here": {func(cookie []string) {
				g.do(t, http.MethodPost, "/_sesame/logout", append([]string{"Origin", "http://" + g.addr}, cookie...)...)
			}},
			"its time": {func(cookie []string) {
				db.mustExec(t, "UPDATE django_session SET expire_date = '2020-01-01' WHERE session_key = ?", keyOf(cookie))
			}},
		} {
			cookie, other := db.logIn(t, djangoLogin{user: alice}), db.logIn(t, djangoLogin{user: alice})
			stream, stays := g.openStream(t, "/", cookie...), g.openStream(t, "/", other...)
			test.end(cookie)
			poll(t, "the stream to end after "+name, func() bool { return hasEnded(stream) })
			if hasEnded(stays) {
				t.Errorf("%s: the stream of another session has ended", name)
			}
		}
	})
}

func TestSessionInACookieIsBegunAndEnded(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "django_session {\nengine signed_cookies\nwrite on\nexpire_at_browser_close on\n}"})
		b := newBrowser(g)
		b.get(t, "/?sesame="+tokenFor(t, alice))
		if set := b.last.header.Get("Set-Cookie"); !strings.HasPrefix(set, "sessionid=") || strings.Contains(set, "Max-Age") || strings.Contains(set, "Expires") {
			t.Errorf("the cookie outlives the browser: %s", set)
		}
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		db.mustExec(t, "UPDATE auth_user SET password = 'new' WHERE id = 1")
		b.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		if b.cookies["sessionid"] != "" {
			t.Errorf("the browser keeps an ended session")
		}
	})
}
