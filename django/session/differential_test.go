package session_test

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/django/signing"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

var (
	differentialPairs = flag.Int("pairs", 1_000, "how `many` answers the differential test compares with each Django")
	differentialSeed  = flag.Uint64("seed", 0, "the `number` that the differential test's inputs follow from, or 0 for another each time")
)

// TestDifferential has both sides log in to random sessions, read them and
// judge them, damaged and whole.
func TestDifferential(t *testing.T) {
	t.Parallel()
	seed := *differentialSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for _, source := range testpeer.Checkouts(t, "DJANGO_SRC", "Django") {
		t.Run(filepath.Base(source), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			django := testpeer.Start(t, "testdata/peer.py", source)
			accepted, compared := 0, 0
			for compared < *differentialPairs && !t.Failed() {
				questions := make([]question, 200)
				for i := range questions {
					questions[i] = randomQuestion(t, rnd)
				}
				var answers []answer
				django.Ask(t, questions, &answers)
				for i, q := range questions {
					q.check(t, answers[i])
					if answers[i].User != nil && *answers[i].User != "" {
						accepted++
					}
				}
				compared += len(questions)
			}
			t.Logf("seed %d: %d answers, %d sessions accepted", seed, compared, accepted)
		})
	}
}

func pick[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

const allUsersBackend = "django.contrib.auth.backends.AllowAllUsersModelBackend"

// randomQuestion signs a session as Django would, mostly, and asks about it.
func randomQuestion(t *testing.T, rnd *rand.Rand) question {
	t.Helper()
	q := question{
		Do:        pick(rnd, "check", "check", "check", "login"),
		SecretKey: pick(rnd, "key", "schlüssel", strings.Repeat("k", 70)),
		Engine:    pick(rnd, "db", "signed_cookies"),
		CookieAge: pick(rnd, int64(0), 1000),
		Backends:  pick(rnd, nil, nil, []string{session.ModelBackend, allUsersBackend}),
		Now:       1_700_000_000,
		User:      &userOfQuestion{ID: pick(rnd, 1, 2, 42), Password: pick(rnd, "!", "pbkdf2_sha256$1$a$b", "ü"), IsActive: rnd.IntN(5) > 0},
		Backend:   pick(rnd, session.ModelBackend, session.ModelBackend, allUsersBackend, "app.Backend"),
	}
	q.Expires = q.Now + pick(rnd, int64(1), 1000, 1000, 1000, 0, -1)
	signed := q
	if rnd.IntN(3) == 0 {
		signed.SecretKey = "old key"
		q.Fallbacks = pick(rnd, []string{"another", "old key"}, []string{"old key"}, []string{"another"})
	}
	user := *q.User
	if rnd.IntN(4) == 0 {
		user.Password = "changed"
	}
	id := itoa(user.ID)
	text := `{}`
	if rnd.IntN(10) > 0 {
		data, _ := signed.sessions(t).Login(session.Data{}, id, q.Backend, user.row())
		text = data.JSON()
	}
	if rnd.IntN(2) == 0 {
		text = alterJSON(rnd, text, id)
	}
	q.Data = signed.sign(t, text, time.Unix(q.Now-pick(rnd, int64(0), 999, 1000, 1001, -50), 0))
	if q.Do == "login" {
		q.Backends = nil
		if !isObject(signed, q.Data) || strings.Contains(text, `"x":`) { // what may hold anything
			q.Do = "check"
		}
	}
	if rnd.IntN(20) == 0 {
		q.Data = q.Data[:rnd.IntN(len(q.Data))]
	}
	return q
}

// isObject reports whether Django's login could put anything in the session.
func isObject(q question, data string) bool {
	sessions, err := session.New(session.Settings{SecretKey: q.SecretKey, Engine: session.Engine(q.Engine)})
	if err != nil {
		return false
	}
	q.Data = data
	parsed, err := q.parse(sessions)
	return err == nil && parsed.Data().UserID != ""
}

// sign signs any text as a session.
func (q *question) sign(t *testing.T, text string, now time.Time) string {
	t.Helper()
	salt := "django.contrib.sessions.SessionStore"
	if q.Engine == "signed_cookies" {
		salt = "django.contrib.sessions.backends.signed_cookies"
	}
	signer, err := signing.NewTimestamp(signing.Settings{SecretKey: q.SecretKey, Salt: salt})
	if err != nil {
		t.Fatal(err)
	}
	return signer.Dumps([]byte(text), true, now)
}

// alterJSON writes a session in a way that Django does not, or breaks it.
func alterJSON(rnd *rand.Rand, text, id string) string {
	switch rnd.IntN(8) {
	case 0:
		return strings.Replace(text, `{`, `{"x":`+randomJSON(rnd, 0)+`,`, 1)
	case 1:
		return strings.Replace(text, `"`+id+`"`, pick(rnd, id, `"\u003`+id[:1]+`"`+id[1:], "null", `"-`+id+`"`), 1)
	case 2:
		return strings.Replace(text, "_auth", pick(rnd, `\u005fauth`, `\u005Fauth`, `_aUth`, `\u00e4`), 1)
	case 3:
		return strings.Replace(text, "}", `,"_auth_user_id":`+pick(rnd, `"1"`, "2", `"42"`)+"}", 1)
	case 4:
		return strings.ReplaceAll(text, ",", pick(rnd, " , ", "\n,\t", "\r,", ",,", "\v,", ", ,"))
	case 5:
		return strings.Replace(text, `"_auth_user_`+pick(rnd, "id", "hash", "backend"), `"x`, 1)
	case 6:
		return pick(rnd, "[", " ", "\xef\xbb\xbf", "\xe4", "") + text + pick(rnd, "]", " ", "\x00", "x", "")
	}
	at := rnd.IntN(len(text))
	return text[:at] + pick(rnd, "\\", `"`, "\x01", "\xe4", "{", "0", "") + text[at+1:]
}

// randomJSON is a value that Python may read or not.
func randomJSON(rnd *rand.Rand, depth int) string {
	if depth < 3 && rnd.IntN(3) == 0 {
		return "[" + randomJSON(rnd, depth+1) + "," + randomJSON(rnd, depth+1) + pick(rnd, "]", "]", "]", "", ",]")
	}
	if depth < 3 && rnd.IntN(3) == 0 {
		return `{"` + pick(rnd, "a", `\n`, "\xfc") + `":` + randomJSON(rnd, depth+1) + pick(rnd, "}", "}", "}", "]", ",}")
	}
	return pick(rnd, "1", "-1", "0", "-0", "01", "+1", "1.5", "1.", ".5", "1e5", "1E+5", "1e", "1e-", "1.5e5x", "NaN", "Infinity",
		"-Infinity", "-NaN", "nan", "true", "True", "null", "nul", `""`, `"\u12"`, `"\u00fc"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\x"`,
		"\"\n\"", `"a\`, strings.Repeat("9", 4300), strings.Repeat("9", 4301), "-"+strings.Repeat("9", 4301), strings.Repeat("9", 5000)+".5", "[]", "{}", "[ ]", "{ }")
}
