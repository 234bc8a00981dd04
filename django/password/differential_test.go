package password_test

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

var (
	differentialPairs = flag.Int("pairs", 2_000, "how `many` verdicts the differential test compares with each Django")
	differentialSeed  = flag.Uint64("seed", 0, "the `number` that the differential test's inputs follow from, or 0 for another each time")
)

// TestDifferential has both sides make hashes of random passwords, and judge
// them, damaged and whole.
func TestDifferential(t *testing.T) {
	t.Parallel()
	seed := *differentialSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for _, source := range testpeer.Checkouts(t, "DJANGO_SRC", "Django") {
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			d := &differential{rnd: rand.New(rand.NewPCG(seed, 1)), django: testpeer.Start(t, "testdata/peer.py", source)}
			d.django.Ask(t, nil, d)
			accepted, compared := 0, 0
			for compared < *differentialPairs && !t.Failed() {
				checks := d.randomChecks(t)
				var answers []answer
				d.django.Ask(t, checks, &answers)
				for i, q := range checks {
					q.check(t, d.Argon2HashSize, answers[i])
					if answers[i].Correct {
						accepted++
					}
				}
				compared += len(checks)
			}
			t.Logf("seed %d: %d verdicts, %d passwords accepted", seed, compared, accepted)
		})
	}
}

// differential is one Django.
type differential struct {
	Algorithms     []password.Algorithm `json:"algorithms"`
	Argon2HashSize uint32               `json:"argon2_hash_size"`

	rnd    *rand.Rand
	django *testpeer.Process
}

// randomChecks asks about hashes that Django has made and hashes that this
// package has made.
func (d *differential) randomChecks(t *testing.T) []question {
	t.Helper()
	makes := make([]question, 60)
	for i := range makes {
		makes[i] = d.randomMake()
	}
	var made []answer
	d.django.Ask(t, makes, &made)
	var checks []question
	for i, q := range makes {
		q.Do, q.Salt = "check", ""
		encoded, err := q.newHashers(t, d.Argon2HashSize).Make(q.Password)
		if (err != nil) != made[i].Error && len(q.Password) <= 72 && q.Salt == "" {
			t.Errorf("%+v: %v; Django has %+v", q, err, made[i])
		}
		for _, encoded := range []string{encoded, made[i].Encoded} {
			q.Encoded = encoded
			checks = append(checks, q, d.alter(q))
		}
	}
	return checks
}

func (d *differential) randomMake() question {
	rnd := d.rnd
	q := question{Do: "make", Hashers: slices.Clone(d.Algorithms), Parameters: parameters{
		PBKDF2Iterations: 1 + rnd.IntN(30), Argon2Memory: 16 + rnd.Uint32N(50), Argon2Time: 1 + rnd.Uint32N(3), Argon2Lanes: 1 + uint8(rnd.IntN(2)),
		BcryptCost: 4 + rnd.IntN(2), ScryptN: 2 << rnd.IntN(4), ScryptP: 1 + rnd.IntN(3),
	}}
	rnd.Shuffle(len(q.Hashers), func(i, j int) { q.Hashers[i], q.Hashers[j] = q.Hashers[j], q.Hashers[i] })
	text := make([]rune, rnd.IntN(1+[]int{5, 30, 100}[rnd.IntN(3)]))
	for i := range text {
		text[i] = []rune("ab0$ äß€😀\u0301")[rnd.IntN(10)]
	}
	q.Password = string(text)
	return q
}

// alter changes the question: password, hash or what is preferred.
func (d *differential) alter(q question) question {
	rnd := d.rnd
	q.Hashers = slices.Clone(q.Hashers)
	switch rnd.IntN(6) {
	case 0:
		q.Password += "x"
	case 1:
		q.Password = strings.TrimSuffix(q.Password, "a")
	case 2:
		q.Hashers = q.Hashers[rnd.IntN(len(q.Hashers)):]
	case 3:
		q.Parameters = d.randomMake().Parameters
	default:
		if q.Encoded == "" {
			break
		}
		at := rnd.IntN(len(q.Encoded))
		character := string("$0123AZaz=+/., "[rnd.IntN(15)])
		if rest := q.Encoded[at:]; strings.HasPrefix(q.Encoded, "bcrypt") || strings.HasPrefix(q.Encoded, "argon2") || strings.HasPrefix(q.Encoded, "pbkdf2") {
			// A cost that grows takes both sides long.
			if strings.Count(rest, "$") > 0 && character >= "0" && character <= "9" {
				character = "0"
			}
		}
		q.Encoded = q.Encoded[:at] + character + q.Encoded[at+1:]
	}
	return q
}
