package apitoken_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
)

const (
	testKey    = "a key of forty characters, or a few more"
	goodHeader = `{"alg":"HS256","typ":"JWT"}`
	goodClaims = `{"token_type":"access","exp":1700000300,"iat":1700000000,"jti":"0123","user_id":"42"}`
)

var now = time.Unix(1_700_000_000, 0)

func newJWTs(t testing.TB, settings apitoken.JWTSettings) *apitoken.JWTs {
	t.Helper()
	if settings.SigningKey == "" {
		settings.SigningKey = testKey
	}
	jwts, err := apitoken.NewJWTs(settings)
	if err != nil {
		t.Fatal(err)
	}
	return jwts
}

func publicKey(t testing.TB, curve elliptic.Curve) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded}))
}

func TestSettingsThatCantBeRightAreRejected(t *testing.T) {
	t.Parallel()
	p256 := publicKey(t, elliptic.P256())
	for name, c := range map[string]struct {
		settings apitoken.JWTSettings
		says     string
	}{
		"no algorithm at all":          {apitoken.JWTSettings{Algorithm: "none", SigningKey: testKey}, "Algorithm"},
		"an algorithm of another case": {apitoken.JWTSettings{Algorithm: "hs256", SigningKey: testKey}, "Algorithm"},
		"no key":                       {apitoken.JWTSettings{}, "SigningKey"},
		"a public key as a secret":     {apitoken.JWTSettings{SigningKey: p256}, "SigningKey"},
		"no public key":                {apitoken.JWTSettings{Algorithm: "ES256"}, "VerifyingKey"},
		"a key of another kind":        {apitoken.JWTSettings{Algorithm: "RS256", VerifyingKey: p256}, "VerifyingKey"},
		"a key of another curve":       {apitoken.JWTSettings{Algorithm: "ES384", VerifyingKey: p256}, "VerifyingKey"},
		"a private key":                {apitoken.JWTSettings{Algorithm: "ES256", VerifyingKey: strings.ReplaceAll(p256, "PUBLIC", "PRIVATE")}, "VerifyingKey"},
		"a negative leeway":            {apitoken.JWTSettings{SigningKey: testKey, Leeway: -1}, "Leeway"},
	} {
		_, err := apitoken.NewJWTs(c.settings)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), testKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBytesOfNoCharacterAreSkippedInJWTsAlone(t *testing.T) {
	t.Parallel()
	jwts := newJWTs(t, apitoken.JWTSettings{})
	good := signHS256(testKey, goodHeader, goodClaims)
	token, err := jwts.FromHeader("Bearer " + good + "\xff\xff\xff\xff")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwts.Parse(token, now); err != nil {
		t.Error(err)
	}
	if token, err := apitoken.FromHeader("Token 0123\xff", "Token"); err != apitoken.ErrHeader {
		t.Errorf("%q, %v", token, err)
	}
}

func TestEachFaultOfATokenHasItsReason(t *testing.T) {
	t.Parallel()
	settings := apitoken.JWTSettings{Issuer: []string{"i"}, Audience: []string{"a"}, CheckRevokeToken: true}
	claims := strings.TrimSuffix(goodClaims, "}") + `,"iss":"i","aud":"a","hash_password":"0CC175B9C0F1B6A831C399E269772661"}`
	good := signHS256(testKey, goodHeader, claims)
	user := apitoken.User{Password: "a", IsActive: true}
	with := func(old, replacement string) string {
		if !strings.Contains(claims, old) {
			t.Fatal(old)
		}
		return signHS256(testKey, goodHeader, strings.Replace(claims, old, replacement, 1))
	}
	for name, c := range map[string]struct {
		token string
		user  apitoken.User
		want  error
	}{
		"none":                     {good, user, nil},
		"no dots":                  {"token", user, apitoken.Malformed},
		"a part more":              {good + ".x", user, apitoken.Malformed},
		"no algorithm":             {signHS256(testKey, `{"alg":"none"}`, claims), user, apitoken.WrongAlgorithm},
		"another algorithm":        {signHS256(testKey, `{"alg":"HS512"}`, claims), user, apitoken.WrongAlgorithm},
		"an extension":             {signHS256(testKey, `{"alg":"HS256","crit":["exp"]}`, claims), user, apitoken.Malformed},
		"another key":              {signHS256("other", goodHeader, claims), user, apitoken.BadSignature},
		"no signature":             {good[:strings.LastIndexByte(good, '.')+1], user, apitoken.BadSignature},
		"it has expired":           {with("1700000300", "1700000000"), user, apitoken.Expired},
		"no expiry":                {with(`"exp"`, `"x"`), user, apitoken.MissingClaim},
		"an expiry as a text":      {with("1700000300", `"1700000300"`), user, apitoken.Malformed},
		"issued at a text":         {with("1700000000", `" +1_700_000_000"`), user, nil},
		"issued at false":          {with("1700000000", "false"), user, nil},
		"issued at a list":         {with("1700000000", "[]"), user, apitoken.Malformed},
		"half a character":         {with(`"0123"`, `"\ud83d"`), user, nil},
		"an identifier of digits":  {with(`"0123"`, "123"), user, apitoken.Malformed},
		"issued in the future":     {with("1700000000", "1700000001"), user, apitoken.NotYetValid},
		"another issuer":           {with(`"i"`, `"x"`), user, apitoken.WrongIssuer},
		"another audience":         {with(`"a"`, `["x"]`), user, apitoken.WrongAudience},
		"no identifier":            {with(`"jti"`, `"x"`), user, apitoken.MissingClaim},
		"a refresh token":          {with("access", "refresh"), user, apitoken.WrongType},
		"no user":                  {with(`"user_id"`, `"User_ID"`), user, apitoken.MissingClaim},
		"a user that is no number": {with(`"42"`, `[42]`), user, apitoken.Malformed},
		"the user isn't active":    {good, apitoken.User{Password: "a"}, apitoken.InactiveUser},
		"the password has changed": {good, apitoken.User{Password: "b", IsActive: true}, apitoken.Revoked},
	} {
		jwts := newJWTs(t, settings)
		parsed, err := jwts.Parse(c.token, now)
		if err == nil {
			err = jwts.Verify(&parsed, c.user)
		} else if again := jwts.Verify(&parsed, c.user); again != err || parsed.UserID() != "" {
			t.Errorf("%s: Parse has %v, Verify %v, for user %q", name, err, again, parsed.UserID())
		}
		if err != c.want {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
}

func TestParsedWithOtherSettingsIsRefused(t *testing.T) {
	t.Parallel()
	jwts := newJWTs(t, apitoken.JWTSettings{})
	parsed, err := newJWTs(t, apitoken.JWTSettings{}).Parse(signHS256(testKey, goodHeader, goodClaims), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]apitoken.ParsedJWT{"other settings": parsed, "the zero value": {}} {
		if err := jwts.Verify(&p, apitoken.User{IsActive: true}); err != apitoken.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKnoxTokenOfUpTo42IsHexadecimal(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]error{"0123456789": nil, "ABCDEF": nil, "": apitoken.ErrKnoxToken, "012": apitoken.ErrKnoxToken, "0x": apitoken.ErrKnoxToken, "üü": apitoken.ErrKnoxToken} {
		if knox, err := apitoken.ParseKnox(token, apitoken.Knox4); err != want || err == nil && knox.TokenKey != token[:min(len(token), 8)] {
			t.Errorf("%q: %+v, %v", token, knox, err)
		}
	}
	if knox, err := apitoken.ParseKnox("prefixüüüüüüüüüüüü", apitoken.Knox5); err != nil || knox.TokenKey != "prefixüüüüüüüüü" {
		t.Errorf("%+v, %v", knox, err)
	}
}

func TestKnoxExtendsTokensInUse(t *testing.T) {
	t.Parallel()
	refresh := apitoken.KnoxRefresh{TTL: time.Hour, MaxTTL: 2 * time.Hour, MinInterval: time.Minute}
	for name, c := range map[string]struct {
		created, expiry time.Duration // before and after now
		want            time.Duration // 0: none
	}{
		"half an hour later":     {30 * time.Minute, 30 * time.Minute, time.Hour},
		"half a minute later":    {30 * time.Second, time.Hour - 30*time.Second, 0},
		"near the end of MaxTTL": {90 * time.Minute, 10 * time.Minute, 30 * time.Minute},
	} {
		expiry := now.Add(c.expiry)
		extended, isExtended := refresh.Expiry(now.Add(-c.created), &expiry, now)
		if isExtended != (c.want != 0) || isExtended && !extended.Equal(now.Add(c.want)) {
			t.Errorf("%s: %v, %v", name, extended.Sub(now), isExtended)
		}
	}
	if _, isExtended := refresh.Expiry(now, nil, now); isExtended {
		t.Error("a token without an end is extended")
	}
}

func TestJWTIsToldFromOtherTokens(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]bool{
		signHS256("k", "{}", "{}"): true, "a.b.c": true, "a.b.": true, "": false, "a.b": false, "..": false, "a..b": false, ".a.b": false, "a.b.c.d": false, apitoken.NewDRFKey(): false,
	} {
		if got := apitoken.IsJWT(token); got != want {
			t.Errorf("%q: %v", token, got)
		}
	}
}

func Example() {
	jwts, err := apitoken.NewJWTs(apitoken.JWTSettings{SigningKey: "Django's SECRET_KEY"})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := jwts.FromHeader("Bearer eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAzMDAsImp0aSI6IjEiLCJ0b2tlbl90eXBlIjoiYWNjZXNzIiwidXNlcl9pZCI6IjQyIn0.lALwn4OCdGYlApW95wsy-ejkF4HwSQ9_-cvygV9Qcj0")
	if err != nil {
		fmt.Println(err)
		return
	}
	parsed, err := jwts.Parse(token, time.Unix(1_700_000_000, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("look up user", parsed.UserID())
	fmt.Println("verified:", jwts.Verify(&parsed, apitoken.User{IsActive: true}))
	// Output:
	// look up user 42
	// verified: <nil>
}

func BenchmarkJWT(b *testing.B) {
	jwts := newJWTs(b, apitoken.JWTSettings{})
	token := signHS256(testKey, goodHeader, goodClaims)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jwts.Parse(token, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKnox(b *testing.B) {
	token := strings.Repeat("0123456789abcdef", 4)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := apitoken.ParseKnox(token, apitoken.Knox5); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzJWT reads tokens as they are, and claims and headers that the key has
// signed. Only the key's own signature is accepted, and only with its
// algorithm.
func FuzzJWT(f *testing.F) {
	all := []*apitoken.JWTs{
		newJWTs(f, apitoken.JWTSettings{}),
		newJWTs(f, apitoken.JWTSettings{Issuer: []string{"i"}, Audience: []string{"a"}, CheckRevokeToken: true, Leeway: 1}),
		newJWTs(f, apitoken.JWTSettings{WithoutJTI: true, WithoutTokenType: true, IgnoreIsActive: true}),
	}
	f.Add(goodHeader, goodClaims, signHS256("other", goodHeader, goodClaims))
	f.Add(`{"alg":"HS512"}`, goodClaims, "token")
	f.Add(`{"alg":"HS256","crit":["exp"]}`, goodClaims, "..")
	f.Add(`{"alg":"HS256","b64":false,"typ":1}`, goodClaims, "a.b.c.d")
	claims := strings.TrimSuffix(goodClaims, "}") + `,"iss":"i","aud":"a","nbf":1700000000,"hash_password":"0CC175B9C0F1B6A831C399E269772661"}`
	for _, with := range [][2]string{
		{"", ""},
		{"1700000300", "1700000000"},
		{`"exp"`, `"x"`},
		{"1700000300", `"1700000300"`},
		{"1700000300", "1e400"},
		{"1700000300", "253402300800"},
		{"1700000000", `" +1_700_000_000"`},
		{"1700000000", "false"},
		{"1700000000", "true"},
		{"1700000000", "[]"},
		{"1700000000", "1700000001"},
		{"1700000000", "-1.5"},
		{`"0123"`, `"\ud83d"`},
		{`"0123"`, "123"},
		{`"jti"`, `"x"`},
		{`"i"`, `"x"`},
		{`"i"`, `null`},
		{`"iss"`, `"x"`},
		{`"a"`, `["x"]`},
		{`"a"`, `["x","a"]`},
		{`"a"`, `[1]`},
		{`"a"`, `7`},
		{`"aud"`, `"x"`},
		{"access", "refresh"},
		{`"token_type"`, `"x"`},
		{`"user_id"`, `"User_ID"`},
		{`"42"`, "[42]"},
		{`"42"`, "42"},
		{`"42"`, `""`},
		{`"42"`, "4.2"},
		{`"hash_password"`, `"x"`},
		{"}", ",}"},
	} {
		f.Add(goodHeader, strings.Replace(claims, with[0], with[1], 1), "")
	}
	f.Add(`{"alg":"none"}`, goodClaims, "a.b.c")
	f.Add(goodHeader, `{"exp":1e10,"jti":"","token_type":"access","user_id":7}`, signHS256(testKey, "{}", goodClaims))
	f.Fuzz(func(t *testing.T, header, claims, token string) {
		for _, jwts := range all {
			if parsed, err := jwts.Parse(token, now); err == nil {
				t.Errorf("%q is accepted for user %q", token, parsed.UserID())
			}
			parsed, err := jwts.Parse(signHS256(testKey, header, claims), now)
			if err != nil {
				continue
			}
			if !strings.Contains(header, "HS256") && !strings.Contains(header, `\u`) {
				t.Errorf("accepted with the header %q", header)
			}
			if parsed.UserID() == "" || !parsed.Expires().Add(jwts.Settings().Leeway).After(now) {
				t.Errorf("%q: user %q, until %v", claims, parsed.UserID(), parsed.Expires())
			}
			if err := jwts.Verify(&parsed, apitoken.User{Password: "a"}); err == nil && !jwts.Settings().IgnoreIsActive {
				t.Errorf("%q: a user who isn't active is accepted", claims)
			}
		}
	})
}

// FuzzHeader: a token that is read is one of the header's words.
func FuzzHeader(f *testing.F) {
	f.Add("Token 0123456789")
	f.Add("tOKEN\v0123456789 x")
	for _, header := range []string{"", "Token", "Token ", " Token\t0123456789 ", "Bearer 0123456789", "Token \xff0123456789", "Token\u00a00123456789", "Token 0123456789\x00"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		token, err := apitoken.FromHeader(header, "Token")
		if err != nil {
			return
		}
		if token == "" || strings.ContainsAny(token, " \t\r\n\v\f") || !strings.HasSuffix(strings.TrimRight(header, " \t\r\n\v\f"), token) {
			t.Errorf("%q: %q", header, token)
		}
		if _, err := apitoken.ParseKnox(token, apitoken.Knox5); err != nil || !strings.EqualFold(strings.TrimSpace(header)[:5], "token") {
			t.Errorf("%q: %v", header, err)
		}
	})
}
