package sesame_test

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// factorSite is a gateway that mails links to users of whom alice has a second factor,
// and the server that gets the mails.
type factorSite struct {
	db   *database
	up   *upstream
	smtp *testsmtp.Server
	g    *gateway
}

// factorSites is how many there were.
var factorSites atomic.Int64

// withLinksAndFactors runs a test for such a gateway. options are more of sesame, and
// email those of email_link.
func withLinksAndFactors(t *testing.T, options, email string, run func(t *testing.T, s *factorSite)) {
	withFactorTables(t, func(t *testing.T, db *database) {
		s := &factorSite{db: db.asAdministrator(), up: startUpstream(t), smtp: startMailServer(t), g: &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}}
		s.db.setPassword(t, alice, alice.password) // tokenFor has it
		s.db.mustExec(t, "DROP TABLE IF EXISTS revoked")
		table, err := userstore.RevocationsTable("revoked")
		if err != nil {
			t.Fatal(err)
		}
		s.db.mustExec(t, table)
		site := askingSite(s.smtp, "http://"+s.g.addr, options, email+"\nlimit_address 1000 per 1h\nlimit_client 1000 per 1h")
		// With a limit of its own, the table counts as another one than that of other
		// tests, and their wrong codes don't count here.
		site.store = fmt.Sprintf("revocations revoked\nquery_timeout %dms", 20_000+factorSites.Add(1))
		loadCaddyfile(t, s.g.caddyfile(s.db, s.up, site))
		run(t, s)
	})
}

// ask has alice ask for a link in a new browser.
func (s *factorSite) ask(t *testing.T, page string, more ...string) (b *browser, got receivedMail) {
	t.Helper()
	b = newBrowser(s.g)
	b.askForLink(t, page, alice.email, more...).wantStatus(t, http.StatusOK)
	return b, readMail(t, s.smtp.WaitMail(t))
}

// giveTokens gives alice static tokens, each of which is a right code once.
func (s *factorSite) giveTokens(t *testing.T, tokens ...string) {
	t.Helper()
	s.db.mustExec(t, "INSERT INTO otp_static_staticdevice (id, confirmed, user_id, throttling_failure_count) VALUES (1, 1, 1, 0) ON DUPLICATE KEY UPDATE confirmed = 1")
	for _, token := range tokens {
		s.db.mustExec(t, "INSERT INTO otp_static_statictoken (token, device_id) VALUES (?, 1)", token)
	}
}

// unlock forgets the wrong codes.
func (s *factorSite) unlock(t *testing.T) {
	t.Helper()
	for _, table := range []string{"otp_totp_totpdevice", "otp_static_staticdevice"} {
		s.db.mustExec(t, "UPDATE "+table+" SET throttling_failure_timestamp = NULL, throttling_failure_count = 0")
	}
}

