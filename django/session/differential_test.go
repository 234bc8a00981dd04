package session_test

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/django/signing"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// TestDifferential has both sides log in to random sessions, read them and
// judge them, damaged and whole.
func TestDifferential(t *testing.T) {
	t.Parallel()
	testpeer.EachDjango(t, 1_000, func(t *testing.T, d *testpeer.Differential, django *testpeer.Process) {
		accepted := 0
		for d.Goes(t) {
			questions := make([]question, 200)
			for i := range questions {
				questions[i] = randomQuestion(t, d.Rand)
			}
			var answers []answer
			django.Ask(t, questions, &answers)
			for i, q := range questions {
				q.check(t, answers[i])
				if answers[i].User != nil && *answers[i].User != "" {
					accepted++
				}
			}
			d.Compared(len(questions))
		}
		t.Logf("%d sessions accepted", accepted)
	})
}

func pick[T any](rnd *rand.Rand, choices ...T) T { return choices[rnd.IntN(len(choices))] }

const allUsersBackend = "django.contrib.auth.backends.AllowAllUsersModelBackend"

// randomUser is a user of one of the models that testdata/peer.py has.
func randomUser(rnd *rand.Rand) *userOfQuestion {
	u := &userOfQuestion{
		Model:    pick(rnd, "", "", "uuid", "text", "big"),
		ID:       pick[userID](rnd, "1", "2", "42"),
		Password: pick(rnd, "!", "", "pbkdf2_sha256$1$a$b", "ü", "😀\x00", strings.Repeat("x", 200)),
		IsActive: rnd.IntN(5) > 0,
	}
	switch u.Model {
	case "uuid":
		u.ID = pick[userID](rnd, "0a1b2c3d-4e5f-4a7b-8c9d-e0f1a2b3c4d5", "00000000-0000-0000-0000-000000000001")
	case "text":
		u.ID = pick[userID](rnd, "ann", "1", "Zoë", "a b", "😀", "None", `x"\y`)
	case "big":
		u.ID = pick[userID](rnd, "9223372036854775807", "-9223372036854775808", "-5", "7", "1099511627776")
	}
	return u
}

// randomQuestion signs a session as Django would, mostly, and asks about it.
func randomQuestion(t *testing.T, rnd *rand.Rand) question {
	t.Helper()
	q := question{
		Do:        pick(rnd, "check", "check", "check", "check", "login", "expiry", "encode"),
		SecretKey: pick(rnd, "key", "schlüssel", strings.Repeat("k", 70), "\x00 '\"", strings.Repeat("😀", 1+rnd.IntN(40))),
		Engine:    pick(rnd, "db", "cached_db", "signed_cookies"),
		Class:     pick(rnd, "", "", "", "", "Sessions"),
		CookieAge: pick(rnd, int64(0), 1000, 1, 1<<31),
		Backends:  pick(rnd, nil, nil, []string{session.ModelBackend, allUsersBackend}, []string{allUsersBackend}),
		Now:       1_700_000_000 + float64(rnd.IntN(64))/64,
		User:      randomUser(rnd),
		Backend:   pick(rnd, session.ModelBackend, session.ModelBackend, allUsersBackend, "app.Backend"),
	}
	q.Expires = q.Now + pick(rnd, 1, 1000, 1000, 1000, 1<<30, 0, -1, 1e-6, -1e-6)
	signed := q
	if rnd.IntN(3) == 0 {
		signed.SecretKey = "old key"
		q.Fallbacks = pick(rnd, []string{"another", "old key"}, []string{"old key"}, []string{"another"}, []string{"old key", "another", "old key"})
	}
	if rnd.IntN(12) == 0 {
		signed.Class = pick(rnd, "", "Sessions", "sessionstore", "DBStore")
	}
	text := signed.randomSession(t, rnd)
	if q.Do == "encode" {
		q.Session, q.Class = `{"x":`+randomValidJSON(rnd, 0)+`,"_auth_user_id":`+pick(rnd, "null", `"1"`)+`}`, ""
		return q
	}
	q.Data = signed.sign(t, rnd, text, q.Now-signed.randomAge(rnd))
	if q.Do == "login" {
		q.Backends = nil
		q.SetExpiry = pick(rnd, nil, nil, new(int64(0)), new(int64(300)), new(int64(30*24*60*60)))
		if !isObject(signed, q.Data) || strings.Contains(text, `"x":`) { // what may hold anything
			q.Do = "check"
		}
	}
	if q.Do == "expiry" {
		// Of a session that can be read.
		q.Expires, q.Class, q.Fallbacks = q.Now+1, "", nil
		q.Data = q.sign(t, nil, `{"_session_expiry":`+randomExpiry(rnd)+`}`, q.Now)
		return q
	}
	if rnd.IntN(20) == 0 {
		q.Data = q.Data[:rnd.IntN(len(q.Data))]
	}
	return q
}

// randomAge returns how long ago a session was signed: at the edge of the accepted
// ages, or far from it.
func (q *question) randomAge(rnd *rand.Rand) float64 {
	age := float64(q.CookieAge)
	if age == 0 {
		age = 1209600
	}
	return pick(rnd, 0, 0, 0, 0, 0, 0, 0, 0, 1, age-1, age, age, age+1, age+1./64, age-1./64, -50, rnd.Float64()*2*age)
}

