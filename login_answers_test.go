package sesame_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
)

// withPasswordPage runs a test for a gateway whose page asks for passwords, which
// alice has.
func withPasswordPage(t *testing.T, s site, run func(t *testing.T, db *database, g *gateway, up *upstream)) {
	s.options += "\nlogin {\npassword\n}"
	withMariaDB(t, func(t *testing.T, db *database) {
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		up := startUpstream(t)
		run(t, db, startGateway(t, db, up, s), up)
	})
}

// typing is a form with a name and a password.
func typing(name, text string) url.Values {
	return url.Values{"method": {"password"}, "identifier": {name}, "password": {text}}
}

// wantForm fails the test unless the answer shows the form for the password, with the
// name that was typed.
func (r *response) wantForm(t *testing.T, name string) {
	t.Helper()
	if !formCSRF.MatchString(r.body) || !strings.Contains(r.body, `value="`+name+`"`) || strings.Contains(r.body, `type="password" value=`) {
		t.Errorf("the form with %s isn't shown: %s", name, r.body)
	}
}

// TestFormDoesntTellWhichUsersExist: the answers are the same after as many hashes for
// users who don't exist, are inactive, or have no password.
func TestFormDoesntTellWhichUsersExist(t *testing.T) {
	withPasswordPage(t, passwordSite(61, "identifier username email"), func(t *testing.T, db *database, g *gateway, _ *upstream) {
		db.setPassword(t, bob, hashOf(t, password.MD5, "secret"))
		db.setPassword(t, carol, "!unusable0123456789012345678901234567890")
		db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = ?", bob.id)
		changing := regexp.MustCompile(`value="[^"]*"`)
		want := ""
		for _, typed := range [][2]string{{"alice", "wrong"}, {"nobody", "wrong"}, {"nobody@example.com", "wrong"}, {"bob", "secret"}, {"bob", "wrong"}, {"carol", "secret"}} {
			b := newBrowser(g)
			b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
			wantHashed(t, 1, func() { b.fill(t, typing(typed[0], typed[1])) })
			b.last.wantStatus(t, http.StatusUnauthorized)
			b.last.wantForm(t, typed[0])
			b.wantNoSession(t)
			b.last.header.Del("Date")
			b.last.header.Del("Set-Cookie") // its value is random
			b.last.header.Del("Content-Length")
			got := fmt.Sprint(b.last.header) + changing.ReplaceAllString(b.last.body, "")
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s: %s, want %s", typed, got, want)
			}
		}
	})
}

// TestFormSaysHowLongToWait after too many wrong passwords.
func TestFormSaysHowLongToWait(t *testing.T) {
	s := limited(ownLimit("2 per 1m"))
	s.options += "\n" + passwordSite(62).options
	withPasswordPage(t, s, func(t *testing.T, _ *database, g *gateway, _ *upstream) {
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		for i := range 2 {
			b.fill(t, typing("alice", fmt.Sprint("wrong", i))).wantStatus(t, http.StatusUnauthorized)
		}
		b.fill(t, typing("alice", "wrong"))
		b.last.wantLimited(t)
		b.last.wantForm(t, "alice")
		wantText(t, b.last.body, b.last.header.Get("Retry-After")+" seconds")
		b.wantNoSession(t)
	})
}

// TestFormSaysThatPasswordsCannotBeChecked while too many of them wait.
func TestFormSaysThatPasswordsCannotBeChecked(t *testing.T) {
	s := passwordSite(1, "identifier username", "upgrade_hash off")
	s.global = limited("").global
	withPasswordPage(t, s, func(t *testing.T, db *database, g *gateway, _ *upstream) {
		slow, err := password.New(password.Settings{Parameters: password.Parameters{PBKDF2Iterations: 9_000_000}})
		if err != nil {
			t.Fatal(err)
		}
		hash, err := slow.Make("secret")
		if err != nil {
			t.Fatal(err)
		}
		db.setPassword(t, carol, hash)
		shown := newBrowser(g)
		shown.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		send := func(client, name string) *response {
			b := &browser{gateway: g, cookies: maps.Clone(shown.cookies), last: shown.last}
			return b.fill(t, typing(name, "secret"), from(client, "Origin", "http://"+g.addr)...)
		}
		var all sync.WaitGroup
		before := hashing.Hashed()
		all.Go(func() { send("192.0.2.1", "carol").wantStatus(t, http.StatusSeeOther) })
		poll(t, "the check is at work", func() bool { return hashing.Hashed() > before })
		answers := make([]*response, 300)
		for i := range answers {
			all.Go(func() { answers[i] = send(fmt.Sprintf("198.51.%d.%d", 100+i/200, 1+i%200), fmt.Sprint("nobody", i)) })
		}
		all.Wait()
		busy := 0
		for i, answer := range answers {
			answer.wantForm(t, fmt.Sprint("nobody", i))
			if answer.status != http.StatusServiceUnavailable {
				answer.wantStatus(t, http.StatusUnauthorized)
				continue
			}
			busy++
			wantHeader(t, answer.header, "Retry-After", "5")
			wantText(t, answer.body, "check that right now")
		}
		if busy == 0 {
			t.Error("no password had to wait for too long")
		}
	})
}

