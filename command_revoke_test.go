package sesame_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRevokeCommand ends tokens of a gateway that runs, with the table that a
// command prints.
func TestRevokeCommand(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		const options, store = "max_age 1h\nsession\n", "revocations `ended tokens`"
		o := newOperator(t, oneSite(options, store), db.dsn)
		created := o.run(t, "check", "--create")
		created.wantStatus(t, 0)
		db.mustExec(t, "DROP TABLE IF EXISTS `ended tokens`")
		db.mustExec(t, strings.TrimSuffix(strings.TrimSpace(created.stdout), ";"))

		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: options, store: strings.ReplaceAll(store, "`ended tokens`", "\"`ended tokens`\"")})
		hour := withMaxAge(time.Hour)
		now := time.Now()
		first, second := tokenAt(t, alice, "", now.Add(-time.Minute), hour), tokenAt(t, alice, "", now.Add(-2*time.Minute), hour)
		bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
		session := []string{"Cookie", sessionCookie(t, g.get(t, "/?sesame="+second))}
		g.get(t, "/", bearer(first)...).wantStatus(t, http.StatusOK)

		r := o.run(t, "revoke", "https://app.example.com/a?sesame="+first+"&b=1")
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "Ended the token ", " of user 1.")
		g.get(t, "/", bearer(first)...).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", bearer(second)...).wantStatus(t, http.StatusOK)
		explained := o.run(t, "explain", first)
		explained.wantStatus(t, 1)
		wantText(t, explained.stdout, "ended this token before its time")

		r = o.run(t, "revoke", "--user", "alice")
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "Ended the tokens of user 1", "Ended the sessions of user 1")
		g.get(t, "/", bearer(second)...).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", session...).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/", bearer(tokenFor(t, carol, hour))...).wantStatus(t, http.StatusOK)

		// No token to end, and tokens that can't be ended.
		o.stdin = tokenAt(t, alice, "", now.Add(-2*time.Hour), hour) + "\n"
		r = o.run(t, "revoke", "-")
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "expired")
		r = o.run(t, "revoke", "nonsense")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "no token of this handler")
		o.run(t, "revoke").wantStatus(t, 1)
		o.run(t, "revoke", first, "--user", "alice").wantStatus(t, 1)
		r = o.run(t, "revoke", "--user", "mallory")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "no such user")
		up.take()
	})
}

// TestRevokeCommandByKind says for each kind of token how it was ended, or how it
// can be.
func TestRevokeCommandByKind(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range []struct {
			name, options  string
			status         int
			stdout, stderr string
		}{
			{"one-time", "one_time", 0, "Ended the one-time tokens of user 1", ""},
			{"for ever", "", 1, "", "not ended are tokens, which hold no time, so that new ones are the same as old ones: set a new password"},
			{"max_age without a table", "max_age 1h", 1, "", "not ended are tokens, which end after max_age: set a new password, or an unusable one (in Django: user.set_unusable_password(), user.save()), which ends all of them; or userstore has no option revocations"},
			{"one-time with sessions", "one_time\nsession", 1, "Ended the one-time tokens", "not ended are sessions"},
		} {
			t.Run(test.name, func(t *testing.T) {
				db.reset(t)
				r := newOperator(t, oneSite(test.options, ""), db.dsn).run(t, "revoke", "--user", "1", "--by", "pk")
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, test.stdout)
				wantText(t, r.stderr, test.stderr)
				var lastLogin string
				if err := db.QueryRow("SELECT last_login FROM auth_user WHERE id = 1").Scan(&lastLogin); err != nil {
					t.Fatal(err)
				}
				if written := !strings.HasPrefix(lastLogin, "2026-01-02"); written != strings.Contains(test.options, "one_time") {
					t.Errorf("last_login is %s", lastLogin)
				}
			})
		}
		r := newOperator(t, oneSite("", ""), db.dsn).run(t, "revoke", tokenFor(t, alice))
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "caddy sesame check --create")
	})
}

// TestRevokeCommandRights says which rights are missing, and nothing of others.
func TestRevokeCommandRights(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		administrator := db.asAdministrator()
		const store = "revocations sesame_rights"
		o := newOperator(t, oneSite("max_age 1h", store), administrator.dsn)
		administrator.mustExec(t, "DROP TABLE IF EXISTS sesame_rights")
		administrator.mustExec(t, o.run(t, "check", "--create").stdout)
		t.Cleanup(func() { administrator.mustExec(t, "DROP TABLE sesame_rights") })
		dsn := limitedUser(t, db, "SELECT (id, username, email, password, is_active, last_login)")
		account, _, _ := strings.Cut(dsn, ":")
		administrator.mustExec(t, "GRANT SELECT ON sesame_rights TO "+account)

		o = newOperator(t, oneSite("max_age 1h", store), dsn)
		for _, args := range [][]string{{"revoke", tokenFor(t, alice, withMaxAge(time.Hour))}, {"revoke", "--user", "alice"}} {
			r := o.run(t, args...)
			r.wantStatus(t, 1)
			wantText(t, r.stderr, "may not write to sesame_rights: grant it INSERT and DELETE on that table", "--config")
			if strings.Contains(r.stderr, "grant it SELECT") || strings.Contains(r.stdout, "Ended") {
				t.Errorf("%s%s", r.stdout, r.stderr)
			}
		}
		o = newOperator(t, oneSite("one_time", ""), dsn)
		r := o.run(t, "revoke", "--user", "alice")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "grant it UPDATE (last_login)")
	})
}

// TestRevokeCommandVerifies reports no token as ended that still works. Here a
// trigger writes an earlier time, as a slow clock would.
func TestRevokeCommandVerifies(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		o := newOperator(t, oneSite("max_age 1h", "revocations sesame_behind\nreplica DSN"), db.dsn)
		db.mustExec(t, "DROP TABLE IF EXISTS sesame_behind")
		db.mustExec(t, o.run(t, "check", "--create").stdout)
		t.Cleanup(func() { db.mustExec(t, "DROP TABLE sesame_behind") })
		r := o.run(t, "revoke", "--user", "alice")
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "Ended the tokens", "once the replica has it")

		db.mustExec(t, "CREATE TRIGGER behind BEFORE INSERT ON sesame_behind FOR EACH ROW SET NEW.revoked = NEW.revoked - INTERVAL 1 HOUR")
		r = o.run(t, "revoke", "--user", "alice")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "has no effect")
		if strings.Contains(r.stdout, "Ended") {
			t.Errorf("reported as ended: %s", r.stdout)
		}
	})
}
