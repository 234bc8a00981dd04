package sesame_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// atLoopback is a Caddyfile with one handler, on the site whose sessions the test's
// gateways make.
func atLoopback(options string) string {
	return strings.Replace(oneSite("max_age 10m\n"+options, ""), "app.example.com", "http://127.0.0.1", 1)
}

// TestExplainCommandOfSessionCookies gives the gateway's verdict of a session, for
// its site and scope.
func TestExplainCommandOfSessionCookies(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "max_age 10m\nsession"})
		value := sessionValue(t, g, "")
		g.get(t, "/", "Cookie", "sesame="+value).wantStatus(t, http.StatusOK)
		scoped := sessionValue(t, startGateway(t, db, up, site{options: "max_age 10m\nscope reports\nsession"}), "reports")
		const template = "session\nscope {http.request.uri.path.0}"
		for _, test := range []struct {
			name, caddyfile string
			arg             string // VALUE stands for the cookie's value
			args            []string
			status          int
			want            []string
		}{
			{"value", atLoopback("session"), "VALUE", nil, 0, []string{"valid\nsession: of \"alice\" (primary key 1), for the site 127.0.0.1, begun at 20", "until 20"}},
			{"name and value", atLoopback("session"), "sesame=VALUE", nil, 0, []string{"valid\n"}},
			{"among other cookies", atLoopback("session"), "Cookie: csrftoken=x; __Host-sesame=VALUE; theme=dark", nil, 0, []string{"valid\n"}},
			{"as it was set", atLoopback("session"), "Set-Cookie: sesame=VALUE; Path=/; HttpOnly; SameSite=Lax", nil, 0, []string{"valid\n"}},
			{"in a link", atLoopback("session"), "http://127.0.0.1/?sesame=VALUE", nil, 0, []string{"valid\nsession: "}},
			{"with secure on", atLoopback("session {\n secure on\n}"), "VALUE", nil, 0, []string{"valid\n"}},
			{"of another user than asked for", atLoopback("session"), "VALUE", []string{"--user", "carol"}, 1, []string{"valid\n", "certain   other_user", `"carol"`}},
			{"later", atLoopback("session"), "VALUE", []string{"--at", "+13h"}, 1, []string{"refused: expired (the session has expired)", `session: of "alice"`, "log in again"}},
			{"unused for too long", atLoopback("session {\n idle 1h\n}"), "VALUE", []string{"--at", "+2h"}, 1, []string{"refused: idle_expired", "certain   idle_expired"}},
			{"at another site", oneSite("max_age 10m\nsession", ""), "VALUE", nil, 1, []string{"refused: wrong_scope", `session: of "alice"`, "certain   wrong_scope", "log in at this site"}},
			{"at a site that is given", oneSite("max_age 10m\nsession", ""), "VALUE", []string{"--site", "127.0.0.1"}, 0, []string{"valid\n"}},
			{"of another site of the configuration", oneSite("max_age 10m\nsession", "") + atLoopback("session\nscope reports"), "VALUE", []string{"--route", "app.example.com"}, 1, []string{"refused: wrong_scope", "certain   wrong_scope: it was made for 127.0.0.1\n"}},
			{"for another scope", atLoopback("session\nscope other"), "SCOPED", []string{"--scope", "reports"}, 1, []string{"refused: wrong_scope", `it was made for 127.0.0.1 and the scope "reports"`}},
			{"scope of a template not known", atLoopback(template), "SCOPED", nil, 2, []string{"unknown: it depends on the site and the scope", `session: of "alice"`, "--site", "--scope"}},
			{"scope given for a template", atLoopback(template), "SCOPED", []string{"--scope", "reports"}, 0, []string{"valid\n", `for the scope "reports"`}},
			{"site not known", strings.Replace(atLoopback("session"), "http://127.0.0.1", "http://*.example.com", 1), "VALUE", nil, 2, []string{"unknown: ", "--site"}},
			{"expired, whatever the site", strings.Replace(atLoopback("session"), "http://127.0.0.1", ":80", 1), "VALUE", []string{"--at", "+13h"}, 1, []string{"refused: expired"}},
			{"of another key", atLoopback("session\nkey other"), "VALUE", nil, 1, []string{"refused: bad_signature", "session: nothing else is known", "likely    session_cookie", "compare secret_key"}},
			{"where sessions are off", atLoopback(""), "VALUE", nil, 1, []string{"refused: bad_signature", "likely    session_cookie"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				o := newOperator(t, test.caddyfile, db.dsn)
				text := strings.NewReplacer("VALUE", value, "SCOPED", scoped).Replace(test.arg)
				r := o.run(t, append([]string{"explain", text}, test.args...)...)
				r.wantStatus(t, test.status)
				wantText(t, r.stdout+r.stderr, test.want...)
				if strings.Contains(r.stdout+r.stderr, value[20:]) || strings.Contains(r.stdout, "malformed") {
					t.Errorf("the cookie is shown, or called malformed: %s%s", r.stdout, r.stderr)
				}
			})
		}
	})
}

