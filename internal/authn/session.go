package authn

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// MaxCookies is how many cookies of the session's name are looked at. Browsers
// keep no more than 180 for a domain.
const MaxCookies = 200

// Session is the scheme of our own session cookie.
type Session struct {
	Cookie *cookie.Cookie

	// Keys returns what sessions are signed with. It fails while the store can't
	// be asked how keys are written.
	Keys func(ctx context.Context) (*session.Sessions, error)
}

// Name implements Scheme.
func (*Session) Name() string { return "session" }

// Take implements Scheme. Another host of the domain can set cookies of the
// name for this one too, in front of the session's own, so there may be many.
func (s *Session) Take(r *http.Request) []Credential {
	values := s.Cookie.Take(r)
	if len(values) == 0 {
		return nil
	}
	site := s.Cookie.Site(r)
	values = values[:min(len(values), MaxCookies)]
	cookies := make([]SessionCookie, len(values))
	credentials := make([]Credential, len(values))
	for i, value := range values {
		cookies[i] = SessionCookie{scheme: s, site: site, value: value}
		credentials[i] = &cookies[i]
	}
	return credentials
}

// SessionCookie is the credential of a session.
type SessionCookie struct {
	scheme   *Session
	site     string
	value    string
	parsed   session.Parsed
	sessions *session.Sessions
}

// Value is the cookie's.
func (c *SessionCookie) Value() string { return c.value }

// Parsed is what the cookie says, after Subject.
func (c *SessionCookie) Parsed() *session.Parsed { return &c.parsed }

// BoundScope is what a session is bound to: the site and the scope.
func BoundScope(site, scope string) string { return site + "\x00" + scope }

// Subject implements Credential. The error is a session.Reason, or that of
// Session.Keys.
func (c *SessionCookie) Subject(ctx context.Context, at At) (key token.PrimaryKey, err error) {
	if c.sessions, err = c.scheme.Keys(ctx); err != nil {
		return key, err
	}
	c.parsed, err = c.sessions.Parse(c.value, BoundScope(c.site, at.Scope), at.Now)
	return c.parsed.PrimaryKey(), err
}

// Prove implements Credential.
func (c *SessionCookie) Prove(user *userstore.User) error {
	return c.sessions.Verify(&c.parsed, user.User)
}

// Origin implements Credential. A session has no fingerprint of its own.
func (c *SessionCookie) Origin() (fingerprint string, issued time.Time) {
	return "", c.parsed.Issued()
}

// sessionTraits are the same for all.
var sessionTraits = Traits{
	IsAmbient: true,
	Reasons:   &Reasons{session.UnknownUser, session.InactiveUser, session.Revoked},
}

// Traits implements Credential.
func (*SessionCookie) Traits() Traits { return sessionTraits }