// randomSession is the JSON of a session that q's Django has logged its user
// in to, mostly.
func (q *question) randomSession(t *testing.T, rnd *rand.Rand) string {
	t.Helper()
	user, id := *q.User, string(q.User.ID)
	if rnd.IntN(6) == 0 {
		user.Password = "changed"
	}
	text := `{}`
	if rnd.IntN(10) > 0 {
		data, _ := q.sessions(t).Login(session.Data{}, id, q.Backend, user.row())
		text = data.JSON()
	}
	if rnd.IntN(3) == 0 {
		// A UUID with other characters may still be the same UUID, in another form:
		// only the database can tell.
		if altered := alterJSON(rnd, text, id); q.User.Model != "uuid" || strings.Contains(altered, `"`+id+`"`) {
			text = altered
		}
	}
	return text
}

// randomExpiry returns a value that set_expiry could have left in a session, or
// another value.
func randomExpiry(rnd *rand.Rand) string {
	switch rnd.IntN(5) {
	case 0:
		return strconv.Itoa(rnd.IntN(1<<31) - 1<<20)
	case 1:
		return strconv.FormatFloat((rnd.Float64()-.2)*math.Pow(10, float64(rnd.IntN(9))), 'g', -1, 64)
	case 2:
		text := time.Unix(rnd.Int64N(1<<32), 0).UTC().Format("2006-01-02T15:04:05")
		if rnd.IntN(2) == 0 {
			text += fmt.Sprintf(".%06d", rnd.IntN(1_000_000))
		}
		return `"` + text + pick(rnd, "", "+00:00", "-09:30", "+14:00") + `"`
	case 3:
		return strconv.FormatFloat(float64(rnd.IntN(1000))+float64(rnd.IntN(1<<21))/(1<<21), 'f', -1, 64) // halves of microseconds
	}
	return pick(rnd, "null", "0", "0.0", "-0.0", "true", "false", `""`, `"x"`, "[]", "{}", "[1]", `{"a":1}`, "1e300", "1e-9", "NaN", "Infinity", "5e-7", "15e-7",
		`"2024-02-30T00:00:00"`, `"2024-05-06T25:00:00"`, `"9999-12-31T23:59:59"`, `"0001-01-01T00:00:00"`)
}

// randomValidJSON is a value that both sides write and read.
func randomValidJSON(rnd *rand.Rand, depth int) string {
	switch {
	case depth < 3 && rnd.IntN(3) == 0:
		return "[" + randomValidJSON(rnd, depth+1) + "," + randomValidJSON(rnd, depth+1) + "]"
	case depth < 3 && rnd.IntN(3) == 0:
		return `{"` + pick(rnd, "a", "ü", `\n`, `\"`, "_auth_user_id") + `":` + randomValidJSON(rnd, depth+1) + "}"
	}
	return pick(rnd, "1", "-1.5", "NaN", "true", "false", "null", `""`, `"😀"`, `"\u00fc\\"`, `"`+strings.Repeat("long ", rnd.IntN(500))+`"`)
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

// sign signs any text as a session. With rnd it is sometimes signed with the
// salt of something else, or written in another base64.
func (q *question) sign(t *testing.T, rnd *rand.Rand, text string, now float64) string {
	t.Helper()
	salt := "django.contrib.sessions." + cmp.Or(q.Class, "SessionStore")
	if q.Engine == "signed_cookies" {
		salt = "django.contrib.sessions.backends.signed_cookies"
	}
	kind := 0
	if rnd != nil {
		kind = rnd.IntN(20)
	}
	if kind == 1 {
		salt = pick(rnd, "django.contrib.sessions.SessionStore", "django.contrib.sessions.backends.signed_cookies", "django.core.signing", "django.http.cookies",
			"django.contrib.sessions.backends.db", "django.contrib.sessionsSessionStore", strings.ToUpper(salt))
	}
	signer, err := signing.NewTimestamp(signing.Settings{SecretKey: q.SecretKey, Salt: salt})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(int64(math.Floor(now)), 0)
	if kind == 2 || kind == 3 {
		return signer.Sign(randomBase64(rnd, text), at)
	}
	return signer.Dumps([]byte(text), kind%2 == 0, at)
}

// randomBase64 is a text in base64 as Django writes it, or in another that
// Python may read.
func randomBase64(rnd *rand.Rand, text string) string {
	encoded := base64.RawURLEncoding.EncodeToString([]byte(text))
	at := rnd.IntN(len(encoded) + 1)
	switch rnd.IntN(4) {
	case 0:
		return encoded + strings.Repeat("=", rnd.IntN(5))
	case 1:
		return base64.RawStdEncoding.EncodeToString([]byte(text))
	case 2:
		return encoded[:at] + pick(rnd, "\n", " ", "=", "!", "ü", "==", "A", "AA", "AAAA") + encoded[at:]
	}
	return pick(rnd, ".", "..", "") + encoded[:at]
}

// alterJSON writes a session in a way that Django does not, or breaks it.
func alterJSON(rnd *rand.Rand, text, id string) string {
	switch rnd.IntN(8) {
	case 0:
		return strings.Replace(text, `{`, `{"x":`+randomJSON(rnd, 0)+`,`, 1)
	case 1:
		first, size := utf8.DecodeRuneInString(id)
		return strings.Replace(text, `"`+id+`"`, pick(rnd, id, fmt.Sprintf(`"\u%04x%s"`, first, id[size:]), "null", `"-`+id+`"`, "false", `[1]`, `{"1":1}`, `""`), 1)
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
