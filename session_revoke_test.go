package sesame_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// addRevocations makes the table of revoked tokens.
func (db *database) addRevocations(t testing.TB) {
	t.Helper()
	const drop = "DROP TABLE IF EXISTS sesame_revocations"
	db.mustExec(t, drop)
	db.mustExec(t, "CREATE TABLE sesame_revocations (user_key varbinary(255) NOT NULL, fingerprint varbinary(10) NOT NULL, revoked datetime NOT NULL, expires datetime NULL, PRIMARY KEY (user_key, fingerprint))")
	t.Cleanup(func() { db.mustExec(t, drop) })
}

// TestOperatorEndsASession by the ID that the page shows, and by a copy of the
// cookie. What is printed holds no cookie.
func TestOperatorEndsASession(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		socket := systemLog(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		o := newOperator(t, oneSite(listing, ""), db.dsn)
		laptop, phone := newBrowser(g).logInAs(t, alice, firefoxOnLinux), newBrowser(g).logInAs(t, alice, safariOnPhone)
		list := laptop.listed(t)

		r := o.run(t, "revoke", "--session", list[1][0])
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "Ended the session "+list[1][0]+`: of "alice" (primary key 1), Safari on iPhone, from 127.0.0.0/24, begun at `, "Every gateway with that table rejects it")
		wantAuditLine(t, socket, map[string]string{"msg": "session revoked", "user": "1", "session": list[1][0], "by": "sesame revoke"})
		phone.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		laptop.get(t, "/").wantStatus(t, http.StatusOK)
		r = o.run(t, "revoke", "--session", list[1][0])
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "No session in sesame_session has the ID "+list[1][0])

		o.stdin = laptop.cookies["sesame"] + "\n"
		explained := o.run(t, "explain", "-", "--site", "127.0.0.1")
		explained.wantStatus(t, 0)
		wantText(t, explained.stdout, `session: of "alice" (primary key 1)`, "its ID is "+list[0][0], "its row is in sesame_session until ", "to end it, call caddy sesame revoke --session "+list[0][0])
		ended := o.run(t, "revoke", "-")
		ended.wantStatus(t, 0)
		wantText(t, ended.stdout, "Ended the session "+list[0][0], "Firefox on Linux")
		laptop.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		gone := o.run(t, "explain", "-", "--site", "127.0.0.1")
		gone.wantStatus(t, 1)
		wantText(t, gone.stdout, "sesame_session has no row with it: the session has ended")
		for _, said := range []result{r, explained, ended, gone} {
			if strings.Contains(said.stdout+said.stderr, strings.TrimSpace(o.stdin)) {
				t.Errorf("the cookie is shown: %s%s", said.stdout, said.stderr)
			}
		}
	})
}

// TestRevokeSessionCommandErrors says what is wrong with an ID, or with the
// configuration.
func TestRevokeSessionCommandErrors(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: listing})
		b := newBrowser(g).logInAs(t, alice, firefoxOnLinux)
		id := b.listed(t)[0][0]
		for _, test := range []struct {
			name, options string
			args          []string
			want          string
		}{
			{"no ID", listing, []string{"revoke", "--session", "1"}, `--session "1" is no ID of a session`},
			{"an ID in capitals", listing, []string{"revoke", "--session", strings.ToUpper(id)}, "is no ID of a session"},
			{"a session and a user", listing, []string{"revoke", "--session", id, "--user", "alice"}, "give the token to end, or with --session"},
			{"a session and a token", listing, []string{"revoke", "--session", id, "x"}, "give the token to end, or with --session"},
			{"a configuration without the table", "session", []string{"revoke", "--session", id}, "session has no option table"},
			{"a cookie without the table", "session", []string{"revoke", b.cookies["sesame"]}, "session has no option table"},
			{"another table", "session {\ntable auth_user\n}", []string{"revoke", "--session", id}, "auth_user"},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := newOperator(t, oneSite(test.options, ""), db.dsn).run(t, test.args...)
				r.wantStatus(t, 1)
				wantText(t, r.stderr, test.want)
			})
		}
		r := newOperator(t, oneSite("session", ""), db.dsn).run(t, "explain", b.cookies["sesame"])
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "its ID is "+id, "session has no option table here")
		b.get(t, "/").wantStatus(t, http.StatusOK)
	})
}

// TestRevokeUserEndsSessionsInTheTable, with and without a table of revoked tokens,
// and says which sessions it can't end.
func TestRevokeUserEndsSessionsInTheTable(t *testing.T) {
	withSessionList(t, func(t *testing.T, db *database) {
		db.addRevocations(t)
		up := startUpstream(t)
		for _, test := range []struct {
			name, store    string
			status         int
			stdout, stderr string
		}{
			{"with revocations", "revocations sesame_revocations", 0, "Ended the sessions of user 1 that began up to now.", ""},
			{"without", "", 1, "", "sessions from before there was a table of them, which end after max_age"},
		} {
			t.Run(test.name, func(t *testing.T) {
				const options = "max_age 10m\n" + listing
				g := startGateway(t, db, up, site{options: options, store: test.store})
				logIn := func(u testUser) *browser {
					b := newBrowser(g)
					b.get(t, "/?sesame="+tokenFor(t, u, withMaxAge(10*time.Minute))).wantStatus(t, http.StatusSeeOther)
					return b
				}
				first, second, other := logIn(alice), logIn(alice), logIn(carol)
				r := newOperator(t, oneSite(options, test.store), db.dsn).run(t, "revoke", "--user", "alice")
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, "Ended the sessions of user 1 in sesame_session: 2.\n", test.stdout)
				wantText(t, r.stderr, test.stderr)
				first.get(t, "/").wantStatus(t, http.StatusUnauthorized)
				second.get(t, "/").wantStatus(t, http.StatusUnauthorized)
				other.get(t, "/").wantStatus(t, http.StatusOK)
				db.mustExec(t, "DELETE FROM sesame_session")
				db.mustExec(t, "DELETE FROM sesame_revocations")
			})
		}
	})
}
