package sesame_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestExplainCommand checks how the command reads a token, and which settings it
// explains the token by. The package token tests the explanations.
func TestExplainCommand(t *testing.T) {
	now := time.Now()
	valid := func(t *testing.T) string { return tokenFor(t, alice, withMaxAge(10*time.Minute)) }
	scoped := func(scope string) func(t *testing.T) string {
		return func(t *testing.T) string { return tokenAt(t, alice, scope, now, withMaxAge(10*time.Minute)) }
	}
	const template = "scope report:{http.request.uri.path.1}"
	tests := []struct {
		name    string
		options string // besides max_age
		made    func(t *testing.T) string
		arg     string // TOKEN stands for the token
		args    []string
		status  int
		want    []string
	}{
		{name: "valid", made: valid, want: []string{"valid\n", "primary key 1"}},
		{name: "link", made: valid, arg: "https://app.example.com/a?b=c&sesame=TOKEN&d#e", want: []string{"valid\n"}},
		{name: "link with another name", options: "token_name tok", made: valid, arg: "https://app.example.com/?sesame=x&tok=TOKEN", want: []string{"valid\n"}},
		{name: "query", made: valid, arg: "?sesame=TOKEN", want: []string{"valid\n"}},
		{name: "stdin", made: valid, arg: "-", want: []string{"valid\n"}},
		{name: "later", made: valid, args: []string{"--at", "+11m"}, status: 1, want: []string{"refused: expired", "certain   expired"}},
		{name: "other time", made: valid, args: []string{"--at", now.Add(time.Hour).Format(time.RFC3339)}, status: 1, want: []string{"refused: expired"}},
		{
			name: "other scope", made: scoped("report:7"), args: []string{"--scope", "other", "--scope", "report:7"},
			status: 1, want: []string{"refused: bad_signature", "certain   other_scope", "report:7"},
		},
		{name: "scope of the link", options: template, made: scoped("report:7"), arg: "https://app.example.com/reports/7?sesame=TOKEN", want: []string{"valid\n"}},
		{
			name: "scope of another link", options: template, made: scoped("report:7"), arg: "https://app.example.com/reports/8?sesame=TOKEN",
			args: []string{"--scope", "report:7"}, status: 1, want: []string{"other_scope"},
		},
		{name: "scope given for a template", options: template, made: scoped("report:7"), args: []string{"--scope", "report:7"}, want: []string{"valid\n"}},
		{name: "scope of a template not known", options: template, made: scoped("report:7"), status: 2, want: []string{"it depends on the request", "--scope"}},
		{name: "expired, whatever the scope", options: template, made: scoped("report:7"), args: []string{"--at", "+1h"}, status: 1, want: []string{"refused: expired"}},
		{name: "inactive", made: func(t *testing.T) string { return tokenFor(t, bob, withMaxAge(time.Minute)) }, status: 1, want: []string{"refused: inactive_user"}},
		{
			name: "made with one_time", made: func(t *testing.T) string { return tokenFor(t, alice, withMaxAge(time.Minute), oneTime) },
			status: 1, want: []string{"certain   other_one_time"},
		},
		{name: "made without max_age", made: func(t *testing.T) string { return tokenFor(t, alice) }, status: 1, want: []string{"other_max_age"}},
		{name: "other key", made: func(t *testing.T) string { return tokenFor(t, alice, withMaxAge(time.Minute), withKey("other")) }, status: 1, want: []string{"refused: bad_signature"}},
		{name: "no token", made: func(*testing.T) string { return "hello" }, status: 1, want: []string{"refused: malformed"}},
		{name: "empty", made: func(*testing.T) string { return "" }, status: 1, want: []string{"empty"}},
		{
			name: "whose it should be", made: func(t *testing.T) string {
				renumbered := alice
				renumbered.id = 9
				return tokenFor(t, renumbered, withMaxAge(time.Minute))
			}, args: []string{"--user", "alice"}, status: 1, want: []string{"refused: unknown_user", "other_user"},
		},
		{name: "nobody", made: valid, args: []string{"--user", "nobody"}, status: 2, want: []string{`--user "nobody": no such user`}},
		{name: "no time", made: valid, args: []string{"--at", "x"}, status: 2, want: []string{"--at"}},
		{name: "two tokens", made: valid, args: []string{"x"}, status: 2, want: []string{"accepts 1 arg", "--help"}},
		{name: "unknown flag", made: valid, args: []string{"--x"}, status: 2, want: []string{"unknown flag"}},
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				made := test.made(t)
				arg := test.arg
				if arg == "" {
					arg = "TOKEN"
				}
				o := newOperator(t, oneSite("max_age 10m\n"+test.options, ""), db.dsn)
				o.stdin = made + "\n"
				r := o.run(t, append([]string{"explain", strings.ReplaceAll(arg, "TOKEN", made)}, test.args...)...)
				r.wantStatus(t, test.status)
				wantText(t, r.stdout+r.stderr, test.want...)
			})
		}
	})
}

