package sesame_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

func TestTokensAreTakenFromTheConfiguredSources(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "token_from query bearer header X-Sesame-Token"})
		valid := tokenFor(t, alice)

		for _, test := range []struct {
			name     string
			uri      string
			header   []string
			upstream string // the URI that the upstream gets
		}{
			{"alone in the query", "/a?sesame=" + valid, nil, "/a"},
			{"first in the query", "/a?sesame=" + valid + "&b=%7e&c=+x&&d", nil, "/a?b=%7e&c=+x&&d"},
			{"last in the query", "/a%2Fb/?b=1;2&sesame=" + valid, nil, "/a%2Fb/?b=1;2"},
			{"with an encoded name", "/?a=1&%73es%61me=" + valid, nil, "/?a=1"},
			{"with an encoded value", "/?sesame=" + strings.Replace(valid, "A", "%41", 1), nil, "/"},
			{"the last of several counts", "/?sesame=bad&x=1&sesame=" + valid, nil, "/?x=1"},
			{"other names stay", "/?sesame2=1&asesame=2&sesame=" + valid, nil, "/?sesame2=1&asesame=2"},
			{"bearer", "/?q=1", []string{"Authorization", "Bearer " + valid}, "/?q=1"},
			{"bearer in lower case", "/", []string{"Authorization", "bearer   " + valid}, "/"},
			{"header", "/", []string{"X-Sesame-Token", valid}, "/"},
			{"the query comes before the header", "/?sesame=" + valid, []string{"X-Sesame-Token", "bad", "Authorization", "Bearer bad"}, "/"},
		} {
			t.Run(test.name, func(t *testing.T) {
				g.get(t, test.uri, test.header...).wantStatus(t, http.StatusOK)
				got := up.takeOne(t)
				if got.uri != test.upstream {
					t.Errorf("the upstream got %s, want %s", got.uri, test.upstream)
				}
				wantHeader(t, got.header, "Remote-User", "alice")
				wantHeader(t, got.header, "Remote-User-Id", "1")
				wantHeader(t, got.header, "Remote-Email", "alice@example.com")
				wantHeader(t, got.header, "Authorization", "")
				wantHeader(t, got.header, "X-Sesame-Token", "")
				if strings.Contains(fmt.Sprint(got), valid) {
					t.Errorf("the upstream got the token: %v", got)
				}
			})
		}
	})
}

// wantHeader fails the test unless a field has just that value, or isn't there
// for the empty one.
func wantHeader(t *testing.T, header http.Header, name, want string) {
	t.Helper()
	values, ok := header[name]
	switch {
	case want == "" && ok:
		t.Errorf("%s: %q, want none", name, values)
	case want != "" && (len(values) != 1 || values[0] != want):
		t.Errorf("%s: %q, want %q", name, values, want)
	}
}

// TestOtherCredentialsStay: the application keeps its cookies and the credentials
// that it checks itself, and credentials from which PHP derives a user are removed
// if the gateway has authenticated one.
func TestOtherCredentialsStay(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "optional"})
		link := "/?sesame=" + tokenFor(t, alice)
		for _, test := range []struct{ name, uri, authorization, want string }{
			{"a scheme that the application checks", link, "Negotiate YWJj", "Negotiate YWJj"},
			{"Basic beside a user", link, "Basic dTpw", ""},
			{"Digest beside a user", link, `Digest username="u"`, ""},
			{"Basic without a user", "/", "Basic dTpw", "Basic dTpw"},
		} {
			g.get(t, test.uri, "Authorization", test.authorization, "Cookie", "a=1; b=\"2\"").wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Authorization", test.want)
			wantHeader(t, got.header, "Cookie", "a=1; b=\"2\"")
			if t.Failed() {
				t.Fatal(test.name)
			}
		}
	})
}