// TestFormLogsInNoUserWhomTheSiteRejects: the password is right, and isn't enough.
func TestFormLogsInNoUserWhomTheSiteRejects(t *testing.T) {
	s := passwordSite(63)
	s.options += "\nrequire user carol"
	withPasswordPage(t, s, func(t *testing.T, db *database, g *gateway, up *upstream) {
		b := newBrowser(g)
		b.get(t, "/reports/7").wantStatus(t, http.StatusUnauthorized)
		b.fill(t, typing("alice", "wrong")).wantStatus(t, http.StatusUnauthorized)
		b.fill(t, typing("alice", "secret")).wantStatus(t, http.StatusForbidden)
		b.wantNoSession(t)
		up.takeNone(t)
		db.setPassword(t, carol, hashOf(t, password.MD5, "secret"))
		b.get(t, "/reports/7").wantStatus(t, http.StatusUnauthorized)
		b.fill(t, typing("carol", "secret")).wantStatus(t, http.StatusSeeOther)
	})
}

// TestFormThatIsTooLargeIsToldSo, and not that it is too old.
func TestFormThatIsTooLargeIsToldSo(t *testing.T) {
	withPasswordPage(t, passwordSite(64), func(t *testing.T, _ *database, g *gateway, _ *upstream) {
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		wantHashed(t, 0, func() { b.fill(t, typing("alice", strings.Repeat("x", 1<<20))) })
		b.last.wantStatus(t, http.StatusRequestEntityTooLarge)
		wantText(t, b.last.body, "The form has too much in it.")
		b.fill(t, typing("alice", "secret")).wantStatus(t, http.StatusSeeOther)
	})
}

// TestLoginByPasswordKeepsNoSessionOfOthers: an attacker who has set Django's cookie
// in a browser doesn't get to know the session that a login begins.
func TestLoginByPasswordKeepsNoSessionOfOthers(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		db.setPassword(t, alice, hashOf(t, password.MD5, "secret"))
		s := passwordSite(65)
		s.options += "\n" + writing + "\nlogin {\npassword\n}"
		g := startGateway(t, db, startUpstream(t), s)
		for name, planted := range map[string]string{
			"without a user":   keyOf(db.logIn(t, djangoLogin{isNobody: true})),
			"of the attacker":  keyOf(db.logIn(t, djangoLogin{user: carol})),
			"that has expired": keyOf(db.logIn(t, djangoLogin{user: alice, lasts: -time.Minute})),
			"that isn't there": "abcdefghijklmnopqrstuvwxyz012345",
		} {
			t.Run(name, func(t *testing.T) {
				b := newBrowser(g)
				b.cookies["sessionid"] = planted
				b.get(t, "/_sesame/login?switch").wantStatus(t, http.StatusOK)
				b.fill(t, typing("alice", "secret")).wantStatus(t, http.StatusSeeOther)
				key := b.cookies["sessionid"]
				if key == planted || key == "" {
					t.Errorf("the session's key is %q", key)
				}
				if data, _ := db.dataOf(t, key); data.UserID != "1" {
					t.Errorf("the session is of user %q", data.UserID)
				}
				g.get(t, "/", "Cookie", "sessionid="+planted).wantStatus(t, http.StatusUnauthorized)
				if !db.sessionGone(t, planted) {
					t.Error("the planted session is still there")
				}
			})
		}
	})
}

// TestLoginIsCompletedOnce: a copy of the form that asked for the code is worth
// nothing, with another valid code as well.
func TestLoginIsCompletedOnce(t *testing.T) {
	withFactors(t, passwordSite(66, "second_factor ask"), func(t *testing.T, db *database, g *gateway, _ *upstream) {
		db.mustExec(t, "INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('recovery_codes', '{\"seed\": \"seed\", \"used_mask\": 0}', 1)")
		b := newBrowser(g)
		b.get(t, "/_sesame/login").wantStatus(t, http.StatusOK)
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		asked, tie := b.last, b.cookies["sesame-confirm"]
		b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusSeeOther)
		b.cookies, b.last = map[string]string{"sesame-confirm": tie}, asked
		b.fillCode(t, "06091088").wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		b.fillPassword(t).wantStatus(t, http.StatusOK)
		b.fillCode(t, "06091088").wantStatus(t, http.StatusSeeOther)
	})
}
