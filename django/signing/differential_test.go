package signing_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/signing"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// TestDifferential signs random texts with both sides, damages some of them,
// and has both sides check them.
func TestDifferential(t *testing.T) {
	t.Parallel()
	testpeer.EachDjango(t, 5_000, func(t *testing.T, d *testpeer.Differential, django *testpeer.Process) {
		verdicts := make(map[string]int)
		for d.Goes(t) {
			made := compare(t, django, randomSignings(d.Rand), verdicts)
			checks := randomChecks(d.Rand, made)
			compare(t, django, checks, verdicts)
			d.Compared(len(made) + len(checks))
		}
		t.Logf("Django's verdicts: %v", verdicts)
	})
}

// made is a signed text, and the question that it answers.
type made struct {
	question question
	text     string
}

// compare asks both sides, and returns the texts that Django has made.
func compare(t *testing.T, django *testpeer.Process, questions []question, verdicts map[string]int) []made {
	t.Helper()
	var theirs []answer
	django.Ask(t, questions, &theirs)
	all := make([]made, len(theirs))
	for i, q := range questions {
		all[i] = made{q, theirs[i][1]}
		verdicts[q.Do+" "+theirs[i][0]]++
		if ours := q.ours(t); !q.isEqual(t, ours, theirs[i]) {
			t.Errorf("%+v: %q, Django has %q", q, ours, theirs[i])
		}
	}
	return all
}

func randomText(rnd *rand.Rand, most int) string {
	characters := []rune("abcXYZ019.:-_=+/ \x00é€😀{}\"")
	text := make([]rune, rnd.IntN(most+1))
	for i := range text {
		text[i] = characters[rnd.IntN(len(characters))]
	}
	return string(text)
}

func randomSignings(rnd *rand.Rand) []question {
	all := make([]question, 100)
	for i := range all {
		q := question{Key: "k" + randomText(rnd, 80), Salt: "s" + randomText(rnd, 20), Now: rnd.Int64N(1 << 33)}
		q.Separator = []string{":", ":", "::", "~", "é"}[rnd.IntN(5)]
		switch rnd.IntN(4) {
		case 0:
			q.Do, q.Value = "sign", randomText(rnd, 40)
		case 1:
			q.Do, q.Value = "raw", randomPayload(rnd)+q.Separator+randomTimestamp(rnd, q.Now)
		default:
			q.Do, q.Compress = "dumps", rnd.IntN(2) == 0
			text := strings.Repeat(randomText(rnd, 30), 1+rnd.IntN(20))
			q.Value = base64.StdEncoding.EncodeToString([]byte(text))
		}
		all[i] = q
	}
	return all
}

// randomPayload returns a payload that no TimestampSigner signs: in another base64,
// or with other compressed data.
func randomPayload(rnd *rand.Rand) string {
	data := []byte(strings.Repeat(randomText(rnd, 30), 1+rnd.IntN(5)))
	prefix := ""
	if rnd.IntN(2) == 0 {
		var compressed bytes.Buffer
		w, _ := zlib.NewWriterLevel(&compressed, rnd.IntN(10))
		_, _ = w.Write(data)
		_ = w.Close()
		prefix, data = ".", compressed.Bytes()
		switch rnd.IntN(4) {
		case 0:
			data[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
		case 1:
			data = data[:rnd.IntN(len(data))]
		case 2:
			data = append(data, randomText(rnd, 5)...)
		}
	}
	encoded := base64.RawURLEncoding.EncodeToString(data)
	at := rnd.IntN(len(encoded) + 1)
	switch rnd.IntN(6) {
	case 0:
		return prefix + encoded + strings.Repeat("=", rnd.IntN(5))
	case 1:
		return prefix + base64.StdEncoding.EncodeToString(data)
	case 2:
		return prefix + encoded[:at] + randomText(rnd, 3) + encoded[at:]
	case 3:
		return prefix + encoded[:at]
	case 4:
		return randomText(rnd, 12)
	}
	return prefix + encoded
}

// randomTimestamp is near now, mostly, or can't be one.
func randomTimestamp(rnd *rand.Rand, now int64) string {
	switch rnd.IntN(6) {
	case 0:
		return randomText(rnd, 3)
	case 1:
		return []string{"", "-", "-0", "0", "00", "--1", "-1", "1 ", "zzzzzzzzzz", "zzzzzzzzzzz", strings.Repeat("z", 100), "-" + strings.Repeat("z", 100), "A_A", "é"}[rnd.IntN(14)]
	case 2:
		return "0" + signing.EncodeBase62(now)
	}
	return signing.EncodeBase62(now - rnd.Int64N(100))
}

func randomChecks(rnd *rand.Rand, signed []made) []question {
	var all []question
	for _, m := range signed {
		q := m.question
		q.Value = m.text
		if q.Do = "loads"; rnd.IntN(3) == 0 {
			q.Do = "unsign"
		}
		switch rnd.IntN(8) {
		case 0, 1, 2:
			q.Fallbacks, q.Key = []string{"x", q.Key}, "new"
		case 3:
			q.Fallbacks = []string{q.Key, "x"}
		case 4:
			q.Salt = []string{q.Salt + "x", "signer", "s", strings.ToUpper(q.Salt)}[rnd.IntN(4)]
		}
		if rnd.IntN(2) == 0 {
			q.MaxAge = new(rnd.Int64N(100))
			q.Now += rnd.Int64N(200)
		}
		all = append(all, q)
		damaged := []rune(q.Value)
		at := rnd.IntN(len(damaged))
		switch rnd.IntN(3) {
		case 0:
			damaged[at]++
		case 1:
			damaged = damaged[:at]
		default:
			damaged = append(damaged, 'A')
		}
		q.Value = string(damaged)
		all = append(all, q)
	}
	return all
}
