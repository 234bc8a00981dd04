package signing_test

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/signing"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// question is the input to Django and to this package.
type question struct {
	Do        string   `json:"do"` // sign, dumps, raw, unsign or loads
	Key       string   `json:"key"`
	Fallbacks []string `json:"fallbacks,omitempty"`
	Salt      string   `json:"salt"`
	Separator string   `json:"separator,omitempty"`
	Now       int64    `json:"now"`
	Value     string   `json:"value"` // base64 for dumps
	Compress  bool     `json:"compress"`
	MaxAge    *int64   `json:"max_age"`
}

// answer is "text" and a text, or "error" and a reason.
type answer [2]string

func (q *question) settings() signing.Settings {
	return signing.Settings{SecretKey: q.Key, SecretKeyFallbacks: q.Fallbacks, Salt: q.Salt, Separator: q.Separator}
}

// ours is what this package answers.
func (q *question) ours(t testing.TB) answer {
	t.Helper()
	signer, err := signing.NewTimestamp(q.settings())
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	now := time.Unix(q.Now, 0)
	var maxAge *time.Duration
	if q.MaxAge != nil {
		maxAge = new(time.Duration(*q.MaxAge) * time.Second)
	}
	switch q.Do {
	case "sign":
		return answer{"text", signer.Sign(q.Value, now)}
	case "dumps":
		return answer{"text", signer.Dumps(mustDecode(t, q.Value), q.Compress, now)}
	case "raw":
		plain, err := signing.New(q.settings())
		if err != nil {
			t.Fatal(err)
		}
		return answer{"text", plain.Sign(q.Value)}
	case "unsign":
		value, _, err := signer.Unsign(q.Value, maxAge, now)
		return verdict(value, err)
	default:
		data, _, err := signer.Loads(q.Value, maxAge, now)
		return verdict(base64.StdEncoding.EncodeToString(data), err)
	}
}

func verdict(text string, err error) answer {
	switch {
	case err == nil:
		return answer{"text", text}
	case errors.Is(err, signing.ErrBadSignature):
		return answer{"error", "bad_signature"}
	case errors.Is(err, signing.ErrExpired):
		return answer{"error", "expired"}
	case errors.Is(err, signing.ErrMalformed):
		return answer{"error", "malformed"}
	}
	return answer{"error", err.Error()}
}

func mustDecode(t testing.TB, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// isEqual compares answers. Texts that may be compressed are decompressed first,
// because Go and Python compress differently.
func (q *question) isEqual(t testing.TB, ours, theirs answer) bool {
	t.Helper()
	if q.Do != "dumps" || ours == theirs || !q.Compress {
		return ours == theirs
	}
	signer, err := signing.NewTimestamp(q.settings())
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{ours[1], theirs[1]} {
		data, _, err := signer.Loads(made, nil, time.Time{})
		if err != nil || string(data) != string(mustDecode(t, q.Value)) {
			return false
		}
	}
	return true
}

func TestVectorsOfDjango(t *testing.T) {
	t.Parallel()
	vectors := testpeer.Vectors[question, answer](t, "testdata/vectors.json")
	kinds := make(map[string]int)
	for _, v := range vectors {
		if v.Answer[0] == "error" {
			kinds[v.Answer[1]]++
		} else {
			kinds[v.Question.Do]++
		}
		if ours := v.Question.ours(t); !v.Question.isEqual(t, ours, v.Answer) {
			t.Errorf("%+v: %q, Django has %q", v.Question, ours, v.Answer)
		}
	}
	for _, kind := range []string{"sign", "dumps", "raw", "unsign", "loads", "bad_signature", "expired", "malformed"} {
		if kinds[kind] == 0 {
			t.Errorf("no vector is %s", kind)
		}
	}
}
