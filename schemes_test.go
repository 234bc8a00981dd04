package sesame_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// TestEverySchemeIsHeldToRequirements sends the same user by each scheme that has a
// block, through one handler: require applies, the application gets the identity and
// the assertion of that user, and whoami and the metrics name the scheme.
func TestEverySchemeIsHeldToRequirements(t *testing.T) {
	withSessions(t, func(t *testing.T, db *database) {
		db.withAPITokens(t)
		user := alice
		user.password = hashOf(t, password.MD5, "correct horse")
		db.setPassword(t, user, user.password)
		db.addDRF(t, aliceDRF, user)
		db.addKnox(t, aliceKnox, user, time.Hour)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{global: "metrics", options: passwordSite(11).options +
			"\ndjango_session\napi_token drf\napi_token knox {\nprefix Knox\n}\napi_token simplejwt\nrequire staff\n" + appAssertion})
		keys := g.keySet(t, "/_sesame/jwks.json")
		for _, test := range []struct {
			scheme string
			sent   []string
		}{
			{"django_session", db.logIn(t, djangoLogin{user: user})},
			{"password", basicAuth("alice:correct horse")},
			{"drf", []string{"Authorization", "Token " + aliceDRF}},
			{"knox", []string{"Authorization", "Knox " + aliceKnox}},
			{"simplejwt", []string{"Authorization", "Bearer " + jwtFor(t, secretKey, user, nil)}},
		} {
			t.Run(test.scheme, func(t *testing.T) {
				db.mustExec(t, "UPDATE auth_user SET is_staff = 0")
				g.get(t, "/", test.sent...).wantStatus(t, http.StatusForbidden)
				up.takeNone(t)

				db.mustExec(t, "UPDATE auth_user SET is_staff = 1 WHERE id = 1")
				count := `requests_total{outcome="` + test.scheme + `",reason=""}`
				before := metricValues(t)[count]
				g.get(t, "/", test.sent...).wantStatus(t, http.StatusOK)
				if grown := metricValues(t)[count] - before; grown != 1 {
					t.Errorf("%s has grown by %v, want 1", count, grown)
				}
				got := up.take()
				if len(got) != 1 {
					t.Fatalf("the upstream got %d requests", len(got))
				}
				wantHeader(t, got[0].header, "Remote-User", "alice")
				wantHeader(t, got[0].header, "Cookie", "")

				g.get(t, "/", test.sent...).wantStatus(t, http.StatusOK)
				if claims := verified(t, keys, up.assertionOf(t)); claims.Subject != "1" || claims.Username != "alice" {
					t.Errorf("the assertion is of %q, %q", claims.Subject, claims.Username)
				}

				answer := g.get(t, "/_sesame/whoami", test.sent...)
				answer.wantStatus(t, http.StatusOK)
				var told struct {
					By       string `json:"authenticated_by"`
					Username string `json:"username"`
				}
				if err := json.Unmarshal([]byte(answer.body), &told); err != nil || told.By != test.scheme || told.Username != "alice" {
					t.Errorf("whoami says %s", answer.body)
				}
			})
		}
	})
}