func TestRefusedRequestsDontReachTheUpstream(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "max_age 10m"})
		age := withMaxAge(10 * time.Minute)
		valid := tokenFor(t, alice, age)
		scoped := tokenAt(t, alice, "report", time.Now(), age)
		old := tokenAt(t, alice, "", time.Now().Add(-11*time.Minute), age)
		nobody := testUser{id: 99, password: "x"}

		for i, test := range []struct {
			name   string
			token  string
			reason token.Reason
			user   any // in the log
		}{
			{"garbage", "???", token.Malformed, nil},
			{"empty", "", token.Malformed, nil},
			{"too short for a key", "AAAA", token.NoPrimaryKey, nil},
			{"truncated", valid[:len(valid)-2], token.NoSignature, "1"},
			{"made without max_age", tokenFor(t, alice), token.NoSignature, "1"},
			{"expired", old, token.Expired, "1"},
			{"of nobody", tokenFor(t, nobody, age), token.UnknownUser, "99"},
			{"of an inactive user", tokenFor(t, bob, age), token.InactiveUser, "2"},
			{"with another key", tokenFor(t, alice, age, withKey("x")), token.BadSignature, "1"},
			{"with another scope", scoped, token.BadSignature, "1"},
			{"huge", strings.Repeat("A", 5000), token.Malformed, nil},
		} {
			t.Run(test.name, func(t *testing.T) {
				answer := g.get(t, "/private?sesame="+test.token)
				answer.wantStatus(t, http.StatusUnauthorized)
				up.takeNone(t)
				challenge := answer.header.Get("WWW-Authenticate")
				if !strings.HasPrefix(challenge, `Bearer error="invalid_token"`) {
					t.Errorf("WWW-Authenticate: %q", challenge)
				}
				wantHeader(t, answer.header, "Cache-Control", "no-store")
				wantHeader(t, answer.header, "Referrer-Policy", "no-referrer")

				line := g.awaitLines(t, "http.handlers.sesame", i+1)[i]
				if line["reason"] != test.reason.String() || line["user"] != test.user || line["level"] != "debug" {
					t.Errorf("logged %v, want reason %v, user %v at debug", line, test.reason, test.user)
				}
			})
		}
	})
}

func TestNoTokenIsRefusedWithoutAnError(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: `realm "the \"app\""`})
		answer := g.get(t, "/")
		answer.wantStatus(t, http.StatusUnauthorized)
		wantHeader(t, answer.header, "Www-Authenticate", `Bearer realm="the \"app\""`)
		up.takeNone(t)
		line := g.awaitLines(t, "http.handlers.sesame", 1)[0]
		if line["reason"] != "missing" {
			t.Errorf("logged %v", line)
		}
	})
}

func TestNothingIsLoggedAtInfo(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{logLevel: "INFO"})
		g.get(t, "/?sesame="+tokenFor(t, alice, withKey("x"))).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/").wantStatus(t, http.StatusUnauthorized)
		g.awaitLines(t, "http.log.access", 1) // Caddy's own and ours: see TestDebugLogHasNoToken
		if lines := g.lines(t, "http.handlers.sesame"); len(lines) > 0 {
			t.Errorf("logged %v", lines)
		}
	})
}

func TestUpstreamSeesTheUserOfTheToken(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		up := startUpstream(t)
		g := startGateway(t, db, up, site{store: "columns first_name is_staff"})

		t.Run("without a usable password", func(t *testing.T) {
			g.get(t, "/?sesame="+tokenFor(t, carol)).wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", "carol")
			wantHeader(t, got.header, "Remote-Email", "") // it is empty
		})
		t.Run("a new password ends tokens at once", func(t *testing.T) {
			valid := tokenFor(t, alice)
			g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
			db.mustExec(t, "UPDATE auth_user SET password = ? WHERE id = 1", "pbkdf2_sha256$1$x$other")
			g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)
			db.mustExec(t, "UPDATE auth_user SET password = ? WHERE id = 1", alice.password)
			g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		})
		t.Run("a login does not", func(t *testing.T) {
			db.mustExec(t, "UPDATE auth_user SET last_login = '2030-01-01 00:00:00' WHERE id = 1")
			g.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
		})
		t.Run("deactivated", func(t *testing.T) {
			valid := tokenFor(t, carol)
			db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = 3")
			g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusUnauthorized)
		})
	})
}

