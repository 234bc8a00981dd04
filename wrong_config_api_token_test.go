package sesame

import (
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestWrongAPITokensNamePlaceCauseAndRemedy makes mistakes in blocks of api_token,
// of which there may be several.
func TestWrongAPITokensNamePlaceCauseAndRemedy(t *testing.T) {
	t.Parallel()
	wantWrong(t, []wrongConfig{
		{options: "api_token", line: 3, want: "wrong argument count: api_token takes one value, drf, knox or simplejwt; there is none"},
		{options: "api_token drf knox", line: 3, want: "wrong argument count: api_token takes one value, drf, knox or simplejwt; there are 2. Write a line for each"},
		{options: "api_token jwt", line: 3, want: "api_token: \"jwt\": it must be drf, knox or simplejwt"},
		{options: "api_token drf {\ngeneration 5\n}", line: 4, want: "api_token: drf: generation is no option of drf; it is for knox"},
		{options: "api_token drf\napi_token knox {\nkeyword Knox\n}", line: 5, want: "api_token: knox: keyword is no option of knox; did you mean prefix?"},
		{options: "api_token simplejwt {\ntable x\n}", line: 4, want: "api_token: simplejwt: table is no option of simplejwt; it is for drf and knox"},
		{options: "api_token simplejwt {\nalgorithm none\n}", line: 4, want: "api_token: simplejwt: the Algorithm \"none\" isn't supported: it must be HS256, HS384, HS512, RS256, RS384, RS512, ES256 or ES384"},
		{options: "api_token simplejwt {\nalgorithm hs256\n}", line: 4, want: "api_token: simplejwt: the Algorithm \"hs256\" isn't supported: it must be HS256, HS384, HS512, RS256, RS384, RS512, ES256 or ES384"},
		{options: "api_token drf {\nkeyword \"My Token\"\n}", line: 4, want: "api_token: drf: keyword \"My Token\": it must be one word, such as Token or Bearer"},
		{options: "api_token knox {\nprefix basic\n}", line: 4, want: "api_token: knox: prefix basic: that is the word in front of a name and a password: choose another, such as Token"},
		{options: "api_token simplejwt {\nheader_types Bearer Basic\n}", line: 4, want: "api_token: simplejwt: header_types Basic: that is the word in front of a name and a password: choose another, such as Token"},
		{options: "api_token drf\napi_token drf", line: 4, want: "api_token: drf is there twice for the same tokens"},
		{options: "api_token drf {\ntable a\n}\napi_token drf {\ntable b\ntable c\n}", line: 8, want: "api_token: drf: table is already set in line 7"},
		{options: "api_token drf {\nkeyword\n}", line: 4, want: "wrong argument count: keyword takes one value, a word such as Token; there is none"},
		{options: "api_token knox {\ngeneration 3\n}", line: 4, want: "api_token: knox: generation 3: it must be 4, or 5 for knox from 5.0"},
		{options: "api_token knox {\ntoken_ttl 1h\n}", line: 3, want: "api_token: knox: token_ttl, min_refresh_interval and max_ttl matter with auto_refresh only: add that"},
		{options: "api_token simplejwt {\nalgorithm HS999\n}", line: 4, want: "api_token: simplejwt: the Algorithm \"HS999\" isn't supported: it must be HS256, HS384, HS512, RS256, RS384, RS512, ES256 or ES384"},
		{options: "api_token simplejwt {\nalgorithm RS256\n}", line: 3, want: "api_token: simplejwt: algorithm RS256 needs a verifying_key"},
		{options: "api_token simplejwt {\nverifying_key x\n}", line: 4, want: "api_token: simplejwt: verifying_key is for RS256, ES256 and the like: with HS256, tokens are checked by signing_key"},
		{options: "api_token simplejwt {\nalgorithm ES256\nverifying_key x\nsigning_key y\n}", line: 6, want: "api_token: simplejwt: signing_key is Django's alone with ES256: leave it out, the gateway needs the verifying_key"},
		{options: "api_token simplejwt {\nrevoke_token_claim x\n}", line: 4, want: "api_token: simplejwt: revoke_token_claim matters with check_revoke_token only: add that"},
		{options: "api_token simplejwt {\nblacklist a\n}", line: 4, want: "blacklist: it takes no value, or two: the table of outstanding tokens, and that of blacklisted ones"},
		{options: "api_token simplejwt {\nblacklist\njti_claim -\n}", line: 4, want: "api_token: simplejwt: the blacklist knows tokens by jti_claim, which is none"},
	})
}

func TestLeewayOfZeroCanBeWritten(t *testing.T) {
	t.Parallel()
	for _, zero := range []string{"0", "0s"} {
		h := new(Handler)
		err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(wrongConfig{options: "api_token simplejwt {\nleeway " + zero + "\n}"}.String()))
		if err != nil || h.APIToken[0].Leeway != 0 {
			t.Errorf("leeway %s: %v", zero, err)
		}
	}
}
