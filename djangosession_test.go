package sesame_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// djangoSessions is the table that Django keeps sessions in.
const djangoSessions = `CREATE TABLE django_session (
	session_key varchar(40) NOT NULL PRIMARY KEY,
	session_data longtext NOT NULL,
	expire_date datetime(6) NOT NULL,
	KEY (expire_date)
)`

// addSessions makes Django's table of sessions, without any.
func (db *database) addSessions(t testing.TB) {
	t.Helper()
	db.mustExec(t, "DROP TABLE IF EXISTS django_session")
	db.mustExec(t, djangoSessions)
	t.Cleanup(func() { db.mustExec(t, "DROP TABLE IF EXISTS django_session") })
}

// djangoLogin is a session as Django has it after a login.
type djangoLogin struct {
	user     testUser
	key      string // of signing; secretKey if empty
	backend  string // djangosession.ModelBackend if empty
	lasts    time.Duration
	isNobody bool // no user has logged in
}

// logIn makes a session as Django does, and returns what the browser sends.
func (db *database) logIn(t testing.TB, l djangoLogin) (cookie []string) {
	t.Helper()
	if l.key == "" {
		l.key = secretKey
	}
	if l.backend == "" {
		l.backend = djangosession.ModelBackend
	}
	if l.lasts == 0 {
		l.lasts = time.Hour
	}
	sessions, err := djangosession.New(djangosession.Settings{SecretKey: l.key, Backends: []string{l.backend}})
	if err != nil {
		t.Fatal(err)
	}
	data := djangosession.Data{}
	if !l.isNobody {
		data, _ = sessions.Login(data, strconv.FormatInt(l.user.id, 10), l.backend, djangosession.User{Password: &l.user.password})
	}
	key := djangosession.NewKey()
	db.mustExec(t, "INSERT INTO django_session VALUES (?, ?, ?)", key, sessions.Encode(data, time.Now()), time.Now().UTC().Add(l.lasts))
	return []string{"Cookie", "sessionid=" + key}
}

// keyOf is the key of a session in what the browser sends.
func keyOf(cookie []string) string { return strings.TrimPrefix(cookie[1], "sessionid=") }

// sessionGone reports whether the table has no session with a key.
func (db *database) sessionGone(t *testing.T, key string) bool {
	t.Helper()
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM django_session WHERE session_key = ?", key).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n == 0
}

// withSessions runs a test with Django's table of sessions, and gateways that may
// write to it. The embedded server can't execute the query for it: "max1Row
// iterator returned more than one row", for a UNION of two rows.
func withSessions(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addSessions(t)
		test(t, db)
	})
}

func TestUserWhoIsLoggedInToDjangoIsLoggedInHere(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "django_session\nsecret_key_fallbacks \"former key\""})
		for name, test := range map[string]struct {
			login djangoLogin
			after string // a statement
			want  int
		}{
			"a session":                      {djangoLogin{user: alice}, "", 200},
			"signed with a former key":       {djangoLogin{user: alice, key: "former key"}, "", 200},
			"signed with another key":        {djangoLogin{user: alice, key: "another key"}, "", 401},
			"expired":                        {djangoLogin{user: alice, lasts: -time.Second}, "", 401},
			"of an inactive user":            {djangoLogin{user: bob}, "", 401},
			"of no user":                     {djangoLogin{user: testUser{id: 9}}, "", 401},
			"of nobody":                      {djangoLogin{isNobody: true}, "", 401},
			"by a backend that isn't listed": {djangoLogin{user: alice, backend: "a.Backend"}, "", 403},
			"after a logout":                 {djangoLogin{user: alice}, "DELETE FROM django_session", 401},
			"after a new password":           {djangoLogin{user: carol}, "UPDATE auth_user SET password = 'new' WHERE id = 3", 401},
			"after a deactivation":           {djangoLogin{user: alice}, "UPDATE auth_user SET is_active = 0 WHERE id = 1", 401},
			"after the user was deleted":     {djangoLogin{user: alice}, "DELETE FROM auth_user WHERE id = 1", 401},
			"after it has expired":           {djangoLogin{user: alice}, "UPDATE django_session SET expire_date = '2020-01-01'", 401},
		} {
			t.Run(name, func(t *testing.T) {
				db.mustExec(t, "DELETE FROM auth_user")
				for _, u := range []testUser{alice, bob, carol} {
					db.insert(t, u)
				}
				cookie := db.logIn(t, test.login)
				if test.after != "" {
					g.get(t, "/", cookie...).wantStatus(t, http.StatusOK)
					up.takeOne(t)
					db.mustExec(t, test.after)
				}
				g.get(t, "/", cookie...).wantStatus(t, test.want)
				if test.want != http.StatusOK {
					up.takeNone(t)
					return
				}
				got := up.takeOne(t)
				wantHeader(t, got.header, "Remote-User", test.login.user.username)
				wantHeader(t, got.header, "Cookie", "")
			})
		}
	})
}

