package sesame_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// listing are options with which sessions are in a table.
const listing = "session {\ntable sesame_session\n}"

// addSessionList makes the table of sessions, with the statement for operators.
func (db *database) addSessionList(t testing.TB) {
	t.Helper()
	inspector, err := userstore.NewInspector(userstore.Config{DSN: db.dsn, QueryTimeout: caddy.Duration(patience)}, userstore.Needs{})
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	if _, err := inspector.Table(t.Context()); err != nil {
		t.Fatal(err)
	}
	statement, err := inspector.SessionList("sesame_session")
	if err != nil {
		t.Fatal(err)
	}
	db.mustExec(t, "DROP TABLE IF EXISTS sesame_session")
	db.mustExec(t, strings.TrimSuffix(statement, ";"))
	t.Cleanup(func() { db.mustExec(t, "DROP TABLE IF EXISTS sesame_session") })
}

// withSessionList runs a test with each database, in which the table is.
func withSessionList(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addSessionList(t)
		test(t, db)
	})
}

// count is a number that a query returns.
func (db *database) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// session is a cookie of the browser as another client sends it.
func (b *browser) session() []string { return []string{"Cookie", "sesame=" + b.cookies["sesame"]} }

// logInAs logs a user in by a link, with a User-Agent.
func (b *browser) logInAs(t *testing.T, u testUser, agent string) *browser {
	t.Helper()
	b.get(t, "/?sesame="+tokenFor(t, u), "User-Agent", agent).wantStatus(t, http.StatusSeeOther)
	return b
}

const (
	firefoxOnLinux = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
	safariOnPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
)

// end presses a button of the page of a user's logins.
func (b *browser) end(t *testing.T, what string, header ...string) *response {
	t.Helper()
	if len(header) == 0 {
		header = []string{"Origin", "http://" + b.gateway.addr}
	}
	header = append(append(header, asBrowser...), "Content-Type", "application/x-www-form-urlencoded")
	return b.exchangeBody(t, http.MethodPost, "/_sesame/sessions", url.Values{"end": {what}}.Encode(), header)
}

var endButtons = regexp.MustCompile(`name="end" value="([a-z2-7]{26})" aria-label="([^"]*)"`)

// listed are the sessions that the page shows, each as its ID and the label of its
// button.
func (b *browser) listed(t *testing.T) (found [][]string) {
	t.Helper()
	for _, match := range endButtons.FindAllStringSubmatch(b.get(t, "/_sesame/sessions").body, -1) {
		found = append(found, match[1:])
	}
	return found
}

func TestUserSeesAndEndsLogins(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		laptop, phone := newBrowser(g).logInAs(t, alice, firefoxOnLinux), newBrowser(g).logInAs(t, alice, safariOnPhone)
		other := newBrowser(g).logInAs(t, carol, "")
		list := laptop.listed(t)
		if len(list) != 2 || list[0][1] != "Log out Firefox on Linux" || list[1][1] != "Log out Safari on iPhone" {
			t.Fatalf("the page lists %q", list)
		}
		for _, part := range []string{"This device", "127.0.0.0/24", "just now", "Log out all other devices"} {
			if !strings.Contains(laptop.last.body, part) {
				t.Errorf("the page doesn't say %q: %s", part, laptop.last.body)
			}
		}
		if only := other.listed(t); len(only) != 1 || only[0][1] != "Log out Unknown browser" || !strings.Contains(other.last.body, "any other device.") {
			t.Errorf("carol's page lists %q", only)
		}

		// carol can't end alice's, and no other site can end any.
		other.end(t, list[1][0]).wantStatus(t, http.StatusOK)
		if strings.Contains(other.last.body, "was logged out.") {
			t.Errorf("carol's page says that alice was logged out: %s", other.last.body)
		}
		laptop.end(t, list[1][0], "Origin", "https://evil.example").wantStatus(t, http.StatusForbidden)
		laptop.end(t, list[1][0], "Sec-Fetch-Site", "cross-site").wantStatus(t, http.StatusForbidden)
		laptop.end(t, "nothing").wantStatus(t, http.StatusBadRequest)
		phone.get(t, "/").wantStatus(t, http.StatusOK)

		laptop.end(t, list[1][0]).wantStatus(t, http.StatusOK)
		if !strings.Contains(laptop.last.body, "1 other device was logged out.") {
			t.Errorf("it isn't said: %s", laptop.last.body)
		}
		phone.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		if phone.cookies["sesame"] != "" {
			t.Error("the phone keeps its cookie")
		}

		phone.logInAs(t, alice, safariOnPhone)
		third := newBrowser(g).logInAs(t, alice, "curl/8")
		phone.end(t, "others").wantStatus(t, http.StatusOK)
		for _, b := range []*browser{laptop, third} {
			b.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		}
		phone.get(t, "/").wantStatus(t, http.StatusOK)
		other.get(t, "/").wantStatus(t, http.StatusOK)

		// The browser's own session ends as by the page for logging out.
		copied := phone.session()
		phone.end(t, phone.listed(t)[0][0]).wantStatus(t, http.StatusOK)
		if phone.cookies["sesame"] != "" || !strings.Contains(phone.last.body, "You are logged out") {
			t.Errorf("still logged in: %s", phone.last.body)
		}
		g.get(t, "/", copied...).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestLogoutEndsCopiesOfTheCookie, and so does a login in the same browser.
func TestLogoutEndsCopiesOfTheCookie(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		b := newBrowser(g).logInAs(t, alice, firefoxOnLinux)
		first := b.session()
		g.get(t, "/", first...).wantStatus(t, http.StatusOK)
		b.logInAs(t, alice, firefoxOnLinux)
		second := b.session()
		g.get(t, "/", first...).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", second...).wantStatus(t, http.StatusOK)
		b.do(t, http.MethodPost, "/_sesame/logout", "Origin", "http://"+g.addr).wantStatus(t, http.StatusOK)
		up.take()
		g.get(t, "/", second...).wantStatus(t, http.StatusUnauthorized)
		up.takeNone(t)
		if n := db.count(t, "SELECT COUNT(*) FROM sesame_session"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if !strings.Contains(string(g.log(t)), `"reason":"ended"`) {
			t.Error("the log doesn't say why")
		}
	})
}

