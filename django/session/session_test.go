package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/session"
)

var (
	now  = time.Unix(1_700_000_000, 0)
	user = session.User{Password: new("pbkdf2_sha256$1$salt$hash"), IsActive: true}
)

func newSessions(t testing.TB, settings session.Settings) *session.Sessions {
	t.Helper()
	if settings.SecretKey == "" {
		settings.SecretKey = "key"
	}
	sessions, err := session.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	return sessions
}

// rowOf is the row after a login of user 42.
func rowOf(sessions *session.Sessions) session.Row {
	data, _ := sessions.Login(session.Data{}, "42", session.ModelBackend, user)
	return session.Row{SessionData: sessions.Encode(data, now), ExpireDate: now.Add(time.Hour)}
}

func TestSettingsThatCantBeRightAreRejected(t *testing.T) {
	t.Parallel()
	for says, settings := range map[string]session.Settings{
		"SecretKey":          {},
		"SecretKeyFallbacks": {SecretKey: "topsecret", SecretKeyFallbacks: []string{""}},
		"Engine":             {SecretKey: "topsecret", Engine: "cache"},
		"Serializer":         {SecretKey: "topsecret", Serializer: "django.contrib.sessions.serializers.PickleSerializer"},
		"CookieAge":          {SecretKey: "topsecret", CookieAge: -1},
		"MaxInflated":        {SecretKey: "topsecret", MaxInflated: -1},
	} {
		_, err := session.New(settings)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestEachChangeGivesItsReason(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, session.Settings{})
	good := rowOf(sessions)
	other, _ := sessions.Login(session.Data{}, "42", "app.Backend", user)
	anonymous := session.Row{SessionData: sessions.Encode(session.Data{}, now), ExpireDate: good.ExpireDate}
	cases := map[string]struct {
		row  session.Row
		user session.User
		want error
	}{
		"nothing":                {good, user, nil},
		"the row has expired":    {session.Row{SessionData: good.SessionData, ExpireDate: now}, user, session.Expired},
		"a character is missing": {session.Row{SessionData: good.SessionData[1:], ExpireDate: good.ExpireDate}, user, session.BadSignature},
		"another key":            {rowOf(newSessions(t, session.Settings{SecretKey: "other"})), user, session.BadSignature},
		"another session class":  {rowOf(newSessions(t, session.Settings{KeySalt: "django.contrib.sessions.Mine"})), user, session.BadSignature},
		"the engine of cookies":  {rowOf(newSessions(t, session.Settings{Engine: session.SignedCookies})), user, session.BadSignature},
		"nobody has logged in":   {anonymous, user, session.Anonymous},
		"another backend":        {session.Row{SessionData: sessions.Encode(other, now), ExpireDate: good.ExpireDate}, user, session.UnlistedBackend},
		"the user isn't active":  {good, session.User{Password: user.Password}, session.InactiveUser},
		"another password":       {good, session.User{Password: new("!"), IsActive: true}, session.Revoked},
		"the password is NULL":   {good, session.User{IsActive: true}, session.Revoked},
	}
	for name, c := range cases {
		parsed, err := sessions.ParseRow(c.row, now)
		if err == nil {
			_, err = sessions.Verify(&parsed, c.user)
		}
		if err != c.want {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
		if _, again := sessions.Verify(&parsed, c.user); again != c.want {
			t.Errorf("%s: Verify: %v, not %v", name, again, c.want)
		}
	}
}

func TestFallbackIsToldApart(t *testing.T) {
	t.Parallel()
	row := rowOf(newSessions(t, session.Settings{SecretKey: "old"}))
	for key, want := range map[string]bool{"old": false, "new": true} {
		sessions := newSessions(t, session.Settings{SecretKey: key, SecretKeyFallbacks: []string{"old"}})
		parsed, err := sessions.ParseRow(row, now)
		if err != nil {
			t.Fatal(err)
		}
		if isFallback, err := sessions.Verify(&parsed, user); err != nil || isFallback != want {
			t.Errorf("%s: %v, %v", key, isFallback, err)
		}
	}
}

func TestParsedWithOtherSettingsIsRefused(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, session.Settings{})
	parsed, err := newSessions(t, session.Settings{}).ParseRow(rowOf(sessions), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]session.Parsed{"other settings": parsed, "the zero value": {}} {
		if _, err := sessions.Verify(&p, user); err != session.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyOfDjangoIsOne(t *testing.T) {
	t.Parallel()
	seen := make(map[rune]bool)
	for range 200 {
		key := session.NewKey()
		if len(key) != 32 || !session.IsKey(key) || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Fatal(key)
		}
		for _, c := range key {
			seen[c] = true
		}
	}
	if len(seen) != 36 {
		t.Errorf("%d characters are in use", len(seen))
	}
	for _, key := range []string{"", "1234567", strings.Repeat("k", 41), "abcdefg h", "abcdefgh\n", "abcdefghü"} {
		if session.IsKey(key) {
			t.Errorf("%q", key)
		}
	}
}

func TestExpiryWithoutZoneIsInTimeZone(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 2*3600)
	sessions := newSessions(t, session.Settings{TimeZone: zone})
	q := question{SecretKey: "key", Engine: "db"}
	row := session.Row{SessionData: q.sign(t, nil, `{"_session_expiry":"2024-05-06T07:08:09"}`, float64(now.Unix())), ExpireDate: now.Add(1)}
	parsed, err := sessions.ParseRow(row, now)
	if err != session.Anonymous {
		t.Fatal(err)
	}
	expires, err := sessions.ExpireDate(parsed.Data(), now)
	if want := time.Date(2024, 5, 6, 7, 8, 9, 0, zone); err != nil || !expires.Equal(want) {
		t.Errorf("%v, %v", expires, err)
	}
}

// A session is read in two steps: ParseRow returns the user's key, Verify takes the
// user's row.
func Example() {
	sessions, err := session.New(session.Settings{SecretKey: "Django's SECRET_KEY"})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Unix(1_700_000_000, 0)
	user := session.User{Password: new("pbkdf2_sha256$…"), IsActive: true}
	data, _ := sessions.Login(session.Data{}, "42", session.ModelBackend, user)
	row := session.Row{SessionData: sessions.Encode(data, now), ExpireDate: now.Add(time.Hour)}

	parsed, err := sessions.ParseRow(row, now.Add(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("look up user", parsed.UserID())
	_, err = sessions.Verify(&parsed, user)
	fmt.Println("verified:", err)

	user.Password = new("pbkdf2_sha256$another…")
	_, err = sessions.Verify(&parsed, user)
	fmt.Println("verified:", err)
	// Output:
	// look up user 42
	// verified: <nil>
	// verified: the session's hash doesn't match: the password or SECRET_KEY has changed since the login
}

// BenchmarkCheck measures the cost of a request with a session, without the query.
func BenchmarkCheck(b *testing.B) {
	sessions := newSessions(b, session.Settings{SecretKeyFallbacks: []string{"old"}})
	row := rowOf(sessions)
	b.ReportAllocs()
	for b.Loop() {
		parsed, err := sessions.ParseRow(row, now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := sessions.Verify(&parsed, user); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkForgedCookie measures the work that an attacker can cause.
func BenchmarkForgedCookie(b *testing.B) {
	sessions := newSessions(b, session.Settings{Engine: session.SignedCookies, SecretKeyFallbacks: []string{"old"}})
	forged := rowOf(newSessions(b, session.Settings{SecretKey: "other", Engine: session.SignedCookies})).SessionData
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sessions.ParseCookie(forged, now); !errors.Is(err, session.BadSignature) {
			b.Fatal(err)
		}
	}
}

func TestExpiryOfItsOwnReplacesTheFormer(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, session.Settings{})
	data, _ := sessions.Login(session.Data{}, "7", session.ModelBackend, session.User{IsActive: true})
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, test := range []struct {
		seconds int64
		ends    time.Duration
		atClose bool
	}{
		{30 * 24 * 60 * 60, 30 * 24 * time.Hour, false},
		{0, sessions.Settings().CookieAge, true},
		{60, time.Minute, false},
	} {
		data = data.SetExpiry(test.seconds)
		ends, err := sessions.ExpireDate(data, now)
		if err != nil || ends.Sub(now) != test.ends || sessions.ExpiresAtBrowserClose(data) != test.atClose {
			t.Errorf("%s: %v, %v", data.JSON(), ends, err)
		}
		if strings.Count(data.JSON(), "_session_expiry") != 1 || data.UserID != "7" {
			t.Errorf("%s", data.JSON())
		}
	}
}