func TestDjangoItselfGetsItsCookie(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "optional\ndjango_session {\npass_cookie on\n}"})
		for _, login := range []djangoLogin{{user: alice}, {isNobody: true}} {
			cookie := db.logIn(t, login)
			g.get(t, "/", "Cookie", "a=1; "+cookie[1]).wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Cookie", "a=1; "+cookie[1])
			wantHeader(t, got.header, "Remote-User", login.user.username)
		}
	})
}

func TestRequestsOfOtherSitesDoNothingByDjangosCookie(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "django_session"})
		cookie := db.logIn(t, djangoLogin{user: alice})
		own := "http://" + g.addr
		for name, test := range map[string]struct {
			method string
			header []string
			want   int
		}{
			"a GET of another site":        {"GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
			"a POST of a program":          {"POST", nil, 403},
			"a POST of this origin":        {"POST", []string{"Origin", own}, 200},
			"a POST that says same-origin": {"POST", []string{"Sec-Fetch-Site", "same-origin"}, 200},
			"a POST of a sibling host":     {"POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://www.example.com"}, 403},
			"a POST of another site":       {"POST", []string{"Origin", "http://evil.example"}, 403},
			"a DELETE of another site":     {"DELETE", []string{"Origin", "http://evil.example"}, 403},
			"a POST with a hidden origin":  {"POST", []string{"Origin", "null"}, 403},
			"a WebSocket of another site":  {"GET", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "http://evil.example"}, 403},
			"a WebSocket of this origin":   {"GET", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", own}, 200},
			"a POST with a token":          {"POST", bearer(tokenFor(t, carol)), 200},
			"a POST with an invalid token": {"POST", bearer(tokenFor(t, carol, withKey("other"))), 403},
		} {
			answer := g.do(t, test.method, "/", append(append([]string{"Accept", "application/json"}, cookie...), test.header...)...)
			if answer.status != test.want {
				t.Errorf("%s: status %d, want %d: %s", name, answer.status, test.want, answer.body)
			}
			if got := len(up.take()); (got == 1) != (test.want == http.StatusOK) {
				t.Errorf("%s: the upstream got %d requests", name, got)
			}
			if test.want == http.StatusForbidden && !strings.Contains(answer.body, `"error":"cross_site"`) {
				t.Errorf("%s: the answer doesn't say why: %s", name, answer.body)
			}
		}
	})
}

func TestBrowserWithoutASessionIsSentToDjangosLoginPage(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "django_session {\nlogin_url http://www.example.com/login/\n}"})
		page := append([]string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none"}, asBrowser...)
		gone := []string{"Cookie", "sessionid=" + djangosession.NewKey()}
		for name, test := range map[string]struct {
			method string
			uri    string
			header []string
			want   int
		}{
			"a page":                       {"GET", "/x?a=1&b=%26", page, 303},
			"a page with an old cookie":    {"GET", "/x?a=1&b=%26", append(gone, page...), 303},
			"a page with an invalid link":  {"GET", "/x?a=1&b=%26&sesame=" + tokenFor(t, alice, withKey("other")), page, 401},
			"a form":                       {"POST", "/x?a=1&b=%26", page, 401},
			"a script":                     {"GET", "/x?a=1&b=%26", []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 401},
			"a program":                    {"GET", "/x?a=1&b=%26", nil, 401},
			"a session of another backend": {"GET", "/x", append(db.logIn(t, djangoLogin{user: alice, backend: "a.B"}), page...), 403},
		} {
			answer := g.do(t, test.method, test.uri, test.header...)
			if answer.status != test.want {
				t.Errorf("%s: status %d, want %d: %s", name, answer.status, test.want, answer.body)
				continue
			}
			location := answer.header.Get("Location")
			if test.want == http.StatusSeeOther {
				to, err := url.Parse(location)
				if err != nil || to.Query().Get("next") != "http://"+g.addr+"/x?a=1&b=%26" || !strings.HasPrefix(location, "http://www.example.com/login/?next=") {
					t.Errorf("%s: sent to %s", name, location)
				}
			} else if location != "" {
				t.Errorf("%s: sent to %s", name, location)
			}
			if test.want == http.StatusUnauthorized && len(test.header) == len(page) && !strings.Contains(answer.body, `<a href="http://www.example.com/login/`) {
				t.Errorf("%s: no link to log in: %s", name, answer.body)
			}
			if strings.Contains(answer.body+location, "sesame=") {
				t.Errorf("%s: the answer has the token: %s %s", name, location, answer.body)
			}
		}
		up.takeNone(t)
	})
}

