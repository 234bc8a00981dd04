package session_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/internal/testpeer"
)

// question is the input to Django and to this package. Sessions are JSON texts, as
// they may hold NaN.
type question struct {
	Do        string          `json:"do"` // check, login, hash, encode or expiry
	SecretKey string          `json:"secret_key"`
	Fallbacks []string        `json:"fallbacks,omitempty"`
	Engine    string          `json:"engine"`
	CookieAge int64           `json:"cookie_age,omitempty"`
	Backends  []string        `json:"backends,omitempty"`
	Now       float64         `json:"now"`
	Expires   float64         `json:"expires"`
	User      *userOfQuestion `json:"user,omitempty"`
	Backend   string          `json:"backend,omitempty"` // that logs in
	Data      string          `json:"data"`              // the row's, or the cookie
	Session   string          `json:"session,omitempty"` // to encode
	SetExpiry *int64          `json:"set_expiry,omitempty"`
	Class     string          `json:"class,omitempty"` // of the application's own, instead of SessionStore
}

type userOfQuestion struct {
	Model    string `json:"model,omitempty"` // by its primary key: uuid, text, big, or else Django's own
	ID       userID `json:"id"`
	Password string `json:"password"`
	IsActive bool   `json:"is_active"`
}

// userID is a primary key, which is a number in the JSON of vectors.
type userID string

func (id *userID) UnmarshalJSON(text []byte) error {
	*id = userID(strings.Trim(string(text), `"`))
	return nil
}

// at is the time of so many seconds since 1970, in whole microseconds.
func at(seconds float64) time.Time { return time.UnixMicro(int64(math.Round(seconds * 1e6))) }

// answer has what the question asks for.
type answer struct {
	Error     bool    `json:"error,omitempty"` // Django raised an exception
	User      *string `json:"user,omitempty"`  // the session's user, or empty
	Session   string  `json:"session,omitempty"`
	KeepsKey  bool    `json:"keeps_key,omitempty"`
	Hash      string  `json:"hash,omitempty"`
	Encoded   string  `json:"encoded,omitempty"`
	Expires   int64   `json:"expires,omitempty"` // in microseconds
	IsAtClose bool    `json:"at_close,omitempty"`
}

func (q *question) sessions(t testing.TB) *session.Sessions {
	t.Helper()
	settings := session.Settings{
		SecretKey: q.SecretKey, SecretKeyFallbacks: q.Fallbacks,
		Engine: session.Engine(q.Engine), CookieAge: time.Duration(q.CookieAge) * time.Second, Backends: q.Backends,
	}
	if q.Class != "" {
		settings.KeySalt = "django.contrib.sessions." + q.Class
	}
	sessions, err := session.New(settings)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return sessions
}

// parse reads the question's row or cookie.
func (q *question) parse(sessions *session.Sessions) (session.Parsed, error) {
	now := at(q.Now)
	if sessions.Settings().Engine == session.SignedCookies {
		return sessions.ParseCookie(q.Data, now)
	}
	return sessions.ParseRow(session.Row{SessionData: q.Data, ExpireDate: at(q.Expires)}, now)
}

func (u *userOfQuestion) row() session.User {
	return session.User{Password: &u.Password, IsActive: u.IsActive}
}

// check compares this package's answer to Django's.
func (q *question) check(t testing.TB, theirs answer) {
	t.Helper()
	sessions := q.sessions(t)
	switch q.Do {
	case "check":
		q.checkVerdict(t, sessions, theirs)
	case "login":
		q.checkLogin(t, sessions, theirs)
	case "hash":
		if hash := sessions.AuthHash(q.User.row()); hash != theirs.Hash {
			t.Errorf("%+v: %s, Django has %s", q, hash, theirs.Hash)
		}
	case "encode":
		q.Data, q.Expires = theirs.Encoded, q.Now+1
		parsed, err := q.parse(sessions)
		if err != nil && err != session.Anonymous && err != session.UnlistedBackend || !isSameJSON(t, parsed.Data().JSON(), q.Session) {
			t.Errorf("%+v: %v, %s", q, err, parsed.Data().JSON())
		}
	case "expiry":
		q.checkExpiry(t, sessions, theirs)
	default:
		t.Fatalf("%+v", q)
	}
}

