package sesame_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// TestDjangoAndTheGatewayJudgeAPITokensAlike has an unmodified project with the
// libraries issue tokens, and compares its verdicts on requests with the gateway's,
// on the same rows.
func TestDjangoAndTheGatewayJudgeAPITokensAlike(t *testing.T) {
	sources := testpeer.Checkouts(t, "API_TOKEN_SRC", "Django REST framework, knox, SimpleJWT, PyJWT and Django, all of them")
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		for _, settings := range []struct {
			name   string
			jwt    map[string]any // SIMPLE_JWT
			option string         // of api_token simplejwt
		}{
			{"the defaults", map[string]any{}, ""},
			{
				"sliding tokens, and passwords",
				map[string]any{
					"AUTH_TOKEN_CLASSES": []string{"rest_framework_simplejwt.tokens.AccessToken", "rest_framework_simplejwt.tokens.SlidingToken"},
					"CHECK_REVOKE_TOKEN": true, "ALGORITHM": "HS512", "SIGNING_KEY": strings.Repeat("another key", 8), "AUTH_HEADER_TYPES": []string{"Bearer", "JWT"},
					"USER_ID_FIELD": "username", "AUDIENCE": "reports", "ISSUER": "django", "LEEWAY": 5,
				},
				"token_types access sliding\nblacklist\ncheck_revoke_token\nalgorithm HS512\nsigning_key \"" + strings.Repeat("another key", 8) +
					"\"\nheader_types Bearer JWT\nuser_id_field username\naudience reports\nissuer django\nleeway 5s",
			},
		} {
			t.Run(settings.name, func(t *testing.T) {
				for _, table := range apiTables {
					db.mustExec(t, "DELETE FROM "+strings.Fields(table)[2])
				}
				db.mustExec(t, "UPDATE auth_user SET is_active = 1, password = ? WHERE username = 'bob'", bob.password)
				peer := testpeer.Start(t, "testdata/interop/api_tokens.py", sources...)
				var knox struct{ Generation int }
				peer.Ask(t, map[string]any{
					"SECRET_KEY": secretKey, "SIMPLE_JWT": settings.jwt,
					"DATABASES": map[string]any{"default": testpeer.DjangoDatabase(t, db.dsn)},
				}, &knox)
				up := startUpstream(t)
				g := startGateway(t, db, up, site{options: fmt.Sprintf("api_token drf\napi_token knox {\nprefix Knox\ngeneration %d\n}\napi_token simplejwt {\n%s\n}", knox.Generation, settings.option)})
				tokens := make(map[string]map[string]string)
				for _, u := range []testUser{alice, bob, carol} {
					var issued map[string]string
					peer.Ask(t, map[string]any{"do": "issue", "username": u.username}, &issued)
					tokens[u.username] = issued
				}
				for _, event := range []string{
					"", "UPDATE auth_user SET is_active = 0 WHERE username = 'bob'", "UPDATE auth_user SET password = 'other' WHERE username = 'alice'",
					"UPDATE knox_authtoken SET expiry = '2020-01-01' WHERE user_id = 3", "DELETE FROM authtoken_token WHERE user_id = 1",
				} {
					if event != "" {
						db.mustExec(t, event)
					}
					compareAPITokens(t, g, up, peer, tokens)
				}
				db.mustExec(t, "UPDATE auth_user SET password = ? WHERE username = 'alice'", alice.password)
			})
		}
	})
}

// compareAPITokens has both judge headers with tokens, as they were issued and with
// changes.
func compareAPITokens(t *testing.T, g *gateway, up *upstream, peer *testpeer.Process, tokens map[string]map[string]string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, uint64(len(tokens))))
	var headers []string
	for _, user := range []string{"alice", "bob", "carol"} {
		for _, kind := range []string{"drf", "knox", "access", "refresh", "sliding", "listed"} {
			tok := tokens[user][kind]
			for _, scheme := range []string{"Token", "Knox", "Bearer", "JWT", "bearer", "TOKEN", "knox", "Tokens"} {
				headers = append(headers, scheme+" "+tok)
			}
			own := map[string]string{"drf": "Token", "knox": "Knox"}[kind]
			if own == "" {
				own = "Bearer"
			}
			at := rnd.IntN(len(tok) - 1)
			headers = append(headers, own+"  \t"+tok, own+" "+tok+" x", own, own+" "+tok[:at], own+" "+tok+"0", own+tok,
				own+" "+tok[:at]+"!"+tok[at+1:], own+" "+tok[:at]+"ü"+tok[at+1:], own+" "+tok[at:]+tok[:at], own+" "+tok+","+own+" "+tok)
		}
	}
	var want []string
	peer.Ask(t, map[string]any{"do": "verdicts", "headers": headers}, &want)
	accepted := 0
	for i, header := range headers {
		answer := g.get(t, "/", "Authorization", header)
		user := ""
		if answer.status == http.StatusOK {
			user = up.takeOne(t).header.Get("Remote-User")
			accepted++
		} else {
			answer.wantStatus(t, http.StatusUnauthorized)
		}
		if user != want[i] {
			t.Errorf("%.60q…: the gateway says %q, Django %q", header, user, want[i])
		}
	}
	if accepted == 0 {
		t.Error("no token was accepted")
	}
	t.Logf("%d verdicts, %d tokens accepted", len(headers), accepted)
}
