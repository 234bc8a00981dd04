package password_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// TestDifferential has both sides make hashes of random passwords, and judge
// them, damaged and whole.
func TestDifferential(t *testing.T) {
	t.Parallel()
	testpeer.EachDjango(t, 2_000, func(t *testing.T, random *testpeer.Differential, django *testpeer.Process) {
		d := &differential{rnd: random.Rand, django: django}
		d.django.Ask(t, nil, d)
		accepted := 0
		for random.Goes(t) {
			checks := d.randomChecks(t)
			var answers []answer
			d.django.Ask(t, checks, &answers)
			for i, q := range checks {
				q.check(t, d.Argon2HashSize, answers[i])
				if answers[i].Correct {
					accepted++
				}
			}
			random.Compared(len(checks))
		}
		t.Logf("%d passwords accepted", accepted)
	})
}

// differential compares with one version of Django.
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
		salt := q.Salt
		q.Do, q.Salt = "check", ""
		encoded, err := q.newHashers(t, d.Argon2HashSize).Make(q.Password)
		if (err != nil) != made[i].Error && len(q.Password) <= 72 && salt == "" {
			t.Errorf("%+v: %v; Django has %+v", q, err, made[i])
		}
		for _, encoded := range []string{encoded, made[i].Encoded} {
			q.Encoded = encoded
			checks = append(checks, q, d.alter(q))
		}
	}
	return checks
}

// randomMake is a hash that Django is to make, with cheap parameters.
func (d *differential) randomMake() question {
	rnd := d.rnd
	q := question{Do: "make", Hashers: slices.Clone(d.Algorithms), Parameters: parameters{
		PBKDF2Iterations: 1 + rnd.IntN(30), Argon2Memory: 16 + rnd.Uint32N(50), Argon2Time: 1 + rnd.Uint32N(3), Argon2Lanes: 1 + uint8(rnd.IntN(2)),
		BcryptCost: 4 + rnd.IntN(2), ScryptN: 2 << rnd.IntN(4), ScryptP: 1 + rnd.IntN(3),
	}}
	rnd.Shuffle(len(q.Hashers), func(i, j int) { q.Hashers[i], q.Hashers[j] = q.Hashers[j], q.Hashers[i] })
	q.Password = randomText(rnd, []rune("ab0$ äß€😀\u0301\u212b\ufb01\n\t\x00"), 1+[]int{5, 30, 72, 100, 300}[rnd.IntN(5)])
	switch q.Hashers[0] {
	case password.PBKDF2SHA256, password.PBKDF2SHA1, password.Scrypt, password.MD5, password.SHA1:
		if rnd.IntN(3) == 0 { // one of the application's own
			q.Salt = randomText(rnd, []rune("abZ09 ,:=/üÅ€😀"), 30)
		}
	case password.Argon2:
		if rnd.IntN(3) == 0 { // argon2i, too, and other sizes
			q.Do, q.Variant, q.HashSize = "argon2", 1+rnd.IntN(2), 4+rnd.IntN(60)
			q.Salt = strings.Repeat("s", 8+rnd.IntN(30))
		}
	}
	return q
}

func randomText(rnd *rand.Rand, characters []rune, most int) string {
	text := make([]rune, rnd.IntN(most))
	for i := range text {
		text[i] = characters[rnd.IntN(len(characters))]
	}
	return string(text)
}

// alter changes the question: the password, the hash or the preferred hasher.
func (d *differential) alter(q question) question {
	rnd := d.rnd
	q.Hashers = slices.Clone(q.Hashers)
	switch rnd.IntN(8) {
	case 0:
		q.Password += []string{"x", " ", "\x00", "\u0301"}[rnd.IntN(4)]
	case 1:
		_, size := utf8.DecodeLastRuneInString(q.Password)
		q.Password = q.Password[:len(q.Password)-size]
	case 2:
		q.Hashers = q.Hashers[rnd.IntN(len(q.Hashers)):]
	case 3:
		q.Parameters = d.randomMake().Parameters
	case 4:
		q.Encoded = d.alterPart(q.Encoded)
	default:
		q.Encoded = d.alterCharacter(q.Encoded)
	}
	return q
}

// alterPart leaves out a part of a hash, repeats it, or writes it otherwise.
func (d *differential) alterPart(encoded string) string {
	rnd := d.rnd
	parts := strings.Split(encoded, "$")
	at := rnd.IntN(len(parts))
	switch rnd.IntN(6) {
	case 0:
		parts = slices.Delete(parts, at, at+1)
	case 1:
		parts = slices.Insert(parts, at, parts[at])
	case 2:
		parts[at] = []string{"", "0", "-1", "1.0", "1e1", "x", "!", "v=16", "v=18", "argon2", "argon2i", "m=16,t=1", "t=1,m=16,p=1", "m=16,t=1,p=1,x=1", "2a", "2y", "2x", "2"}[rnd.IntN(18)]
	case 3:
		parts[at] = strings.ToUpper(parts[at])
	case 4: // base64 with another padding
		parts[at] = strings.TrimRight(parts[at], "=") + strings.Repeat("=", rnd.IntN(4))
	default:
		return []string{"!", "", "\x00", " "}[rnd.IntN(4)] + encoded
	}
	return strings.Join(parts, "$")
}

func (d *differential) alterCharacter(encoded string) string {
	rnd := d.rnd
	if encoded == "" {
		return ""
	}
	at := rnd.IntN(len(encoded))
	character := string("$0123AZaz=+/., "[rnd.IntN(15)])
	if rest := encoded[at:]; strings.HasPrefix(encoded, "bcrypt") || strings.HasPrefix(encoded, "argon2") || strings.HasPrefix(encoded, "pbkdf2") {
		// A cost that grows takes both sides long.
		if strings.Count(rest, "$") > 0 && character >= "0" && character <= "9" {
			character = "0"
		}
	}
	return encoded[:at] + character + encoded[at+1:]
}
