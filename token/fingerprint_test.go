package token_test

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestFingerprintTellsTokensApartAndNotTheirSpellings compares different
// tokens, and different spellings of one token.
func TestFingerprintTellsTokensApartAndNotTheirSpellings(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	user := token.User{Password: new("p")}
	for _, version := range []token.Version{token.V1, token.V2} {
		t.Run(version.String(), func(t *testing.T) {
			t.Parallel()
			tokens, err := token.New(token.Settings{
				SecretKey: "key", Encoding: token.ShortPacker, MaxAge: new(time.Hour), Versions: []token.Version{version},
			})
			if err != nil {
				t.Fatal(err)
			}
			fingerprint := func(made string) string {
				t.Helper()
				parsed, err := tokens.Parse(made, token.Expectation{Now: now})
				if err != nil {
					t.Fatalf("%s: %v", made, err)
				}
				return parsed.Fingerprint()
			}
			seen := make(map[string]string)
			for _, id := range []int64{1, 2, 300} {
				for _, at := range []time.Time{now, now.Add(-time.Second)} {
					made, err := tokens.Create(token.IntKey(id), user, "", at)
					if err != nil {
						t.Fatal(err)
					}
					got := fingerprint(made)
					if len(got) != 20 {
						t.Errorf("the fingerprint %s has %d digits, want 20", got, len(got))
					}
					if other, twice := seen[got]; twice {
						t.Errorf("%s and %s have the fingerprint %s", made, other, got)
					}
					seen[got] = made
					if again := fingerprint(made); again != got {
						t.Errorf("%s has the fingerprints %s and %s", made, got, again)
					}
				}
			}
		})
	}
	// Sixteen bytes in base64 leave four unused bits.
	tokens, err := token.New(token.Settings{SecretKey: "key", Encoding: token.ShortPacker, MaxAge: new(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	made, err := tokens.Create(token.IntKey(1), user, "", now)
	if err != nil {
		t.Fatal(err)
	}
	last := made[len(made)-1]
	fingerprints := make(map[string]int)
	spelled := 0
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		parsed, err := tokens.Parse(made[:len(made)-1]+string(c), token.Expectation{Now: now})
		if err == nil && tokens.Verify(&parsed, user) == nil {
			fingerprints[parsed.Fingerprint()]++
			spelled++
		}
	}
	if spelled < 2 || len(fingerprints) != 1 {
		t.Errorf("%d spellings of a token that ends with %c have %d fingerprints, want several with one", spelled, last, len(fingerprints))
	}
}
