package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func privatePEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newEd25519(t *testing.T) (ed25519.PublicKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, privatePEM(t, private)
}

func asItIs(_, value string) (string, error) { return value, nil }

func TestAssertionSaysWhoWhenAndForWhom(t *testing.T) {
	t.Parallel()
	public, key := newEd25519(t)
	otherPublic, other := newEd25519(t)
	now := time.Unix(1_700_000_000, 900_000_000)
	for _, test := range []struct {
		audience []string
		want     any
	}{{[]string{"app"}, "app"}, {[]string{"app", "api"}, []any{"app", "api"}}} {
		cfg := AssertionConfig{
			Header: "X-Assertion", Audience: test.audience, Issuer: "gate", TTL: caddy.Duration(10 * time.Second), Keys: []string{key, other, key},
			Claims: []AssertionClaim{{Name: "name", Value: "user {http.auth.user.username}!"}, {Name: "same", Value: "{http.auth.user.username}"}, {Name: "mail", Value: "{http.auth.user.email}"}},
		}
		a, err := NewAssertions(&cfg, userstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		a.now = func() time.Time { return now }
		if err := a.Resolve(&cfg, token.Settings{SecretKey: "secret"}, asItIs); err != nil {
			t.Fatal(err)
		}
		var made atomic.Uint64
		a.CountIn(&made)
		text, err := a.of(seven, zap.NewNop())
		if err != nil || made.Load() != 1 {
			t.Fatalf("%v; %d signed", err, made.Load())
		}
		signed, err := jose.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := signed.Verify(public)
		if err != nil {
			t.Fatal(err)
		}
		if got := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; got != "JWT" {
			t.Errorf("its type is %v, want JWT", got)
		}
		var got map[string]any
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"iss": "gate", "sub": "7", "aud": test.want, "iat": 1.7e9, "nbf": 1.7e9, "exp": 1.7e9 + 10, "name": "user 7!", "same": "7"}
		if left, right := mustJSON(t, got), mustJSON(t, want); left != right {
			t.Errorf("%s, want %s", left, right)
		}
		// The key set has both keys, and the first is named.
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(a.KeySet(), &set); err != nil {
			t.Fatal(err)
		}
		if len(set.Keys) != 2 || !set.Keys[0].Key.(ed25519.PublicKey).Equal(public) || !set.Keys[1].Key.(ed25519.PublicKey).Equal(otherPublic) ||
			set.Keys[0].Algorithm != "EdDSA" || set.Keys[0].Use != "sig" || signed.Signatures[0].Header.KeyID != set.Keys[0].KeyID || !slices.Equal(a.KeyIDs(), []string{set.Keys[0].KeyID, set.Keys[1].KeyID}) {
			t.Errorf("key set %s; ids %q; the assertion's key is %s", a.KeySet(), a.KeyIDs(), signed.Signatures[0].Header.KeyID)
		}
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAssertionIsInItsFieldAlone(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"", "x-assertion"} {
		a := newTestAssertions(t, AssertionConfig{Header: header}, nil)
		fields := newFields(t, Header{Name: "X-Who", Value: "{http.auth.user.id}"})
		if err := fields.UseAssertions(a); err != nil {
			t.Fatal(err)
		}
		r, _ := newHandled(t, http.Header{"Authorization": {"Bearer client"}, "X-Assertion": {"client"}})
		fields.Remove(r)
		fields.Set(r, seven, zap.NewNop())
		text, err := a.of(seven, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if header == "" {
			if !strings.HasPrefix(text, "Bearer ey") || !slices.Equal(r.Header["Authorization"], []string{text}) {
				t.Errorf("Authorization %q, want %q", r.Header["Authorization"], text)
			}
			putBack := HideAssertion(r)
			if putBack == nil || r.Header["Authorization"] != nil {
				t.Fatalf("the assertion isn't hidden: %q", r.Header["Authorization"])
			}
			if putBack(); !slices.Equal(r.Header["Authorization"], []string{text}) {
				t.Errorf("put back: %q", r.Header["Authorization"])
			}
			r.Header["Authorization"] = []string{"Bearer client"}
			if HideAssertion(r) != nil || r.Header.Get("Authorization") != "Bearer client" {
				t.Errorf("another's credentials are hidden: %q", r.Header["Authorization"])
			}
			r.Header["Authorization"] = []string{text, "Bearer client"}
			if HideAssertion(r) != nil {
				t.Error("credentials beside the assertion are hidden")
			}
			continue
		}
		if !strings.HasPrefix(text, "ey") || !slices.Equal(r.Header["X-Assertion"], []string{text}) || r.Header.Get("Authorization") != "Bearer client" {
			t.Errorf("%q, want the assertion %q", r.Header, text)
		}
		if HideAssertion(r) != nil {
			t.Error("the client's credentials are hidden")
		}
	}
}

func TestClaimOfGroupsAloneIsAList(t *testing.T) {
	t.Parallel()
	store := userstore.Config{Groups: new(userstore.GroupsConfig)}
	for value, isList := range map[string]bool{"{http.auth.user.groups}": true, "x{http.auth.user.groups}": false, "{http.auth.user.groups}{http.auth.user.id}": false} {
		a, err := NewAssertions(&AssertionConfig{Audience: []string{"app"}, Claims: []AssertionClaim{{Name: "roles", Value: value}, {Name: "again", Value: value}}}, store)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(a.lists, []string{"groups"}) != isList || slices.Contains(a.columns, "groups") == isList {
			t.Errorf("%s reads the lists %q and the columns %q", value, a.lists, a.columns)
		}
	}
	a, err := NewAssertions(&AssertionConfig{Audience: []string{"app"}}, store)
	if err != nil || len(a.claims) != 3 || a.claims[2].name != "groups" || !slices.Equal(a.columns, []string{"username", "email"}) {
		t.Errorf("by default the claims are %+v, %v", a.claims, err)
	}
	if a, err = NewAssertions(&AssertionConfig{Audience: []string{"app"}}, userstore.Config{}); err != nil || len(a.claims) != 2 || a.header != "Authorization" || a.ttl != time.Minute {
		t.Errorf("without groups the defaults are %+v, %v", a, err)
	}
}

func TestUserWithAKeyThatIsNotUTF8GetsNoAssertionButAWarning(t *testing.T) {
	t.Parallel()
	logs, seen := observer.New(zapcore.WarnLevel)
	fields := newFields(t, Header{Name: "X-Who", Value: "x"})
	if err := fields.UseAssertions(newTestAssertions(t, AssertionConfig{}, nil)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, _ := newHandled(t, http.Header{"Authorization": {"Bearer client"}})
		fields.Remove(r)
		fields.Set(r, &userstore.User{PrimaryKey: token.StringKey("a\xff")}, zap.New(logs))
		if values, has := r.Header["Authorization"]; has {
			t.Errorf("the upstream gets %q", values)
		}
	}
	if seen.Len() != 1 || seen.All()[0].Message != "assertion left out" || !strings.Contains(seen.All()[0].ContextMap()["error"].(string), "UTF-8") {
		t.Errorf("%+v", seen.All())
	}
}

func TestAssertionConfigThatCantBeRightIsRejected(t *testing.T) {
	t.Parallel()
	app := []string{"app"}
	claim := func(claims ...AssertionClaim) AssertionConfig { return AssertionConfig{Audience: app, Claims: claims} }
	for name, test := range map[string]struct {
		cfg    AssertionConfig
		option string
		says   string
	}{
		"too short":            {AssertionConfig{Audience: app, TTL: caddy.Duration(time.Second)}, "assertion: ttl ", "whole seconds"},
		"too long":             {AssertionConfig{Audience: app, TTL: caddy.Duration(time.Hour + time.Second)}, "assertion: ttl ", "whole seconds"},
		"no whole seconds":     {AssertionConfig{Audience: app, TTL: caddy.Duration(2500 * time.Millisecond)}, "assertion: ttl ", "whole seconds"},
		"no audience":          {AssertionConfig{}, "assertion: audience ", "is missing"},
		"no name":              {claim(AssertionClaim{Name: "", Value: "x"}), "assertion: claim: ", "the name is missing"},
		"no value":             {claim(AssertionClaim{Name: "x", Value: ""}), "assertion: claim x: ", "the value is missing"},
		"one of the gateway's": {claim(AssertionClaim{Name: "sub", Value: "x"}), "assertion: claim sub: ", "use another name"},
		"twice":                {claim(AssertionClaim{Name: "x", Value: "1"}, AssertionClaim{Name: "x", Value: "2"}), "assertion: claim x ", "is set twice"},
		"no brace":             {claim(AssertionClaim{Name: "x", Value: "{http.auth.user.id"}), "assertion: claim x: ", "the brace } is missing"},
		"of the request":       {claim(AssertionClaim{Name: "x", Value: "{http.request.host}"}), "assertion: claim x: ", "more than one request"},
		"no column":            {claim(AssertionClaim{Name: "x", Value: "{http.auth.user.}"}), "assertion: claim x: ", "more than one request"},
		"an unknown column":    {claim(AssertionClaim{Name: "x", Value: "{http.auth.user.nothing}"}), "assertion: claim x: ", "reads no column"},
		"groups, unread":       {claim(AssertionClaim{Name: "x", Value: "{http.auth.user.groups}"}), "assertion: claim x: ", "add groups to userstore"},
		"the password":         {claim(AssertionClaim{Name: "x", Value: "{http.auth.user.password}"}), "assertion: claim x: ", "never passed on"},
	} {
		_, err := NewAssertions(&test.cfg, userstore.Config{})
		if err == nil || !strings.HasPrefix(err.Error(), test.option) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, registered := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"} {
		cfg := claim(AssertionClaim{Name: registered, Value: "x"})
		if _, err := NewAssertions(&cfg, userstore.Config{}); err == nil || !strings.Contains(err.Error(), "use another name") {
			t.Errorf("the claim %s: %v", registered, err)
		}
	}
	for _, ttl := range []time.Duration{2 * time.Second, time.Hour} {
		if _, err := NewAssertions(&AssertionConfig{Audience: app, TTL: caddy.Duration(ttl)}, userstore.Config{}); err != nil {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}

func TestAssertionKeysThatArentEd25519AreRejected(t *testing.T) {
	t.Parallel()
	_, good := newEd25519(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{
		"nothing": "", "text": "secret", "two": good + good, "a rest": good + "x", "another kind": privatePEM(t, curve),
		"broken": strings.Replace(good, "MC4", "AAA", 1),
	} {
		_, err := newAssertionKeys([]string{good, key}, token.Settings{}, asItIs)
		if err == nil || !strings.HasPrefix(err.Error(), "assertion: keys: key 2: ") || !strings.Contains(err.Error(), "openssl genpkey") || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newAssertionKeys([]string{good, "/etc/key.pem"}, token.Settings{}, asItIs); err == nil || !strings.Contains(err.Error(), "write {file./path/to/key.pem}") {
		t.Errorf("a path: %v", err)
	}
	unresolved := errors.New("unresolved")
	for option, cfg := range map[string]AssertionConfig{
		"assertion: issuer": {Audience: []string{"a"}}, "assertion: audience": {Audience: []string{"a"}}, "assertion: keys": {Audience: []string{"a"}, Keys: []string{good}},
	} {
		a, err := NewAssertions(&cfg, userstore.Config{})
		if err != nil {
			t.Fatal(err)
		}
		err = a.Resolve(&cfg, token.Settings{SecretKey: "secret"}, func(of, value string) (string, error) {
			if of == option {
				return "", unresolved
			}
			return value, nil
		})
		if !errors.Is(err, unresolved) {
			t.Errorf("%s: %v", option, err)
		}
		if err := a.Resolve(&cfg, token.Settings{SecretKey: "secret"}, asItIs); err != nil || a.issuer != "caddy-sesame" {
			t.Errorf("issuer %q, %v", a.issuer, err)
		}
	}
	cfg := AssertionConfig{Audience: []string{"a", "b"}}
	a, err := NewAssertions(&cfg, userstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	empty := func(of, value string) (string, error) { return strings.TrimPrefix(value, "b"), nil }
	if err := a.Resolve(&cfg, token.Settings{SecretKey: "secret"}, empty); err == nil || !strings.Contains(err.Error(), "audience is empty") {
		t.Errorf("an empty audience: %v", err)
	}
}

// TestDerivedAssertionKeysFollowTheKeysOfTokens: during a rotation, verifiers
// need the key of the other gateways, too.
func TestDerivedAssertionKeysFollowTheKeysOfTokens(t *testing.T) {
	t.Parallel()
	ids := func(settings token.Settings) []string {
		keys, err := newAssertionKeys(nil, settings, asItIs)
		if err != nil {
			t.Fatal(err)
		}
		return keys.ids
	}
	first, second := ids(token.Settings{SecretKey: "one"}), ids(token.Settings{SecretKey: "two"})
	both := ids(token.Settings{SecretKey: "two", SecretKeyFallbacks: []string{"one", "two"}})
	if len(first) != 1 || len(second) != 1 || !slices.Equal(both, []string{second[0], first[0]}) {
		t.Errorf("%q and %q together are %q", first, second, both)
	}
}