func TestExplainCommandJSON(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		o := newOperator(t, oneSite("max_age 10m", ""), db.dsn)
		made := tokenAt(t, alice, "", time.Now().Add(-time.Hour), withMaxAge(10*time.Minute))
		r := o.run(t, "explain", made, "--json")
		r.wantStatus(t, 1)
		var explanation token.Explanation
		if err := json.Unmarshal([]byte(r.stdout), &explanation); err != nil {
			t.Fatal(err)
		}
		if explanation.Verdict != "expired" || !explanation.Authentic || explanation.PrimaryKey != "1" || len(explanation.Findings) == 0 {
			t.Errorf("%+v", explanation)
		}
	})
}

// TestExplainCommandWithoutLastLogin explains with the rights of a gateway that
// doesn't need last_login.
func TestExplainCommandWithoutLastLogin(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		dsn := limitedUser(t, db, "SELECT (id, username, email, password, is_active)")
		o := newOperator(t, oneSite("max_age 10m", ""), dsn)
		o.run(t, "explain", tokenFor(t, alice, withMaxAge(time.Minute))).wantStatus(t, 0)

		o = newOperator(t, oneSite("one_time", ""), dsn)
		r := o.run(t, "token", "alice")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "last_login")

		// Reading is enough to make tokens for one use.
		dsn = limitedUser(t, db, "SELECT (id, username, email, password, is_active, last_login)")
		o = newOperator(t, oneSite("one_time", ""), dsn)
		r = o.run(t, "token", "alice")
		r.wantStatus(t, 0)
		o.run(t, "explain", strings.TrimSpace(r.stdout)).wantStatus(t, 0)
	})
}

// TestExplainCommandCandidates tries the settings of other handlers.
func TestExplainCommandCandidates(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		caddyfile := oneSite("max_age 10m", "") + strings.NewReplacer(
			"app.example.com", "other.example.com", "secret_key SECRET", "secret_key old-key\nscope reports",
		).Replace(oneSite("max_age 10m", ""))
		o := newOperator(t, caddyfile, db.dsn)
		made := tokenAt(t, alice, "reports", time.Now(), withMaxAge(time.Minute), withKey("old-key"))

		r := o.run(t, "explain", made)
		r.wantStatus(t, 2)
		wantText(t, r.stderr, "--route", "app.example.com", "other.example.com", `scope "reports"`, "table auth_user", "apps.http.servers.srv0.routes.")

		// Caddy has the longer host first.
		for _, route := range []string{"other.example.com", "OTHER.example.com", "1", "apps.http.servers.srv0.routes.0.handle.0.routes.0.handle.0"} {
			o.run(t, "explain", made, "--route", route).wantStatus(t, 0)
		}
		o.run(t, "explain", "https://other.example.com/?sesame="+made).wantStatus(t, 0)

		r = o.run(t, "explain", made, "--route", "app.example.com")
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "certain   other_scope", "other_secret_key")
		if strings.Contains(r.stdout, "old-key") {
			t.Errorf("a key is shown: %s", r.stdout)
		}
		r = o.run(t, "explain", made, "--route", "nobody.example.com")
		r.wantStatus(t, 2)
		wantText(t, r.stderr, `"nobody.example.com"`, "There are")
	})
}

func TestExplainCommandRevoked(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		o := newOperator(t, oneSite("max_age 10m", "revocations sesame_revoked"), db.dsn)
		db.mustExec(t, "DROP TABLE IF EXISTS sesame_revoked")
		made := tokenFor(t, alice, withMaxAge(10*time.Minute))
		r := o.run(t, "explain", made)
		r.wantStatus(t, 2)
		wantText(t, r.stderr, "sesame_revoked", "check --create")

		create := o.run(t, "check", "--create")
		create.wantStatus(t, 0)
		db.mustExec(t, create.stdout)
		t.Cleanup(func() { db.mustExec(t, "DROP TABLE sesame_revoked") })
		o.run(t, "explain", made).wantStatus(t, 0)

		db.mustExec(t, "INSERT INTO sesame_revoked VALUES ('1', '', UTC_TIMESTAMP() + INTERVAL 1 MINUTE, NULL)")
		r = o.run(t, "explain", made)
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "refused: revoked", "certain   revoked")
	})
}

