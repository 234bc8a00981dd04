package session_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

const day = 24 * time.Hour

// begin makes the session of user 42, of a length.
func begin(tb testing.TB, sessions *session.Sessions, length session.Length) string {
	tb.Helper()
	value, err := sessions.Begin(session.Login{PrimaryKey: token.IntKey(42), User: user, Length: length, Time: login})
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

func TestSessionLastsAsLongAsItsLength(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change       func(*session.Settings)
		length       session.Length
		maxAge, idle time.Duration
	}{
		"default":                          {nil, session.Default, session.DefaultMaxAge, 0},
		"default beside remember":          {remember(30 * day), session.Default, session.DefaultMaxAge, 0},
		"remembered":                       {remember(30 * day), session.Remembered, 30 * day, 0},
		"remembered, with idle for others": {withIdle(time.Hour, remember(30*day)), session.Remembered, 30 * day, 0},
		"remembered before it was removed": {withIdle(time.Hour, nil), session.Remembered, session.DefaultMaxAge, time.Hour},
		"shared":                           {remember(30 * day), session.Shared, 12 * time.Hour, time.Hour},
		"shared, where others last longer": {ages(7*day, 2*day), session.Shared, 12 * time.Hour, time.Hour},
		"shared, where others are shorter": {ages(4*time.Hour, 10*time.Minute), session.Shared, 4 * time.Hour, 10 * time.Minute},
		"shared, where all are very short": {ages(30*time.Minute, 0), session.Shared, 30 * time.Minute, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, test.change)
			settings := sessions.Settings()
			if maxAge, idle := settings.Limits(test.length); maxAge != test.maxAge || idle != test.idle {
				t.Errorf("limits %s and %s, want %s and %s", maxAge, idle, test.maxAge, test.idle)
			}
			value := begin(t, sessions, test.length)
			first := test.maxAge
			if test.idle != 0 {
				first = min(first, test.idle)
			}
			parsed := parse(t, sessions, value, login.Add(first-time.Second))
			if parsed.Length() != test.length || parsed.Expires() != login.Add(first) {
				t.Errorf("%s, expires %s", parsed.Length(), parsed.Expires())
			}
			want := session.Expired
			if first < test.maxAge {
				want = session.IdleExpired
			}
			expect(t, "at the end", check(sessions, value, "", login.Add(first)), want)

			now, ends := login, login.Add(test.maxAge)
			for ; now.Before(ends); now = now.Add(first / 3) { // in constant use
				parsed = parse(t, sessions, value, now)
				if next, renewed := sessions.Renew(&parsed, user, now); renewed {
					value = next
				}
				if parsed.Length() != test.length || parsed.Expires().After(ends) {
					t.Fatalf("renewed after %s: %s, expires %s", now.Sub(login), parsed.Length(), parsed.Expires())
				}
			}
			expect(t, "in use until the end", check(sessions, value, "", ends), session.Expired)
		})
	}
}

func remember(d time.Duration) func(*session.Settings) {
	return func(s *session.Settings) { s.Remember = d }
}

func ages(maxAge, idle time.Duration) func(*session.Settings) {
	return func(s *session.Settings) { s.MaxAge, s.Idle = maxAge, idle }
}

func withIdle(d time.Duration, change func(*session.Settings)) func(*session.Settings) {
	return func(s *session.Settings) {
		s.Idle = d
		if change != nil {
			change(s)
		}
	}
}

// TestLengthCannotBeChanged: a user with the cookie of a shared computer can't make
// it last.
func TestLengthCannotBeChanged(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, remember(30*day))
	for _, length := range []session.Length{session.Default, session.Remembered, session.Shared} {
		data, err := base64.RawURLEncoding.DecodeString(begin(t, sessions, length))
		if err != nil {
			t.Fatal(err)
		}
		body := data[41:]
		if length != session.Default {
			body = data[42:]
		}
		for to := range 256 {
			forged := append(append([]byte{2}, data[1:41]...), append([]byte{byte(to)}, body...)...)
			if to == int(length) && length != session.Default {
				continue
			}
			expect(t, "another length", check(sessions, base64.RawURLEncoding.EncodeToString(forged), "", login), session.BadSignature)
		}
		if length != session.Default {
			forged := append(append([]byte{1}, data[1:41]...), body...)
			expect(t, "no length", check(sessions, base64.RawURLEncoding.EncodeToString(forged), "", login), session.BadSignature)
		}
	}
}

func TestSessionOfAnUnknownLengthIsNotMade(t *testing.T) {
	t.Parallel()
	_, err := newSessions(t, nil).Begin(session.Login{PrimaryKey: token.IntKey(1), Length: 3, Time: login})
	if err == nil {
		t.Error("made")
	}
}