// djangoCookie is a session of Django's in a cookie, with the engine
// signed_cookies.
func djangoCookie(t testing.TB, u testUser, key string, at time.Time) string {
	t.Helper()
	sessions, err := djangosession.New(djangosession.Settings{SecretKey: key, Engine: djangosession.SignedCookies})
	if err != nil {
		t.Fatal(err)
	}
	data, _ := sessions.Login(djangosession.Data{}, strconv.FormatInt(u.id, 10), djangosession.ModelBackend, djangosession.User{Password: &u.password})
	return sessions.Encode(data, at)
}

func TestLinkAsksBeforeItEndsASessionOfAnUnlistedBackend(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		signed, err := djangosession.New(djangosession.Settings{SecretKey: secretKey, Engine: djangosession.SignedCookies})
		if err != nil {
			t.Fatal(err)
		}
		for _, engine := range []djangosession.Engine{djangosession.DB, djangosession.SignedCookies} {
			t.Run(string(engine), func(t *testing.T) {
				g := startGateway(t, db, up, site{options: "confirm off\ndjango_session {\nwrite on\nengine " + string(engine) + "\n}"})
				cookie := db.logIn(t, djangoLogin{user: alice, backend: "a.Backend"})
				if engine == djangosession.SignedCookies {
					data, _ := signed.Login(djangosession.Data{}, strconv.FormatInt(alice.id, 10), "a.Backend", djangosession.User{Password: &alice.password})
					cookie = []string{"Cookie", "sessionid=" + signed.Encode(data, time.Now())}
				}
				header := append([]string{"Accept", "text/html"}, cookie...)

				page := g.get(t, "/?sesame="+tokenFor(t, carol), header...)
				page.wantStatus(t, http.StatusOK)
				if !strings.Contains(page.body, "alice") || !strings.Contains(page.body, "carol") {
					t.Errorf("the page doesn't say who is who: %s", page.body)
				}
				up.takeNone(t)
				if engine == djangosession.DB && db.sessionGone(t, keyOf(cookie)) {
					t.Error("the session has ended unasked")
				}
				for _, set := range page.header["Set-Cookie"] {
					if strings.HasPrefix(set, "sessionid=") {
						t.Errorf("the session was replaced unasked: %s", set)
					}
				}

				// The user's own link asks nothing.
				g.get(t, "/?sesame="+tokenFor(t, alice), header...).wantStatus(t, http.StatusSeeOther)
			})
		}
	})
}

func TestClientOverTheLimitKeepsASessionThatIsntAccepted(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "confirm off\nlimit_failures " + ownLimit("1 per 1h") + "\ndjango_session {\nwrite on\n}"})
		otherKey := func(s *token.Settings) { s.SecretKey = "another key" }
		for range 3 { // as a page of another site has images load
			g.get(t, "/?sesame="+tokenFor(t, alice, otherKey))
			g.get(t, "/?sesame="+tokenFor(t, carol, otherKey))
		}
		for name, login := range map[string]djangoLogin{
			"of nobody":              {isNobody: true},
			"of an unlisted backend": {user: alice, backend: "a.Backend"},
		} {
			cookie := db.logIn(t, login)
			answer := g.get(t, "/", append([]string{"Accept", "text/html"}, cookie...)...)
			for _, set := range answer.header["Set-Cookie"] {
				if strings.HasPrefix(set, "sessionid=") {
					t.Errorf("a session %s: the browser is to forget it: %s", name, set)
				}
			}
			if login.isNobody {
				continue
			}
			page := g.get(t, "/?sesame="+tokenFor(t, carol), append([]string{"Accept", "text/html"}, cookie...)...)
			page.wantStatus(t, http.StatusOK)
			if db.sessionGone(t, keyOf(cookie)) {
				t.Errorf("a session %s has ended unasked", name)
			}
		}
		up.takeNone(t)
	})
}