func TestTokensOfV1AreAcceptedWhereConfigured(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "max_age 600\nsecret_key_fallbacks old older"})
		age := withMaxAge(10 * time.Minute)
		g.get(t, "/?sesame="+tokenFor(t, alice, age, asV1)).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+tokenFor(t, alice, age, asV1, withKey("older"))).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+tokenFor(t, alice, age, withKey("old"))).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+tokenFor(t, alice, age, asV1, withKey("oldest"))).wantStatus(t, http.StatusUnauthorized)
	})
}

func TestTokensOfOtherScopesAreRefused(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		now := time.Now()

		t.Run("template", func(t *testing.T) {
			g := startGateway(t, db, up, site{options: `scope "report:{http.request.uri.path.1}"`})
			g.get(t, "/reports/7?sesame="+tokenAt(t, alice, "report:7", now)).wantStatus(t, http.StatusOK)
			g.get(t, "/reports/8?sesame="+tokenAt(t, alice, "report:7", now)).wantStatus(t, http.StatusUnauthorized)
			g.get(t, "/reports/7?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusUnauthorized)
		})
		t.Run("empty template", func(t *testing.T) {
			g := startGateway(t, db, up, site{options: `scope {http.request.uri.query.report}`})
			g.get(t, "/?report=7&sesame="+tokenAt(t, alice, "7", now)).wantStatus(t, http.StatusOK)
			// Otherwise any link would open the pages of reports.
			g.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusUnauthorized)
		})
		t.Run("v1 has none", func(t *testing.T) {
			g := startGateway(t, db, up, site{options: `scope report`})
			g.get(t, "/?sesame="+tokenFor(t, alice, asV1)).wantStatus(t, http.StatusUnauthorized)
		})
	})
}

func TestOptionalServesRequestsWithoutAUser(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "optional"})

		g.get(t, "/", "Remote-User", "admin", "Remote-User-Id", "7").wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "Remote-User", "")
		wantHeader(t, got.header, "Remote-User-Id", "")

		g.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")

		g.get(t, "/?sesame=bad").wantStatus(t, http.StatusUnauthorized)
		up.takeNone(t)
	})
}

func TestPreflightPassesWithoutAToken(t *testing.T) {
	preflight := []string{"Origin", "https://example.com", "Access-Control-Request-Method", "POST", "Remote-User", "admin"}
	for _, test := range []struct {
		options string
		status  int
	}{
		{"", http.StatusUnauthorized},
		{"preflight refuse", http.StatusUnauthorized},
		{"preflight pass", http.StatusOK},
		{"optional", http.StatusOK},
	} {
		t.Run(test.options, func(t *testing.T) {
			withEachDatabase(t, func(t *testing.T, db *database) {
				up := startUpstream(t)
				g := startGateway(t, db, up, site{options: test.options})
				g.do(t, http.MethodOptions, "/", preflight...).wantStatus(t, test.status)
				for _, got := range up.take() {
					wantHeader(t, got.header, "Remote-User", "")
				}
				// What isn't a preflight is a request like any other.
				if test.options != "optional" {
					g.do(t, http.MethodOptions, "/").wantStatus(t, http.StatusUnauthorized)
				}
			})
		})
	}
	t.Run("optional, refuse", func(t *testing.T) {
		withEachDatabase(t, func(t *testing.T, db *database) {
			up := startUpstream(t)
			g := startGateway(t, db, up, site{options: "optional\npreflight refuse"})
			g.do(t, http.MethodOptions, "/", preflight...).wantStatus(t, http.StatusUnauthorized)
			up.takeNone(t)
		})
	})
}

