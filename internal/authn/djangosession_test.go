package authn

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// cookies are credentials of a request with a field Cookie.
func (s *DjangoSession) cookies(line string) (taken []Credential, left string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", line)
	taken = s.Take(r)
	return taken, r.Header.Get("Cookie")
}

func TestDjangosCookieIsKeptFromTheUpstreamUnlessItIsDjango(t *testing.T) {
	t.Parallel()
	for _, passes := range []bool{false, true} {
		s := newDjangoSession(t, DjangoSessionConfig{PassCookie: passes})
		taken, left := s.cookies("a=1; sessionid=abcdefgh; sessionid=ijklmnop")
		if len(taken) != 2 || strings.Contains(left, "sessionid") != passes {
			t.Errorf("pass_cookie %t: %d credentials, and the upstream gets %q", passes, len(taken), left)
		}
	}
	s := newDjangoSession(t, DjangoSessionConfig{})
	if taken, left := s.cookies(strings.Repeat("sessionid=abcdefgh; ", 2*MaxCookies)); len(taken) != MaxCookies || left != "" {
		t.Errorf("of many, %d are credentials, and the upstream gets %q", len(taken), left)
	}
}

func TestKeyThatNoRowCanHaveTakesNoLookup(t *testing.T) {
	t.Parallel()
	s := newDjangoSession(t, DjangoSessionConfig{})
	for value, isKey := range map[string]bool{
		"": false, "short": false, strings.Repeat("a", 41): false, "abcdefgh\x01": false, "abcdéfgh": false,
		"abcdefgh": true, strings.Repeat("a", 40): true,
	} {
		c := &DjangoCookie{scheme: s, value: value}
		key, err := c.Subject(context.Background(), At{})
		via, found := key.Via()
		if (err == nil) != isKey || isKey && (via != s.via || found != value) {
			t.Errorf("%q: %v", value, err)
		}
		if err != nil && (!IsRejection(err) || ReasonOf(err) != "malformed") {
			t.Errorf("%q is rejected as %s: %v", value, ReasonOf(err), err)
		}
	}
}

// signed makes a session in a cookie.
func (s *DjangoSession) signed(user token.User, at time.Time) string {
	data, _ := s.sessions.Login(djangosession.Data{}, "7", djangosession.ModelBackend, djangosession.User{Password: user.Password, IsActive: true})
	return s.sessions.Encode(data, at)
}

func TestSessionInACookieIsProvenByTheUsersRow(t *testing.T) {
	t.Parallel()
	password, other := "pbkdf2_sha256$1$a$b", "pbkdf2_sha256$1$c$d"
	user := &userstore.User{User: token.User{Password: &password}, IsActive: true}
	changed := &userstore.User{User: token.User{Password: &other}, IsActive: true}
	inactive := &userstore.User{User: token.User{Password: &password}}
	s := newDjangoSession(t, DjangoSessionConfig{Engine: "signed_cookies"})
	foreign := newDjangoSession(t, DjangoSessionConfig{Engine: "signed_cookies", Backends: []string{"a.B", djangosession.ModelBackend}})
	now := time.Now()
	for name, test := range map[string]struct {
		value string
		user  *userstore.User
		want  string // reason
		stale bool
	}{
		"valid":                {s.signed(user.User, now), user, "", false},
		"of a former password": {s.signed(user.User, now), changed, "revoked", true},
		"of an inactive user":  {s.signed(user.User, now), inactive, "inactive_user", true},
		"expired":              {s.signed(user.User, now.Add(-15*24*time.Hour)), user, "expired", true},
		"forged":               {s.signed(user.User, now) + "x", user, "bad_signature", false},
		"of nobody":            {s.sessions.Encode(djangosession.Data{}, now), user, "anonymous", false},
		"of another backend":   {foreign.encodeFor("a.B", user.User, now), user, "unlisted_backend", true},
	} {
		c := &DjangoCookie{scheme: s, value: test.value}
		key, err := c.Subject(context.Background(), At{Now: now})
		if via, id := key.Via(); err == nil && (via != s.via || id != "7") {
			t.Errorf("%s: it is user %q's", name, id)
		}
		if err == nil {
			err = accepts(context.Background(), c, test.user)
		}
		switch {
		case test.want == "" && err == nil:
			if got := c.Ends(); got.Sub(now).Round(time.Minute) != defaultCookieAge || !c.Until().Equal(got) {
				t.Errorf("%s: it ends %s", name, got)
			}
		case err == nil || !IsRejection(err) || ReasonOf(err) != test.want || IsStale(err) != test.stale:
			t.Errorf("%s: %v (%s, stale: %t), want %q, stale: %t", name, err, ReasonOf(err), IsStale(err), test.want, test.stale)
		}
		if IsAbsent(err) != (test.want == "anonymous") || c.IsForged(err) != (test.want == "bad_signature") {
			t.Errorf("%s: absent: %t, forged: %t", name, IsAbsent(err), c.IsForged(err))
		}
		if IsUnlistedBackend(err) != (test.want == "unlisted_backend") {
			t.Errorf("%s: unlisted: %t", name, IsUnlistedBackend(err))
		}
	}
}

// encodeFor is signed for another backend.
func (s *DjangoSession) encodeFor(backend string, user token.User, at time.Time) string {
	data, _ := s.sessions.Login(djangosession.Data{}, "7", backend, djangosession.User{Password: user.Password, IsActive: true})
	return s.sessions.Encode(data, at)
}

func TestVisitorWhoIsNotLoggedInToDjangoHasNoCredentials(t *testing.T) {
	t.Parallel()
	s := newDjangoSession(t, DjangoSessionConfig{Engine: "signed_cookies"})
	a := &Authenticator{
		Find: rows,
		Rejected: func(_ *http.Request, _ Credential, err error) error {
			t.Errorf("a rejection is noted: %v", err)
			return err
		},
	}
	anonymous := s.sessions.Encode(djangosession.Data{}, time.Now())
	for _, line := range []string{"sessionid=" + anonymous, "sessionid=" + anonymous + "; sessionid=" + anonymous} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", line)
		_, err := a.Ambient(r, s.Take(r), At{Now: time.Now()}, func(*userstore.User) error { return nil })
		if !errors.Is(err, ErrNone) {
			t.Errorf("%v", err)
		}
		if none, ok := errors.AsType[*None](err); ok && len(none.Rejected) > 0 {
			t.Errorf("rejected: %v", none.Rejected)
		}
	}
}
