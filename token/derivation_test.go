package token

import (
	"crypto/md5" //nolint:gosec // v1 tokens use it
	"hash"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// countDerivations counts the hashes of key derivations. PBKDF2 makes
// thousands of hashes, so the count only shows whether it ran.
func countDerivations(t *testing.T, tokens *Tokens) *atomic.Int64 {
	t.Helper()
	hashes := new(atomic.Int64)
	tokens.newDigest = func() hash.Hash {
		hashes.Add(1)
		return md5.New() //nolint:gosec // v1 tokens use it
	}
	return hashes
}

// TestForgedV1CostsNoDerivation checks v1 tokens that were made without the
// key: the slow part of the check doesn't run for them.
func TestForgedV1CostsNoDerivation(t *testing.T) {
	t.Parallel()
	age := time.Minute
	for _, maxAge := range []*time.Duration{nil, &age} {
		settings := Settings{SecretKey: "ours", SecretKeyFallbacks: []string{"older"}, Encoding: LongPacker, MaxAge: maxAge, Versions: []Version{V1, V2}}
		tokens, err := New(settings)
		if err != nil {
			t.Fatal(err)
		}
		password := "pbkdf2_sha256$1000000$salt$hash"
		user, now := User{Password: &password}, time.Now()
		valid, err := tokens.Create(IntKey(1), user, "", now)
		if err != nil {
			t.Fatal(err)
		}
		settings.SecretKey, settings.SecretKeyFallbacks = "another", nil
		others, err := New(settings)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := others.Create(IntKey(1), user, "", now)
		if err != nil {
			t.Fatal(err)
		}

		hashes := countDerivations(t, tokens)
		check := func(made, scope string) error {
			parsed, err := tokens.Parse(made, Expectation{Scope: scope, Now: now})
			if err != nil {
				return err
			}
			return tokens.Verify(&parsed, user)
		}
		for _, made := range []string{
			forged,
			valid[:len(valid)-1] + "-", // no signature ends with it
			"_" + valid[1:],
			valid + valid,
			strings.Repeat("A", 20) + valid[strings.LastIndex(valid, ":"):],
			strings.Repeat("A", maxDataSize) + ":" + strings.Repeat("A", v1SignatureLen),
		} {
			if err := check(made, ""); err == nil {
				t.Errorf("%s was accepted", made)
			}
		}
		if err := check(valid, "report"); err == nil {
			t.Error("a v1 token was accepted in a scope")
		}
		if n := hashes.Load(); n != 0 {
			t.Errorf("forged tokens cost %d hashes of a derivation", n)
		}
		if err := check(valid, ""); err != nil {
			t.Errorf("the valid token: %v", err)
		}
		if hashes.Load() == 0 {
			t.Error("the derivation of the valid token wasn't counted")
		}
	}
}