func TestIdentityOption(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			options: `identity {
				X-User {http.auth.user.username}
				X-Name "{http.auth.user.first_name} of {http.request.host}"
				X-Staff {http.auth.user.is_staff}
			}`,
			store: "columns first_name is_staff",
		})
		hostile := testUser{4, "{http.request.header.X-Evil}", "p", "x", "", true}
		db.insert(t, hostile)

		g.get(t, "/?sesame="+tokenFor(t, alice), "Host", "app.example.com", "Remote-User", "free to use").wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "X-User", "alice")
		wantHeader(t, got.header, "X-Name", "First of app.example.com")
		wantHeader(t, got.header, "X-Staff", "0")
		wantHeader(t, got.header, "Remote-User", "") // applications commonly trust it

		g.get(t, "/?sesame="+tokenFor(t, hostile), "X-Evil", "admin", "X-User", "admin").wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "X-User", hostile.username)
	})
}

// TestHostileColumns has values in the database that could break out of a header
// field.
func TestHostileColumns(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{after: "request_header X-Copy {http.auth.user.username}\nreverse_proxy " + up.addr})
		for i, name := range []string{"eve ", " eve", "eve\r\nX-Admin: 1", "eve\x00", "eve\t", "\neve"} {
			t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
				user := testUser{int64(10 + i), name, "p", fmt.Sprintf("%d@example.com", i), "", true}
				db.mustExec(t, "DELETE FROM auth_user WHERE id >= 10")
				db.insert(t, user)
				g.get(t, "/?sesame="+tokenFor(t, user), "Remote-User", "admin")
				for _, got := range up.take() {
					wantHeader(t, got.header, "Remote-User", "")
					wantHeader(t, got.header, "X-Admin", "")
					wantHeader(t, got.header, "Remote-User-Id", fmt.Sprint(user.id))
				}
			})
		}
	})
}

func TestHandleErrorsGetsNoToken(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{after: `reverse_proxy ` + up.addr + `
			handle_errors 401 {
				respond "own page: {http.auth.sesame.error} {http.error.status_code} {http.request.uri} {http.request.orig_uri} {http.error.message}"
			}`})
		for uri, want := range map[string]string{
			"/a/b?x=1":            "own page: missing 401 /a/b?x=1 /a/b?x=1 sesame: missing",
			"/a/b?x=1&sesame=bad": "own page: malformed 401 /a/b?x=1 /a/b?x=1 sesame: malformed",
		} {
			answer := g.get(t, uri)
			answer.wantStatus(t, http.StatusUnauthorized)
			if answer.body != want {
				t.Errorf("%s: %q, want %q", uri, answer.body, want)
			}
			if answer.header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		}
	})
}

func TestErrorRoutesOfOtherErrorsSeeNoToken(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{after: `reverse_proxy 127.0.0.1:1
			handle_errors 5xx {
				respond "broken: {http.request.uri}" {http.error.status_code}
			}`})
		answer := g.get(t, "/a?b=c&sesame="+tokenFor(t, alice))
		answer.wantStatus(t, http.StatusBadGateway)
		if answer.body != "broken: /a?b=c" {
			t.Errorf("body %q", answer.body)
		}
		g.get(t, "/").wantStatus(t, http.StatusUnauthorized) // this handle_errors is for other errors
	})
}

func TestRefusalsSayTheReason(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{})
		for accept, want := range map[string]string{
			"":                                 "text/plain; charset=utf-8",
			"*/*":                              "text/plain; charset=utf-8",
			"text/html,application/xhtml+xml":  "text/html; charset=utf-8",
			"application/json":                 "application/json",
			"application/problem+json, */*":    "application/json",
			"application/json, text/html":      "application/json",
			"text/html, application/json":      "text/html; charset=utf-8",
			"text/html;q=0.5,application/json": "application/json",
			"image/png":                        "text/plain; charset=utf-8",
			"application/json;q=0, text/html":  "text/html; charset=utf-8",
		} {
			answer := g.get(t, "/?sesame=bad", "Accept", accept)
			answer.wantStatus(t, http.StatusUnauthorized)
			wantHeader(t, answer.header, "Content-Type", want)
			if !strings.Contains(answer.body, "incomplete") || strings.Contains(answer.body, "bad") {
				t.Errorf("Accept %q: %s", accept, answer.body)
			}
		}
	})
}
