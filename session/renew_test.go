package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/session"
)

func TestRenewalExtendsSessionsInUse(t *testing.T) {
	t.Parallel()
	const maxAge = time.Hour
	change := func(s *session.Settings) { s.MaxAge, s.Idle = maxAge, 10*time.Minute }
	for name, test := range map[string]struct {
		change  func(*session.Settings)
		age     time.Duration
		expires time.Duration // after the login; 0 where it isn't renewed
	}{
		"new":                      {change, 0, 0},
		"before a tenth":           {change, time.Minute - 1, 0},
		"a tenth":                  {change, time.Minute, 11 * time.Minute},
		"between":                  {change, 5*time.Minute + time.Millisecond, 15 * time.Minute},
		"last moment":              {change, 10*time.Minute - 1, 19*time.Minute + 59*time.Second},
		"too late":                 {change, 10 * time.Minute, 0},
		"clock behind":             {change, -30 * time.Second, 0},
		"after MaxAge":             {change, maxAge, 0},
		"no idle":                  {func(s *session.Settings) { s.MaxAge = maxAge }, 30 * time.Minute, 0},
		"cut by MaxAge":            {func(s *session.Settings) { s.MaxAge, s.Idle = maxAge, 40*time.Minute }, 30 * time.Minute, maxAge},
		"within the same second":   {func(s *session.Settings) { s.Idle = time.Second }, 900 * time.Millisecond, 0},
		"idle of a second and one": {func(s *session.Settings) { s.Idle = 2 * time.Second }, time.Second, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, test.change)
			parsed := parse(t, sessions, create(t, sessions, ""), login)
			before, now := parsed, login.Add(test.age)
			value, renewed := sessions.Renew(&parsed, user, now)
			if renewed != (test.expires != 0) || renewed != (value != "") {
				t.Fatalf("renewed: %v, a value: %v", renewed, value != "")
			}
			if !renewed {
				if parsed != before {
					t.Error("not renewed, and yet changed")
				}
				return
			}
			if want := login.Add(test.expires); parsed.Expires() != want {
				t.Errorf("expires %s, want %s", parsed.Expires(), want)
			}
			if parse(t, sessions, value, now) != parsed {
				t.Error("the value holds something else than Renew says")
			}
			if parsed.Issued() != login || parsed.PrimaryKey() != before.PrimaryKey() {
				t.Errorf("now issued %s to %s", parsed.Issued(), parsed.PrimaryKey())
			}
			expect(t, "Verify", sessions.Verify(&parsed, user), nil)
			if _, again := sessions.Renew(&parsed, user, now); again {
				t.Error("renewed twice at a time")
			}
		})
	}
}

// TestRenewalThatCannotLastIsNotMade: a renewal is useless if MaxAge ends the
// session at the same time without it.
func TestRenewalThatCannotLastIsNotMade(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, func(s *session.Settings) { s.MaxAge, s.Idle = time.Hour, 40*time.Minute })
	at := func(age time.Duration) time.Time { return login.Add(age) }
	parsed := parse(t, sessions, create(t, sessions, ""), login)
	if _, renewed := sessions.Renew(&parsed, user, at(19*time.Minute)); !renewed {
		t.Fatal("one that lasts longer isn't made")
	}
	if _, renewed := sessions.Renew(&parsed, user, at(24*time.Minute)); !renewed || parsed.Expires() != at(time.Hour) {
		t.Fatalf("one that lasts until MaxAge isn't made: expires %s", parsed.Expires())
	}
	before := parsed
	for _, age := range []time.Duration{29 * time.Minute, 45 * time.Minute, time.Hour - time.Second} {
		if _, renewed := sessions.Renew(&parsed, user, at(age)); renewed || parsed != before {
			t.Errorf("after %s, one is made that lasts no longer", age)
		}
	}
}

// TestSessionInConstantUseEndsAtMaxAge renews a session as often as possible.
func TestSessionInConstantUseEndsAtMaxAge(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{time.Second, 7 * time.Second, time.Minute, 299 * time.Second} {
		t.Run(pause.String(), func(t *testing.T) {
			t.Parallel()
			sessions := newSessions(t, func(s *session.Settings) { s.MaxAge, s.Idle = time.Hour, 5*time.Minute })
			value, renewals := create(t, sessions, ""), 0
			now := login
			for ; ; now = now.Add(pause) {
				parsed, err := sessions.Parse(value, "", now)
				if err != nil {
					if !errors.Is(err, session.Expired) || now.Before(login.Add(time.Hour)) {
						t.Errorf("after %s: %v", now.Sub(login), err)
					}
					break
				}
				if next, renewed := sessions.Renew(&parsed, user, now); renewed {
					value = next
					renewals++
				}
				if parsed.Expires().After(login.Add(time.Hour)) || parsed.Issued() != login {
					t.Fatalf("after %s: issued %s, expires %s", now.Sub(login), parsed.Issued(), parsed.Expires())
				}
			}
			if renewals == 0 || renewals > 120 {
				t.Errorf("renewed %d times within 12 times Idle", renewals)
			}
		})
	}
}

// TestRenewalOfASessionThatHasEndedMeanwhileIsRejected: much time may pass
// between Parse and Renew.
func TestRenewalOfASessionThatHasEndedMeanwhileIsRejected(t *testing.T) {
	t.Parallel()
	sessions := newSessions(t, func(s *session.Settings) { s.MaxAge, s.Idle = time.Hour, 50*time.Minute })
	value := create(t, sessions, "")
	for name, age := range map[string]time.Duration{"idle": 55 * time.Minute, "MaxAge": time.Hour, "year": 1e4 * time.Hour} {
		parsed := parse(t, sessions, value, login)
		if _, renewed := sessions.Renew(&parsed, user, login.Add(age)); renewed {
			t.Errorf("%s: renewed", name)
		}
	}
}

// TestRenewalKeepsTheScope and signs with SecretKey.
func TestRenewalKeepsTheScope(t *testing.T) {
	t.Parallel()
	value := create(t, newSessions(t, nil), "report:1")
	rotated := newSessions(t, func(s *session.Settings) {
		s.SecretKey, s.SecretKeyFallbacks, s.Idle = "new", []string{"secret"}, time.Hour
	})
	now := login.Add(30 * time.Minute)
	parsed, err := rotated.Parse(value, "report:1", now)
	if err != nil {
		t.Fatal(err)
	}
	renewed, ok := rotated.Renew(&parsed, user, now)
	if !ok {
		t.Fatal("not renewed")
	}
	alone := newSessions(t, func(s *session.Settings) { s.SecretKey = "new" })
	expect(t, "with the new key alone", check(alone, renewed, "report:1", now), nil)
	expect(t, "for another scope", check(alone, renewed, "report:2", now), session.WrongScope)
	expect(t, "Verify", rotated.Verify(&parsed, user), nil)
}