// checkVerdict compares the session's user. If Django raises an exception, the
// session must be refused, too.
func (q *question) checkVerdict(t testing.TB, sessions *session.Sessions, theirs answer) {
	t.Helper()
	parsed, err := q.parse(sessions)
	user := parsed.UserID()
	if err == nil {
		_, err = sessions.Verify(&parsed, q.User.row())
	}
	if err != nil || user != string(q.User.ID) { // refused, or the user is unknown
		user = ""
	}
	want := ""
	if theirs.User != nil {
		want = *theirs.User
	}
	if user != want {
		t.Errorf("%+v: user %q, %v; Django has %q", q, user, err, want)
	}
}

func (q *question) checkLogin(t testing.TB, sessions *session.Sessions, theirs answer) {
	t.Helper()
	if theirs.Error { // the session's primary key can't be one of this model
		return
	}
	parsed, err := q.parse(sessions)
	previous := parsed.Data()
	data, keepsKey := sessions.Login(previous, string(q.User.ID), q.Backend, q.User.row())
	if q.SetExpiry != nil {
		data = data.SetExpiry(*q.SetExpiry)
		expires, err := sessions.ExpireDate(data, at(q.Now))
		if err != nil || expires.UnixMicro() != theirs.Expires || sessions.ExpiresAtBrowserClose(data) != theirs.IsAtClose {
			t.Errorf("%+v: expires %d, %v, at close: %v; Django has %+v", q, expires.UnixMicro(), err, sessions.ExpiresAtBrowserClose(data), theirs)
		}
	}
	if !isSameJSON(t, data.JSON(), theirs.Session) {
		t.Errorf("%+v: %v: %s; Django has %s", q, err, data.JSON(), theirs.Session)
	}
	// A session in a cookie has no key but itself.
	if sessions.Settings().Engine != session.SignedCookies && keepsKey != theirs.KeepsKey {
		t.Errorf("%+v: keeps key: %v; Django has %v", q, keepsKey, theirs.KeepsKey)
	}
	again := *q
	again.Data, again.Expires, again.Backends = sessions.Encode(data, at(q.Now)), q.Now+1, []string{q.Backend}
	parsed, err = again.parse(again.sessions(t))
	if err != nil || parsed.UserID() != string(q.User.ID) || parsed.Data().JSON() != data.JSON() {
		t.Errorf("%+v: what Encode wrote is %s, %v", q, parsed.Data().JSON(), err)
	}
}

func (q *question) checkExpiry(t testing.TB, sessions *session.Sessions, theirs answer) {
	t.Helper()
	parsed, _ := q.parse(sessions)
	expires, err := sessions.ExpireDate(parsed.Data(), at(q.Now))
	if (err != nil) != theirs.Error {
		t.Errorf("%s: %v, %v; Django has %+v", parsed.Data().JSON(), expires, err, theirs)
	}
	if err == nil && expires.UnixMicro() != theirs.Expires {
		t.Errorf("%s: %v; Django has %+v", parsed.Data().JSON(), expires.UnixMicro(), theirs)
	}
	if isAtClose := sessions.ExpiresAtBrowserClose(parsed.Data()); !theirs.Error && isAtClose != theirs.IsAtClose {
		t.Errorf("%s: at close: %v; Django has %+v", parsed.Data().JSON(), isAtClose, theirs)
	}
}

// isSameJSON compares objects, with NaN as a text.
func isSameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var normal [2]string
	for i, text := range []string{a, b} {
		var value any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "NaN", `"NaN"`)), &value); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, _ := json.Marshal(value)
		normal[i] = string(again)
	}
	return normal[0] == normal[1]
}

func TestVectorsOfDjango(t *testing.T) {
	t.Parallel()
	vectors := testpeer.Vectors[question, answer](t, "testdata/vectors.json")
	accepted, refused := 0, 0
	for _, v := range vectors {
		v.Question.check(t, v.Answer)
		if v.Question.Do == "check" && v.Answer.User != nil {
			if *v.Answer.User == "" {
				refused++
			} else {
				accepted++
			}
		}
	}
	if accepted < 50 || refused < 50 {
		t.Errorf("%d sessions are accepted, %d refused: too few to show anything", accepted, refused)
	}
}