// lastLogin is alice's.
func (s *factorSite) lastLogin(t *testing.T) (text string) {
	t.Helper()
	if err := s.db.QueryRow("SELECT COALESCE(CAST(last_login AS CHAR), 'never') FROM auth_user WHERE id = 1").Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// wantCodeAsked fails the test unless the browser's page asks for a code, and the
// browser isn't logged in.
func (b *browser) wantCodeAsked(t *testing.T) {
	t.Helper()
	b.wantNoSession(t)
	if !strings.Contains(b.last.body, `name="method" value="second_factor"`) {
		t.Fatalf("the page (status %d) doesn't ask for a code: %s", b.last.status, b.last.body)
	}
}

// firstProofs are the ways to use a mail. Each leads a browser to the page for the code.
var firstProofs = map[string]func(t *testing.T, b *browser, got receivedMail) *browser{
	"the link where it was asked for": func(t *testing.T, b *browser, got receivedMail) *browser {
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		return b
	},
	"the link in another browser": func(t *testing.T, b *browser, got receivedMail) *browser {
		b = newBrowser(b.gateway)
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.press(t).wantStatus(t, http.StatusOK)
		return b
	},
	"the code of the mail": func(t *testing.T, b *browser, got receivedMail) *browser {
		b.typeCode(t, got.code).wantStatus(t, http.StatusOK)
		return b
	},
}

// TestMailAloneDoesntLogInAUserWithASecondFactor: neither its link nor its code does,
// and neither is used up before the code of the app was right.
func TestMailAloneDoesntLogInAUserWithASecondFactor(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		for name, first := range firstProofs {
			t.Run(name, func(t *testing.T) {
				s.unlock(t)
				s.db.mustExec(t, "UPDATE otp_totp_totpdevice SET last_t = -1")
				before := s.lastLogin(t)
				b, got := s.ask(t, "/reports/7?x=1")
				wantNothingUsed(t, s.g, s.up, uriOf(t, got.link))
				b = first(t, b, got)
				b.wantCodeAsked(t)
				s.up.takeNone(t)
				pending := html.UnescapeString(formPending.FindStringSubmatch(b.last.body)[1])
				for _, as := range [][]string{{"Cookie", "sesame=" + pending}, {"Authorization", "Bearer " + pending}} {
					s.g.get(t, "/reports/7", as...).wantStatus(t, http.StatusUnauthorized)
				}
				s.g.get(t, "/reports/7?sesame="+pending).wantStatus(t, http.StatusUnauthorized)
				atCode := b.last
				b.get(t, "/reports/7").wantStatus(t, http.StatusUnauthorized)
				s.up.takeNone(t)
				b.last = atCode
				b.fillCode(t, "000000x").wantStatus(t, http.StatusUnauthorized)
				b.wantCodeAsked(t)
				if now := s.lastLogin(t); now != before {
					t.Errorf("last_login was %s, and is %s without a login", before, now)
				}
				s.unlock(t)
				b.fillCode(t, codeOf(t, time.Now())).wantStatus(t, http.StatusSeeOther)
				wantHeader(t, b.last.header, "Location", "/reports/7?x=1")
				b.follow(t).wantStatus(t, http.StatusOK)
				wantHeader(t, s.up.takeOne(t).header, "Remote-User", "alice")
				newBrowser(s.g).get(t, uriOf(t, got.link)).wantStatus(t, http.StatusUnauthorized)
			})
		}
		by := map[string]int{}
		for _, line := range s.g.awaitLines(t, "http.handlers.sesame.audit", 3*len(firstProofs)) {
			by[fmt.Sprint(line["msg"], " by ", line["scheme"])]++
		}
		for _, want := range []string{"link mailed by email_link", "one-time token used by email_link", "login by email_link+totp"} {
			if by[want] != len(firstProofs) {
				t.Errorf("the audit log has %v, want %d times %q", by, len(firstProofs), want)
			}
		}
	})
}

// TestLinkIsCompletedOnce: of two browsers that were asked for the code after one link,
// the first one to send it is logged in, and the link can be opened again until then.
func TestLinkIsCompletedOnce(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.giveTokens(t, "first1", "second2", "third3")
		b, got := s.ask(t, "/reports/7")
		sent := b.last
		other := firstProofs["the link in another browser"](t, b, got)
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.wantCodeAsked(t)
		b.fillCode(t, "first1").wantStatus(t, http.StatusSeeOther)
		other.wantCodeAsked(t)
		other.fillCode(t, "second2").wantStatus(t, http.StatusUnauthorized)
		other.wantNoSession(t)
		if !strings.Contains(other.last.body, `name="email"`) || strings.Contains(other.last.body, `value="second_factor"`) {
			t.Errorf("the page offers no new link, or asks for another code: %s", other.last.body)
		}
		b.forgetSession(t)
		b.last = sent
		b.typeCode(t, got.code).wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
	})
}

// TestWhatEndsALinkEndsTheLoginThatLacksACode, and the user can ask for another link.
func TestWhatEndsALinkEndsTheLoginThatLacksACode(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		hash := s.db.passwordOf(t, 1)
		s.db.mustExec(t, "DELETE FROM otp_totp_totpdevice")
		s.giveTokens(t, "first1")
		for name, statement := range map[string]string{
			"a new password":       "UPDATE auth_user SET password = 'md5$a$b' WHERE id = 1",
			"a new address":        "UPDATE auth_user SET email = 'new@example.com' WHERE id = 1",
			"a login by other way": "UPDATE auth_user SET last_login = '2026-01-01 00:00:00' WHERE id = 1",
			"being deactivated":    "UPDATE auth_user SET is_active = 0 WHERE id = 1",
			"all devices removed":  "UPDATE otp_static_staticdevice SET confirmed = 0",
			"a revocation":         "",
		} {
			for proof, first := range firstProofs {
				t.Run(name+" after "+proof, func(t *testing.T) {
					b, got := s.ask(t, "/reports/7")
					b = first(t, b, got)
					b.wantCodeAsked(t)
					if statement == "" {
						s.revokeAll(t)
					} else {
						s.db.mustExec(t, statement)
					}
					b.fillCode(t, "first1").wantStatus(t, http.StatusUnauthorized)
					b.wantNoSession(t)
					if !strings.Contains(b.last.body, `name="email"`) || strings.Contains(b.last.body, `value="second_factor"`) {
						t.Errorf("the page offers no new link, or asks for another code: %s", b.last.body)
					}
					s.unlock(t)
					s.db.mustExec(t, "UPDATE otp_static_staticdevice SET confirmed = 1")
					s.db.mustExec(t, "UPDATE auth_user SET password = ?, email = ?, is_active = 1, last_login = NULL WHERE id = 1", hash, alice.email)
					s.db.mustExec(t, "DELETE FROM revoked")
				})
			}
		}
	})
}