// TestPageOfLoginsIsForSessionsAlone: not for links and tokens, whose bearer may be
// another person, and not without a table.
func TestPageOfLoginsIsForSessionsAlone(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		g.get(t, "/_sesame/sessions").wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/_sesame/sessions?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/_sesame/sessions", "Authorization", "Bearer "+tokenFor(t, alice)).wantStatus(t, http.StatusUnauthorized)
		b := newBrowser(g).logInAs(t, alice, firefoxOnLinux)
		g.do(t, http.MethodPut, "/_sesame/sessions", b.session()...).wantStatus(t, http.StatusMethodNotAllowed)
		var told struct {
			Sessions []struct{ ID, Browser string }
		}
		answer := g.get(t, "/_sesame/sessions", append(b.session(), "Accept", "application/json")...)
		if err := json.Unmarshal([]byte(answer.body), &told); err != nil || len(told.Sessions) != 1 || told.Sessions[0].Browser != "Firefox" {
			t.Errorf("as JSON: %s", answer.body)
		}

		without := startGateway(t, db, up, sessionSite(""))
		c := newBrowser(without).logInAs(t, alice, firefoxOnLinux)
		c.get(t, "/_sesame/sessions").wantStatus(t, http.StatusNotFound)
		c.get(t, "/").wantStatus(t, http.StatusOK)
		// A session in a table isn't one without it: it may have been ended.
		without.get(t, "/", b.session()...).wantStatus(t, http.StatusUnauthorized)
		if !strings.Contains(string(without.log(t)), `"reason":"no_table"`) {
			t.Error("the log doesn't say why")
		}
	})
}

// TestSessionFromBeforeTheTableGoesOn: it isn't in the list.
func TestSessionFromBeforeTheTableGoesOn(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		before := startGateway(t, db, up, sessionSite(""))
		b := newBrowser(before).logInAs(t, alice, firefoxOnLinux)
		g := startGateway(t, db, up, site{options: listing})
		b.gateway = g
		b.get(t, "/").wantStatus(t, http.StatusOK)
		if list := b.listed(t); len(list) != 0 {
			t.Errorf("listed are %q", list)
		}
		b.logInAs(t, alice, firefoxOnLinux)
		if list := b.listed(t); len(list) != 1 {
			t.Errorf("after another login, listed are %q", list)
		}
	})
}

// TestUseOfASessionIsNoted at most once an hour, beside the request.
func TestUseOfASessionIsNoted(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\ntable sesame_session\nidle 2h\n}"})
		b := newBrowser(g).logInAs(t, alice, firefoxOnLinux)
		expires := func() time.Duration {
			minutes := db.count(t, "SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), expires) FROM sesame_session")
			return time.Duration(minutes) * time.Minute
		}
		if got := expires(); got < 2*time.Hour+58*time.Minute || got > 3*time.Hour {
			t.Errorf("the row expires in %s", got)
		}
		db.mustExec(t, "UPDATE sesame_session SET seen = '2026-01-01 00:00:00', expires = UTC_TIMESTAMP() + INTERVAL 10 MINUTE")
		b.get(t, "/").wantStatus(t, http.StatusOK)
		poll(t, "the note", func() bool { return expires() > time.Hour })
		if n := db.count(t, "SELECT TIMESTAMPDIFF(MINUTE, seen, UTC_TIMESTAMP()) FROM sesame_session"); n > 1 {
			t.Errorf("it was used %d minutes ago", n)
		}
		db.mustExec(t, "UPDATE sesame_session SET browser = 'kept', seen = UTC_TIMESTAMP() - INTERVAL 30 MINUTE")
		b.get(t, "/").wantStatus(t, http.StatusOK)
		if n := db.count(t, "SELECT TIMESTAMPDIFF(MINUTE, seen, UTC_TIMESTAMP()) FROM sesame_session"); n < 29 {
			t.Errorf("it was noted again after %d minutes", n)
		}
	})
}

// TestResponsesOfAnEndedSessionEnd: at once where the session was ended here, and
// with the next check where a row is gone.
func TestResponsesOfAnEndedSessionEnd(t *testing.T) {
	endless := startEndless(t)
	withSessionList(t, func(t *testing.T, db *database) {
		g := startGateway(t, db, &upstream{addr: endless}, site{options: listing + "\nwatch 100ms"})
		b := newBrowser(g)
		open := func(of *browser) net.Conn {
			of.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
			return g.open(t, "GET /socket HTTP/1.1\nHost: "+g.addr+"\nConnection: Upgrade\nUpgrade: websocket\nCookie: sesame="+of.cookies["sesame"]+"\n\n")
		}
		wantEnded := func(conn net.Conn, why string) {
			t.Helper()
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it is still open after %s", why)
			}
		}
		other := open(newBrowser(g))
		kept := open(b)
		b.end(t, "others").wantStatus(t, http.StatusOK)
		wantEnded(other, "its end in the list")
		if err := kept.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the browser's own has ended: %v", err)
		}
		if err := kept.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		db.mustExec(t, "DELETE FROM sesame_session")
		wantEnded(kept, "its row was deleted")
	})
}
