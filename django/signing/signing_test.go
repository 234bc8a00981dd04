package signing_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/signing"
)

func newTimestamp(t testing.TB, settings signing.Settings) *signing.TimestampSigner {
	t.Helper()
	signer, err := signing.NewTimestamp(settings)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

var now = time.Unix(1_700_000_000, 0)

func TestSettingsThatCantBeRightAreRejected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings signing.Settings
		says     string
	}{
		"no key":                            {signing.Settings{Salt: "s"}, "SecretKey"},
		"no salt":                           {signing.Settings{SecretKey: "topsecret"}, "Salt"},
		"an empty fallback":                 {signing.Settings{SecretKey: "topsecret", Salt: "s", SecretKeyFallbacks: []string{""}}, "SecretKeyFallbacks"},
		"a separator of base64":             {signing.Settings{SecretKey: "topsecret", Salt: "s", Separator: "-_"}, "Separator"},
		"a separator within Django's A-z":   {signing.Settings{SecretKey: "topsecret", Salt: "s", Separator: "^"}, "Separator"},
		"a negative bound on inflated data": {signing.Settings{SecretKey: "topsecret", Salt: "s", MaxInflated: -1}, "MaxInflated"},
	} {
		_, err := signing.New(c.settings)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDataThatInflatesBeyondTheBoundIsRejected(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	settings := signing.Settings{SecretKey: "key", Salt: "salt", MaxInflated: limit}
	signer := newTimestamp(t, settings)
	for size, want := range map[int]error{limit: nil, limit + 1: signing.ErrTooLarge, 100 * limit: signing.ErrTooLarge} {
		data, _, err := signer.Loads(signer.Dumps(bytes.Repeat([]byte("x"), size), true, now), nil, now)
		if err != want || err == nil && len(data) != size {
			t.Errorf("%d bytes: %d, %v", size, len(data), err)
		}
	}
}

// TestBombOfAnotherKeyIsntInflated: data without a valid signature isn't
// decompressed.
func TestBombOfAnotherKeyIsntInflated(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	w := zlib.NewWriter(&bomb)
	_, _ = w.Write(make([]byte, 10<<20))
	_ = w.Close()
	signer := newTimestamp(t, signing.Settings{SecretKey: "key", Salt: "salt"})
	other := newTimestamp(t, signing.Settings{SecretKey: "other", Salt: "salt"})
	value := "." + base64.RawURLEncoding.EncodeToString(bomb.Bytes())
	if _, _, err := signer.Loads(other.Sign(value, now), nil, now); !errors.Is(err, signing.ErrBadSignature) {
		t.Error(err)
	}
	if _, _, err := signer.Loads(signer.Sign(value, now), nil, now); !errors.Is(err, signing.ErrTooLarge) {
		t.Error(err)
	}
}

func TestAgeIsExact(t *testing.T) {
	t.Parallel()
	signer := newTimestamp(t, signing.Settings{SecretKey: "key", Salt: "salt"})
	signed := signer.Sign("value", now)
	for later, want := range map[time.Duration]error{
		time.Minute: nil, time.Minute + 1: signing.ErrExpired, -time.Hour: nil,
	} {
		_, at, err := signer.Unsign(signed, new(time.Minute), now.Add(later))
		if err != want || err == nil && !at.Equal(now) {
			t.Errorf("%v later: signed %v, %v", later, at, err)
		}
	}
}

func TestBase62IsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 61: "z", 62: "10", -62: "-10", 1_700_000_000: "1r31eq"} {
		text := signing.EncodeBase62(n)
		back, err := signing.DecodeBase62(text)
		if text != want || err != nil || back.Unix() != n {
			t.Errorf("%d: %q, read as %v, %v", n, text, back, err)
		}
	}
	if text := signing.EncodeBase62(-1 << 63); text != "-AzL8n0Y58m8" {
		t.Errorf("the smallest number is %q", text)
	}
}