// TestExplainCommandNamesUsersAndSites names a token's user and site.
func TestExplainCommandNamesUsersAndSites(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		caddyfile := oneSite("max_age 10m", "") + strings.NewReplacer("app.example.com", "other.example.com", "secret_key SECRET", "secret_key old-key").
			Replace(oneSite("max_age 10m", ""))
		o := newOperator(t, caddyfile, db.dsn)
		carols := tokenFor(t, carol, withMaxAge(10*time.Minute))
		others := tokenFor(t, alice, withMaxAge(10*time.Minute), withKey("old-key"))
		for _, test := range []struct {
			name   string
			args   []string
			status int
			want   []string
			not    []string
		}{
			{"own token", []string{carols, "--user", "carol"}, 0, []string{"valid\n"}, []string{"other_user"}},
			{"another user's token", []string{carols, "--user", "alice"}, 1, []string{"valid\n", `certain   other_user: it is the token of "carol" (primary key 3), not of "alice" (primary key 1)`}, nil},
			{"another user's expired token", []string{carols, "--user", "alice", "--at", "+1h"}, 1, []string{"refused: expired", `of "carol" (primary key 3)`}, nil},
			{"token of another site", []string{others}, 1, []string{"certain   other_handler: it is a token of another sesame handler, which accepts it", "other.example.com"}, nil},
			{"link to no site", []string{"https://app.exmaple.com/?sesame=" + carols}, 0, []string{"other_host", "app.exmaple.com"}, nil},
			{"link without a token", []string{"https://app.example.com/reports"}, 1, []string{"refused: missing", "no token is in it"}, nil},
			{"link with another parameter", []string{"https://app.example.com/?token=" + carols}, 1, []string{"refused: missing", `other_parameter`, `"token"`, "taken from sesame"}, []string{"possible"}},
			{"link with the = encoded", []string{"https://app.example.com/?sesame%3D" + carols}, 0, []string{"valid\n", "certain   percent_encoded: the link is damaged, and read all the same"}, nil},
			{"link with &amp;", []string{"https://app.example.com/?a=b&amp;sesame=" + carols}, 0, []string{"valid\n", "certain   html_escaped: the link is damaged, and read all the same"}, nil},
			{"link with appended parameters", []string{"https://app.example.com/?a=b&sesame=" + carols + "?utm_source=x&utm_medium=y"}, 1, []string{"certain   appended_parameters"}, []string{"possible"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				r := o.run(t, append([]string{"explain", "--route", "app.example.com"}, test.args...)...)
				r.wantStatus(t, test.status)
				wantText(t, r.stdout, test.want...)
				for _, part := range test.not {
					if strings.Contains(r.stdout, part) {
						t.Errorf("%q is in:\n%s", part, r.stdout)
					}
				}
			})
		}
	})
}

// TestExplainCommandNamesWhatTheGatewayMakes names texts of the gateway's own that
// are neither tokens nor sessions.
func TestExplainCommandNamesWhatTheGatewayMakes(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		const options = "max_age 10m\nsession\nconfirm always\nassertion {\naudience app\n}"
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: options})
		made := tokenFor(t, alice, withMaxAge(10*time.Minute))
		b := newBrowser(g)
		b.get(t, "/?sesame="+made)
		page := b.cookies["sesame-confirm"]
		button := regexp.MustCompile(`sesame_confirm=[A-Za-z0-9_-]+`).FindString(b.last.body)
		g.get(t, "/", "Authorization", "Bearer "+made)
		assertion := up.assertionOf(t)
		tokens, err := token.New(token.Settings{SecretKey: secretKey, Encoding: token.LongPacker, MaxAge: new(10 * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := tokens.Parse(made, token.Expectation{Now: time.Now()})
		if err != nil || page == "" || button == "" {
			t.Fatalf("%v; the page's cookie is %q, its button sends %q", err, page, button)
		}
		o := newOperator(t, oneSite(options, ""), db.dsn)
		for _, test := range []struct{ name, text, want string }{
			{"assertion", assertion, "certain   not_a_token: no token: it is an assertion"},
			{"field with an assertion", "Authorization: Bearer " + assertion, "certain   not_a_token: no token: it is an assertion"},
			{"cookie of the page", "Cookie: a=b; __Host-sesame-confirm=" + page, "certain   not_a_token: no token: it is the value of the cookie by which the gateway's pages know"},
			{"value of that cookie", page, "likely    not_a_token: no token: it is the value of the cookie by which the gateway's pages know"},
			{"what the button sends", button, "certain   not_a_token: no token: it is what the button"},
			{"cookie for forms of Django", "csrftoken=0123456789abcdefghijklmnopqrstuv", "certain   not_a_token: no token: it is a CSRF token"},
			{"ID of a session", session.NewID().String(), "likely    not_a_token: no token: it looks like the ID of a session"},
			{"fingerprint", parsed.Fingerprint(), "likely    not_a_token: no token: it looks like the fingerprint"},
			{"mailed code", "7K2M-Q9XD", "likely    not_a_token: no token: it looks like a code"},
			{"name and password in base64", "YWxpY2U6cGFzc3dvcmQ=", "likely    not_a_token: no token: it looks like a user name and a password"},
			{"field with a name and a password", "Authorization: Basic YWxpY2U6cGFzc3dvcmQ=", "certain   not_a_token: it is no token of django-sesame; it looks like a user name and a password"},
		} {
			r := o.run(t, "explain", test.text)
			r.wantStatus(t, 1)
			if lines := strings.Split(r.stdout, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[1], test.want) {
				t.Errorf("%s: not %q:\n%s", test.name, test.want, r.stdout)
			}
		}
		o.run(t, "explain", made).wantStatus(t, 0)
	})
}