// TestLinksOfUsersWithASecondFactorAsConfigured: email_link has an option of its own, and
// follows the block password otherwise.
func TestLinksOfUsersWithASecondFactorAsConfigured(t *testing.T) {
	const asks, rejects, logsIn = "asks", "rejects", "logs in"
	for _, test := range []struct{ passwords, links, want string }{
		{"", "", asks},
		{"", "ask", asks},
		{"", "reject", rejects},
		{"", "ignore", logsIn},
		{"password {\nbasic on\n}", "", asks},
		{"password {\nsecond_factor ask\n}", "", asks},
		{"password {\nsecond_factor reject\n}", "", rejects},
		{"password {\nsecond_factor ignore\n}", "", logsIn},
		{"password {\nsecond_factor reject\n}", "ask", asks},
		{"password {\nsecond_factor reject\n}", "ignore", logsIn},
		{"password {\nsecond_factor ignore\n}", "ask", asks},
		{"password {\nsecond_factor ignore\nsecond_factor_tables otp_totp_totpdevice\n}", "ask", asks},
		{"password {\nsecond_factor_tables mfa_authenticator\n}", "", logsIn}, // alice has a device elsewhere
	} {
		t.Run(test.passwords+" and "+test.links, func(t *testing.T) {
			option := ""
			if test.links != "" {
				option = "second_factor " + test.links
			}
			withLinksAndFactors(t, test.passwords, option, func(t *testing.T, s *factorSite) {
				for name, first := range firstProofs {
					b, got := s.ask(t, "/reports/7")
					switch test.want {
					case asks:
						first(t, b, got).wantCodeAsked(t)
						continue
					case rejects:
						b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusUnauthorized)
						b.wantNoSession(t)
						wantText(t, b.last.body, "Your second factor is needed")
						continue
					}
					if name == "the code of the mail" {
						b.typeCode(t, got.code).wantStatus(t, http.StatusSeeOther)
					} else {
						b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusSeeOther)
					}
					if !b.isLoggedIn() {
						t.Errorf("%s doesn't log in", name)
					}
				}
			})
		})
	}
}

// TestLinkOfAUserWhoseFactorCannotBeAskedFor isn't used up, and the page says why it
// doesn't log in. Other users' links log in as ever.
func TestLinkOfAUserWhoseFactorCannotBeAskedFor(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.db.mustExec(t, "DELETE FROM otp_totp_totpdevice")
		s.db.mustExec(t, "INSERT INTO mfa_authenticator (type, data, user_id) VALUES ('webauthn', '{}', 1)")
		b, got := s.ask(t, "/reports/7")
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		wantText(t, b.last.body, "second factor")
		s.db.mustExec(t, "DELETE FROM mfa_authenticator")
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusSeeOther)
	})
}

// TestCodeAfterALinkTellsWhoseSessionEnds: the button names both users, and so does the
// page that asks for the code.
func TestCodeAfterALinkTellsWhoseSessionEnds(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.giveTokens(t, "first1")
		b, got := s.ask(t, "/reports/7", "length", "shared")
		b.get(t, "/?sesame="+tokenFor(t, carol)).wantStatus(t, http.StatusSeeOther)
		carols := b.cookies["sesame"]
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.press(t).wantStatus(t, http.StatusOK)
		wantText(t, b.last.body, "You are logged in as carol")
		if b.cookies["sesame"] != carols {
			t.Error("carol's session has ended before the code")
		}
		b.fillCode(t, "first1").wantStatus(t, http.StatusSeeOther)
		for _, cookie := range b.last.header["Set-Cookie"] {
			if strings.HasPrefix(cookie, "sesame=") && strings.Contains(cookie, "Max-Age=") && !strings.Contains(cookie, "Max-Age=0") {
				t.Errorf("the session on a shared computer lasts: %s", cookie)
			}
		}
		b.follow(t).wantStatus(t, http.StatusOK)
		wantHeader(t, s.up.takeOne(t).header, "Remote-User", "alice")
	})
}

// TestUserWhoIsLoggedInIsAskedAfterALink: the session may have begun without the second
// factor, and goes on meanwhile.
func TestUserWhoIsLoggedInIsAskedAfterALink(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		b := newBrowser(s.g)
		b.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusSeeOther)
		session := b.cookies["sesame"]
		_, got := s.ask(t, "/reports/7")
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.press(t).wantStatus(t, http.StatusOK)
		if b.cookies["sesame"] != session || !strings.Contains(b.last.body, `name="method" value="second_factor"`) {
			t.Errorf("no code is asked for, or the session has ended: %s", b.last.body)
		}
		b.get(t, "/").wantStatus(t, http.StatusOK)
	})
}

