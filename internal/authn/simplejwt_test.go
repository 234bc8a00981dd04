package authn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// apiTokensOf makes the scheme of configurations of api_token.
func apiTokensOf(t *testing.T, all ...*APITokenConfig) *APITokens {
	t.Helper()
	cfg := APITokensConfig(all)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := cfg.New(&Environment{
		Settings: token.Settings{SecretKey: "secret"},
		Resolve:  func(_, text string) (string, error) { return text, nil },
		Store:    func() *userstore.MySQL { return nil },
		Now:      func() time.Time { return time.Unix(1_700_000_000, 0) },
		Logger:   zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*APITokens)
}

// signed is a JSON Web Token with claims, signed with HS256.
func signed(key, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// described are credentials as a text: each its scheme, with a ? for one that may
// be the application's, and a ! for one that is rejected whatever the row is.
func described(credentials []Credential) string {
	var all []string
	for _, c := range credentials {
		text := c.Scheme()
		if c.Traits().IsUnsure {
			text += "?"
		}
		if _, isRejected := c.(*rejectedToken); isRejected {
			text += "!"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestAPITokensAreRecognizedByTheirForm(t *testing.T) {
	t.Parallel()
	s := apiTokensOf(t, &APITokenConfig{Library: libraryDRF}, &APITokenConfig{Library: libraryKnox},
		&APITokenConfig{Library: librarySimpleJWT}, &APITokenConfig{Library: libraryDRF, Keyword: "Bearer"})
	key, knox := strings.Repeat("0", 40), strings.Repeat("0", 64)
	jwt := signed("secret", `{"exp":1700000100,"jti":"1","token_type":"access","user_id":"1"}`)
	foreign := signed("other", `{"exp":1700000100}`)
	many := strings.Repeat("Bearer "+foreign+",", 40)
	for _, test := range []struct{ name, value, want, left string }{
		{"nothing", "", "", ""},
		{"a key of drf's form: drf first", "Token " + key, "drf knox", ""},
		{"a short key: it may be either's", "Token abc", "knox drf", ""},
		{"a token of knox's form", "Token " + knox, "knox", ""},
		{"a key behind another keyword", "Bearer " + key, "drf", ""},
		{"a long bearer token", "Bearer " + knox, "", "Bearer " + knox},
		{"the key's JWT", "Bearer " + jwt, "simplejwt", ""},
		{"another key's JWT", "Bearer " + foreign, "simplejwt?", "Bearer " + foreign},
		{"the key's JWT, changed", "Bearer " + jwt[:len(jwt)-2] + "AA", "simplejwt?", "Bearer " + jwt[:len(jwt)-2] + "AA"},
		{"the key's expired JWT", "Bearer " + signed("secret", `{"exp":1}`), "simplejwt", ""},
		{"the key's JWT without claims", "Bearer " + signed("secret", `{}`), "simplejwt", ""},
		{"the key's JWT with the scheme in other letters", "BEARER " + jwt, "simplejwt!", ""},
		{"the key's JWT and a word", "Bearer " + jwt + " x", "simplejwt!", ""},
		{"both JWTs", "Bearer " + jwt + ",Bearer " + foreign, "simplejwt", "Bearer " + foreign},
		{"two tokens", "Token " + key + ",Bearer " + jwt, "drf!", ""},
		{"two words, once for all libraries", "Token a b", "drf!", ""},
		{"a JWT behind knox's keyword", "Token " + foreign, "", "Token " + foreign},
		{"more JWTs than are read", many, "simplejwt!", strings.Trim(strings.Repeat("Bearer "+foreign+",", 8), ",") + ","},
		{"another scheme", "Negotiate " + key, "", "Negotiate " + key},
	} {
		r := request()
		if test.value != "" {
			r.Header.Set("Authorization", test.value)
		}
		if got := described(s.Take(r)); got != test.want {
			t.Errorf("%s: took %q, want %q", test.name, got, test.want)
		}
		if got := r.Header.Get("Authorization"); got != test.left {
			t.Errorf("%s: %.100q is left, want %.100q", test.name, got, test.left)
		}
	}
}

func TestJWTsAreNoGuessesOnceSigned(t *testing.T) {
	t.Parallel()
	s := apiTokensOf(t, &APITokenConfig{Library: librarySimpleJWT})
	for _, test := range []struct {
		token, public, reason string
		isStale               bool
	}{
		{signed("secret", `{"exp":1}`), Expired, "expired", true},
		{signed("secret", `{"exp":1700000100}`), Malformed, "missing_claim", true},
		{signed("secret", `{"exp":1700000100,"jti":"1","token_type":"refresh","user_id":"1"}`), Invalid, "wrong_type", true},
		{signed("other", `{"exp":1700000100,"jti":"1","token_type":"access","user_id":"1"}`), Invalid, "bad_signature", false},
	} {
		r, err := http.NewRequest(http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+test.token)
		c := s.Take(r)[0]
		_, err = c.Subject(t.Context(), At{})
		if !IsRejection(err) || Public(err) != test.public || ReasonOf(err) != test.reason || IsStale(err) != test.isStale {
			t.Errorf("%s: %v: public %s, reason %s, stale %t", test.reason, err, Public(err), ReasonOf(err), IsStale(err))
		}
		if isGuess := c.Traits().Guess != ""; isGuess == test.isStale {
			t.Errorf("%s is a guess: %t", test.reason, isGuess)
		}
	}
}

func TestCredentialsOfAPITokensShareTables(t *testing.T) {
	t.Parallel()
	var needs userstore.Needs
	apiTokensOf(t, &APITokenConfig{Library: libraryDRF}, &APITokenConfig{Library: libraryDRF, Keyword: "Bearer"},
		&APITokenConfig{Library: libraryDRF, Table: "other"}, &APITokenConfig{Library: libraryKnox}).AddNeeds(&needs)
	var names []string
	for _, via := range needs.Vias {
		names = append(names, via.Name+" "+via.Table)
	}
	if got := strings.Join(names, ", "); got != "drf authtoken_token, drf_2 other, knox knox_authtoken" {
		t.Errorf("the ways are %s", got)
	}
}