// A signed text is read with the key or a fallback, if it isn't too old.
func Example() {
	signer, err := signing.NewTimestamp(signing.Settings{
		SecretKey: "Django's SECRET_KEY",
		Salt:      "django.core.signing", // that of django.core.signing.dumps
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Unix(1_700_000_000, 0)
	signed := signer.Dumps([]byte(`{"user":42}`), false, now)
	fmt.Println(signed)

	data, _, err := signer.Loads(signed, new(time.Hour), now.Add(time.Minute))
	fmt.Println(string(data), err)
	_, _, err = signer.Loads(signed, new(time.Hour), now.Add(2*time.Hour))
	fmt.Println(err)
	// Output:
	// eyJ1c2VyIjo0Mn0:1r31eq:noq0sASDE6w46jHIohxEWzNnCG3Eyz50wloioCz1FLU
	// {"user":42} <nil>
	// the signature has expired
}

func BenchmarkLoads(b *testing.B) {
	signer := newTimestamp(b, signing.Settings{SecretKey: "key", Salt: "salt"})
	for name, compress := range map[string]bool{"plain": false, "compressed": true} {
		signed := signer.Dumps([]byte(strings.Repeat(`{"_auth_user_id":"1"}`, 10)), compress, now)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := signer.Loads(signed, new(time.Minute), now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkForged measures the work that an attacker can cause.
func BenchmarkForged(b *testing.B) {
	signer := newTimestamp(b, signing.Settings{SecretKey: "key", Salt: "salt", SecretKeyFallbacks: []string{"old"}})
	forged := newTimestamp(b, signing.Settings{SecretKey: "other", Salt: "salt"}).Sign("value", now)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := signer.Loads(forged, nil, now); err != signing.ErrBadSignature {
			b.Fatal(err)
		}
	}
}

// FuzzLoads reads texts unsigned, and signed with the key. Only texts that are
// signed with the key are accepted, and the result is bounded.
func FuzzLoads(f *testing.F) {
	const limit = 1 << 12
	settings := signing.Settings{SecretKey: "key", Salt: "salt", MaxInflated: limit}
	signer := newTimestamp(f, settings)
	plain, err := signing.New(settings)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signer.Dumps([]byte(`{"a":1}`), false, now))
	f.Add(signer.Dumps([]byte(strings.Repeat(`{"a":1}`, 100)), true, now))
	// Without the signature, which is made below.
	for _, data := range []string{`{"a":1}`, strings.Repeat(`{"a":1}`, 100), strings.Repeat("x", limit), strings.Repeat("x", limit+1)} {
		for _, at := range []time.Time{now, now.Add(-2 * time.Hour), now.Add(time.Hour), time.Unix(0, 0), time.Unix(-1, 0)} {
			dumped := signer.Dumps([]byte(data), true, at)
			f.Add(dumped[:strings.LastIndexByte(dumped, ':')])
		}
	}
	for _, value := range []string{"e30:1rBM9k", "e30:", "e30:1-", "e30:aaaaaaaaaaaaaaaaaaaa", "e=0:1rBM9k", ".e30:1rBM9k", ".eJw:1rBM9k", ".eJwBAAAAAAAB:1rBM9k", "\xff:1rBM9k", "e30"} {
		f.Add(value)
	}
	f.Add("eA=A:1")
	f.Add(".:-")
	f.Fuzz(func(t *testing.T, text string) {
		if value, err := plain.Unsign(text); err == nil && plain.Sign(value) != text {
			t.Errorf("%q is accepted, but %q is what the key makes", text, plain.Sign(value))
		}
		data, _, err := signer.Loads(plain.Sign(text), new(time.Hour), now)
		if len(data) > max(limit, len(text)) {
			t.Errorf("%q: %d bytes", text, len(data))
		}
		for _, known := range []error{nil, signing.ErrExpired, signing.ErrMalformed, signing.ErrTooLarge} {
			if err == known {
				return
			}
		}
		t.Errorf("%q: %v", text, err)
	})
}