// TestCodeAfterALinkIsForItsPage: the form counts for the scope of the link alone.
func TestCodeAfterALinkIsForItsPage(t *testing.T) {
	withLinksAndFactors(t, "scope {http.request.uri.path}", "", func(t *testing.T, s *factorSite) {
		s.giveTokens(t, "first1", "second2")
		b, got := s.ask(t, "/reports/7")
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		b.wantCodeAsked(t)
		asked := b.last
		b.last = &response{status: asked.status, header: asked.header, body: strings.Replace(asked.body, "%2Freports%2F7", "%2Freports%2F8", 1)}
		b.fillCode(t, "first1").wantStatus(t, http.StatusUnauthorized)
		b.wantNoSession(t)
		b.last = asked
		b.fillCode(t, "first1").wantStatus(t, http.StatusSeeOther)
		wantHeader(t, b.last.header, "Location", "/reports/7")
	})
}

// TestCodeAfterALinkBeginsASessionOfDjangos, if logins begin those.
func TestCodeAfterALinkBeginsASessionOfDjangos(t *testing.T) {
	withLinksAndFactors(t, "", "", func(t *testing.T, s *factorSite) {
		s.db.addSessions(t)
		s.giveTokens(t, "first1")
		site := askingSite(s.smtp, "http://"+s.g.addr, writing, "")
		if err := tryCaddyfile(s.g.caddyfile(s.db, s.up, site)); err != nil {
			t.Fatal(err)
		}
		b, got := s.ask(t, "/reports/7")
		b.get(t, uriOf(t, got.link)).wantStatus(t, http.StatusOK)
		if b.cookies["sessionid"] != "" {
			t.Error("the link alone has logged in")
		}
		b.fillCode(t, "first1").wantStatus(t, http.StatusSeeOther)
		if data, _ := s.db.dataOf(t, b.cookies["sessionid"]); data.UserID != "1" {
			t.Errorf("the session is of user %q", data.UserID)
		}
	})
}

// TestLinkOfTheApplicationLogsInAlone, as the application has decided to whom it gives
// links, and a new one for it that the gateway mails does not.
func TestLinkOfTheApplicationLogsInAlone(t *testing.T) {
	withLinksAndFactors(t, "max_age 1h", "", func(t *testing.T, s *factorSite) {
		newBrowser(s.g).get(t, "/?sesame="+tokenFor(t, alice, withMaxAge(time.Hour))).wantStatus(t, http.StatusSeeOther)
		newBrowser(s.g).get(t, "/_sesame/login?next=/x&sesame="+tokenFor(t, alice, withMaxAge(time.Hour))).wantStatus(t, http.StatusSeeOther)
		b := newBrowser(s.g)
		b.get(t, "/reports/7?sesame="+tokenAt(t, alice, "", time.Now().Add(-2*time.Hour), withMaxAge(time.Hour))).wantStatus(t, http.StatusUnauthorized)
		b.do(t, http.MethodPost, b.last.ways()["Send me a new link"], "Origin", "http://"+s.g.addr).wantStatus(t, http.StatusOK)
		b.get(t, uriOf(t, readMail(t, s.smtp.WaitMail(t)).link)).wantStatus(t, http.StatusOK)
		b.wantCodeAsked(t)
	})
}

// TestLinksFailClosedWithoutRightsForSecondFactors: Caddy doesn't start, and check says
// what to grant, also without the block password.
func TestLinksFailClosedWithoutRightsForSecondFactors(t *testing.T) {
	withFactorTables(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
		site := askingSite(smtp, "http://"+g.addr, "", "")
		want := []string{"login: email_link: second_factor: ", "GRANT SELECT", "write second_factor ignore into email_link"}
		err := tryCaddyfile(g.caddyfile(db, up, site))
		if err == nil {
			t.Fatal("Caddy starts, and can't tell who has a second factor")
		}
		wantText(t, err.Error(), want...)
		r := newOperator(t, oneSite(askingSite(smtp, "https://app.example.com", "", "").options, ""), db.dsn).run(t, "check")
		r.wantStatus(t, 1)
		wantText(t, r.stdout, want...)
	})
}

// revokeAll ends all that alice could log in by until now.
func (s *factorSite) revokeAll(t *testing.T) {
	t.Helper()
	store, err := userstore.Open(t.Context(), userstore.Config{DSN: s.db.dsn, Revocations: "revoked"}, userstore.Needs{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	user, err := store.Lookup(t.Context(), token.IntKey(alice.id))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.RevokeAll(t.Context(), user, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}