// sessionValue is the value of the cookie that a link of alice's gets.
func sessionValue(t *testing.T, g *gateway, scope string) string {
	t.Helper()
	link := tokenAt(t, alice, scope, time.Now(), withMaxAge(10*time.Minute))
	_, value, _ := strings.Cut(sessionCookie(t, g.get(t, "/?sesame="+link)), "=")
	return value
}

// TestExplainCommandOfASessionWhoseUserChanged names what has happened to the user.
func TestExplainCommandOfASessionWhoseUserChanged(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		value := sessionValue(t, startGateway(t, db, startUpstream(t), site{options: "max_age 10m\nsession"}), "")
		other := strings.Replace(atLoopback("session"), "http://127.0.0.1", "http://*.example.com", 1)
		for _, test := range []struct {
			change string
			want   string
			open   string // the verdict where the site isn't known
		}{
			{"UPDATE auth_user SET is_active = 0 WHERE id = 1", "inactive_user", "refused: inactive_user"},
			{"UPDATE auth_user SET is_active = 1, password = '!other' WHERE id = 1", "revoked", "unknown: "},
			{"DELETE FROM auth_user WHERE id = 1", "unknown_user", "refused: unknown_user"},
		} {
			db.mustExec(t, test.change)
			r := newOperator(t, atLoopback("session"), db.dsn).run(t, "explain", value)
			r.wantStatus(t, 1)
			wantText(t, r.stdout, "refused: "+test.want, "certain   "+test.want, "remedy: ")
			r = newOperator(t, other, db.dsn).run(t, "explain", value)
			wantText(t, r.stdout, test.open)
		}
	})
}

// TestExplainCommandOfASessionInATable says whether its row is there.
func TestExplainCommandOfASessionInATable(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addSessionList(t)
		value := sessionValue(t, startGateway(t, db, startUpstream(t), site{options: "max_age 10m\n" + listing}), "")
		o := newOperator(t, atLoopback(listing), db.dsn)
		r := o.run(t, "explain", value)
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "valid\n", "its ID is ", "its row is in sesame_session until 20")
		r = newOperator(t, atLoopback("session"), db.dsn).run(t, "explain", value)
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "refused: no_table", "certain   no_table", "remedy: ")

		db.mustExec(t, "DELETE FROM sesame_session")
		r = o.run(t, "explain", value, "--json")
		r.wantStatus(t, 1)
		var told struct {
			Verdict, Scheme string
			Authentic       bool
			Holds           []string
		}
		if err := json.Unmarshal([]byte(r.stdout), &told); err != nil {
			t.Fatal(err)
		}
		if told.Verdict != "ended" || told.Scheme != "session" || !told.Authentic || !strings.Contains(strings.Join(told.Holds, " "), "has no row with it") {
			t.Errorf("%s", r.stdout)
		}
	})
}

// TestRevokeCommandRecognizesSessionCookies, which it can't end without a table.
func TestRevokeCommandRecognizesSessionCookies(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		value := sessionValue(t, startGateway(t, db, startUpstream(t), site{options: "max_age 10m\nsession"}), "")
		for _, options := range []string{"session", "session\nkey other", ""} {
			r := newOperator(t, atLoopback(options), db.dsn).run(t, "revoke", value)
			r.wantStatus(t, 1)
			wantText(t, r.stderr, "session cookie", "--user")
		}
	})
}
