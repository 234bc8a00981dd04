package identity

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newTestAssertions makes assertions with the caller's clock.
func newTestAssertions(t testing.TB, cfg AssertionConfig, now *time.Time) *Assertions {
	t.Helper()
	cfg.Audience = []string{"app"}
	a, err := NewAssertions(&cfg, userstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	asIs := func(_, value string) (string, error) { return value, nil }
	if err := a.Resolve(&cfg, token.Settings{SecretKey: "secret"}, asIs); err != nil {
		t.Fatal(err)
	}
	if now != nil {
		a.now = func() time.Time { return *now }
	}
	return a
}

// TestAssertionIsReusedForHalfItsValidity moves the clock. No assertion is
// sent that a verifier would reject.
func TestAssertionIsReusedForHalfItsValidity(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 6, 7, 8, 9, 900_000_000, time.UTC)
	now := start
	a := newTestAssertions(t, AssertionConfig{}, &now)
	user := &userstore.User{PrimaryKey: token.IntKey(1)}
	first := ""
	for _, step := range []struct {
		at    time.Duration
		isNew bool
	}{
		{0, true},
		{0, false},
		{29 * time.Second, false},
		{30 * time.Second, true},
		{59 * time.Second, false},
		{-time.Hour, true}, // the clock was set back
		{-time.Hour + 29*time.Second, false},
		{time.Hour, true},
	} {
		now = start.Add(step.at)
		text, err := a.of(user, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if isNew := text != first; isNew != step.isNew {
			t.Errorf("after %s, is the assertion new: %v, want %v", step.at, isNew, step.isNew)
		}
		first = text
		claims := claimsOf(t, text)
		issued, expires := int64(claims["iat"].(float64)), int64(claims["exp"].(float64))
		if issued > now.Unix() || expires-now.Unix() <= 30 || expires-issued != 60 {
			t.Errorf("at %d, the claims are %v", now.Unix(), claims)
		}
	}
}

// claimsOf reads the claims of an assertion. It doesn't check the signature.
func claimsOf(t *testing.T, text string) map[string]any {
	t.Helper()
	signed, err := jose.ParseSignedCompact(strings.TrimPrefix(text, "Bearer "), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestTextThatIsNotUTF8IsLeftOutOfAssertions: in JSON, different texts that
// aren't UTF-8 would become equal.
func TestTextThatIsNotUTF8IsLeftOutOfAssertions(t *testing.T) {
	t.Parallel()
	a := newTestAssertions(t, AssertionConfig{Claims: []AssertionClaim{{Name: "name", Value: "{http.auth.user.id}"}}}, nil)
	if text, err := a.of(&userstore.User{PrimaryKey: token.StringKey("a\xff")}, zap.NewNop()); err == nil {
		t.Errorf("a key that isn't UTF-8 made the assertion %v", claimsOf(t, text))
	}
	text, err := a.of(&userstore.User{PrimaryKey: token.StringKey("é\n\"\x00")}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if claims := claimsOf(t, text); claims["sub"] != "é\n\"\x00" || claims["name"] != claims["sub"] {
		t.Errorf("the claims are %v", claims)
	}
}

// TestAssertionKeyIsDerivedAsDocumented compares with a key computed in
// Python: gateways of different releases publish each other's keys.
func TestAssertionKeyIsDerivedAsDocumented(t *testing.T) {
	t.Parallel()
	a := newTestAssertions(t, AssertionConfig{}, nil)
	// scrypt(secret, "caddy-sesame/assertion/1", N=32768, r=8, p=1), computed
	// with hashlib.scrypt and cryptography of Python, and the thumbprint of
	// its public key.
	const want = "fyL4lr3Met03e35kBGDbHgrHsWdzpNS-j-UIZn3Z0EM"
	if a.keys.ids[0] != want {
		t.Errorf("the key's id is %s, want %s", a.keys.ids[0], want)
	}
}

// TestKeptAssertionsAreBounded has more users than the cache has room for.
func TestKeptAssertionsAreBounded(t *testing.T) {
	t.Parallel()
	a := newTestAssertions(t, AssertionConfig{Claims: []AssertionClaim{{Name: "text", Value: strings.Repeat("x", 1<<20)}}}, nil)
	for key := range int64(40) {
		if _, err := a.of(&userstore.User{PrimaryKey: token.IntKey(key)}, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
	}
	a.kept.CleanUp()
	if weight := a.kept.WeightedSize(); weight == 0 || weight > mostKeptAssertions {
		t.Errorf("%d bytes are kept, %d are allowed", weight, mostKeptAssertions)
	}
}

// BenchmarkAssertion measures what an assertion adds to a request. The user
// doesn't come from a store, so its key is converted to text each time.
func BenchmarkAssertion(b *testing.B) {
	user := &userstore.User{PrimaryKey: token.IntKey(1234567)}
	b.Run("kept", func(b *testing.B) {
		a := newTestAssertions(b, AssertionConfig{}, nil)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := a.of(user, zap.NewNop()); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("signed", func(b *testing.B) {
		a := newTestAssertions(b, AssertionConfig{}, nil)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.sign(user, 1_800_000_000, zap.NewNop()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
