package sesame_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
)

// logInFor logs alice in by the form of the login page, with a choice of how long
// the session is to last. It returns the line of the session's cookie.
func (b *browser) logInFor(t *testing.T, length, cookie string) (line string) {
	t.Helper()
	b.get(t, "/_sesame/login?switch=1").wantStatus(t, http.StatusOK)
	answer := b.fill(t, url.Values{"method": {"password"}, "identifier": {"alice"}, "password": {"secret"}, "length": {length}})
	answer.wantStatus(t, http.StatusSeeOther)
	for _, line := range answer.header["Set-Cookie"] {
		if strings.HasPrefix(line, cookie+"=") && !strings.Contains(line, "Max-Age=0") {
			return line
		}
	}
	t.Fatalf("no cookie %s in %q", cookie, answer.header["Set-Cookie"])
	return ""
}

// endsIn is for how long the browser is logged in, as whoami says.
func (b *browser) endsIn(t *testing.T) time.Duration {
	t.Helper()
	var who struct {
		Until time.Time `json:"until"`
	}
	if err := json.Unmarshal([]byte(b.get(t, "/_sesame/whoami").body), &who); err != nil {
		t.Fatal(err)
	}
	return time.Until(who.Until).Round(time.Minute)
}

// TestUserChoosesHowLongASessionLasts: the cookie says so to the browser, and the
// session itself ends then.
func TestUserChoosesHowLongASessionLasts(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := passwordSite(14)
		s.options += "\nlogin {\npassword\nremember 30d\n}\nsession {\nidle 3h\n}"
		g := startGateway(t, db, up, s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		for length, want := range map[string]struct {
			maxAge string
			ends   time.Duration
		}{
			"":         {"Max-Age=43200;", 3 * time.Hour},
			"remember": {"Max-Age=2592000;", 30 * 24 * time.Hour},
			"shared":   {"", time.Hour},
			"for ever": {"Max-Age=43200;", 3 * time.Hour},
		} {
			b := newBrowser(g)
			line := b.logInFor(t, length, "sesame")
			if !strings.Contains(line, want.maxAge) || strings.Contains(line, "Max-Age") != (want.maxAge != "") || strings.Contains(line, "Expires") {
				t.Errorf("%q: %s", length, line)
			}
			if ends := b.endsIn(t); ends != want.ends {
				t.Errorf("%q: the session ends in %s, want %s", length, ends, want.ends)
			}
		}
	})
}

// TestExplainSaysHowLongTheUserWantedToStay of a session cookie.
func TestExplainSaysHowLongTheUserWantedToStay(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		s := passwordSite(17)
		s.options += "\nlogin {\npassword\nremember 30d\n}\nsession"
		g := startGateway(t, db, startUpstream(t), s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		for length, want := range map[string]string{
			"remember": ", the user chose to be remembered",
			"shared":   ", the user chose a shared computer",
			"":         "",
		} {
			b := newBrowser(g)
			b.logInFor(t, length, "sesame")
			explained := newOperator(t, oneSite(s.options, ""), db.dsn).run(t, "explain", b.cookies["sesame"], "--site", "127.0.0.1")
			explained.wantStatus(t, 0)
			wantText(t, explained.stdout, `session: of "alice" (primary key 1), for the site 127.0.0.1, begun at `, want)
			if want == "" && strings.Contains(explained.stdout, "the user chose") {
				t.Errorf("without a choice: %s", explained.stdout)
			}
		}
	})
}

// TestRememberedUsersAreNotWithoutTheOption: a form that says so begins a session as
// any other.
func TestRememberedUsersAreNotWithoutTheOption(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		s := passwordSite(15)
		s.options += "\nlogin {\npassword\n}"
		g := startGateway(t, db, startUpstream(t), s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		b := newBrowser(g)
		if line := b.logInFor(t, "remember", "sesame"); !strings.Contains(line, "Max-Age=43200;") {
			t.Error(line)
		}
	})
}

// TestDjangosSessionLastsAsTheUserHasChosen, by Django's set_expiry.
func TestDjangosSessionLastsAsTheUserHasChosen(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		s := passwordSite(16)
		s.options += "\n" + writing + "\nlogin {\npassword\nremember 30d\n}"
		g := startGateway(t, db, startUpstream(t), s)
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		sessions, err := djangosession.New(djangosession.Settings{SecretKey: secretKey})
		if err != nil {
			t.Fatal(err)
		}
		b := newBrowser(g)
		for _, test := range []struct {
			length, maxAge string
			atClose        bool
			row, saved     time.Duration // when it ends: as it is, and once Django saves it
		}{
			{"", "Max-Age=1209600;", false, 14 * 24 * time.Hour, 14 * 24 * time.Hour},
			{"remember", "Max-Age=2592000;", false, 30 * 24 * time.Hour, 30 * 24 * time.Hour},
			{"shared", "", true, 12 * time.Hour, 14 * 24 * time.Hour},
			{"remember", "Max-Age=2592000;", false, 30 * 24 * time.Hour, 30 * 24 * time.Hour},
		} {
			line := b.logInFor(t, test.length, "sessionid")
			if !strings.Contains(line, test.maxAge) || strings.Contains(line, "Max-Age") == test.atClose {
				t.Errorf("%q: %s", test.length, line)
			}
			data, ends := db.dataOf(t, b.cookies["sessionid"])
			saved, err := sessions.ExpireDate(data, time.Now())
			if err != nil || sessions.ExpiresAtBrowserClose(data) != test.atClose || time.Until(saved).Round(time.Minute) != test.saved {
				t.Errorf("%q: %s", test.length, data.JSON())
			}
			if got := time.Until(ends).Round(time.Minute); got != test.row || b.endsIn(t) != test.row {
				t.Errorf("%q: the row ends in %s, and whoami says %s; want %s", test.length, got, b.endsIn(t), test.row)
			}
		}
	})
}
