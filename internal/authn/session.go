package authn

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// MaxCookies is how many cookies with the session's name are read. Browsers keep no
// more than 180 for a domain.
const MaxCookies = 200

// Session is the scheme of our own session cookie.
type Session struct {
	Cookie *cookie.Cookie

	// Keys returns what sessions are signed with. It fails while the store can't
	// be asked how keys are written.
	Keys func(ctx context.Context) (*session.Sessions, error)

	// List is the table that sessions are in; nil for none.
	List *SessionList

	// NeedsOrigin: see Traits.
	NeedsOrigin bool
}

// Name implements Scheme.
func (*Session) Name() string { return "session" }

// AddNeeds implements ConfiguredScheme.
func (s *Session) AddNeeds(needs *userstore.Needs) {
	if s.List != nil {
		s.List.AddNeeds(needs)
	}
}

// Cookies implements ConfiguredScheme.
func (s *Session) Cookies() []string { return []string{s.Cookie.Name()} }

// Close waits for what is written beside requests.
func (s *Session) Close() error {
	if s.List == nil {
		return nil
	}
	return s.List.Close()
}

// Take implements Scheme. Another host of the domain can set cookies of the
// name for this one too, in front of the session's own, so there may be many.
func (s *Session) Take(r *http.Request) []Credential {
	values := s.Cookie.Take(r)
	if len(values) == 0 {
		return nil
	}
	site := s.Cookie.Site(r)
	if len(values) == 1 {
		c := &SessionCookie{scheme: s, site: site, value: values[0]}
		c.alone[0] = c
		return c.alone[:]
	}
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
	alone    [1]Credential // what Take mostly returns, in the same piece of memory
}

// Value is the cookie's.
func (c *SessionCookie) Value() string { return c.value }

// Scheme implements Credential.
func (c *SessionCookie) Scheme() string { return c.scheme.Name() }

// Parsed is what the cookie says, after Subject.
func (c *SessionCookie) Parsed() *session.Parsed { return &c.parsed }

// BoundScope returns the scope that a session is bound to: the site and the scope.
func BoundScope(site, scope string) string { return site + "\x00" + scope }

// Subject implements Credential. The error is a session.Reason, or that of
// Session.Keys.
func (c *SessionCookie) Subject(ctx context.Context, at At) (key userstore.Key, err error) {
	if c.sessions, err = c.scheme.Keys(ctx); err != nil {
		return key, err
	}
	c.parsed, err = c.sessions.Parse(c.value, BoundScope(c.site, at.Scope), at.Now)
	id := c.parsed.ID()
	switch {
	case err != nil || id.IsZero(): // one from before there was a table stays valid
		return userstore.ByPrimaryKey(c.parsed.PrimaryKey()), err
	case c.scheme.List == nil:
		// It may have been ended, which only the table tells.
		return userstore.ByPrimaryKey(c.parsed.PrimaryKey()), session.NoTable
	}
	return c.scheme.List.via.Key(id.String()), nil
}

// Prove implements Credential.
func (c *SessionCookie) Prove(user *userstore.User) error {
	if id := c.parsed.ID(); !id.IsZero() && user.PrimaryKey != c.parsed.PrimaryKey() {
		return session.Ended // its row is another user's
	}
	return c.sessions.Verify(&c.parsed, user.User)
}

// Origin implements Credential. A session has no fingerprint of its own.
func (c *SessionCookie) Origin() (fingerprint string, issued time.Time) {
	return "", c.parsed.Issued()
}

// sessionTraits are the traits of every session, and listedTraits those of one in a
// table.
var (
	sessionTraits = Traits{IsAmbient: true, Reasons: &Reasons{session.UnknownUser, session.InactiveUser, session.Revoked}}
	listedTraits  = Traits{IsAmbient: true, Reasons: &Reasons{session.Ended, session.InactiveUser, session.Revoked}}
)

// Traits implements Credential.
func (c *SessionCookie) Traits() Traits {
	traits := sessionTraits
	if id := c.parsed.ID(); !id.IsZero() {
		traits = listedTraits
	}
	traits.NeedsOrigin = c.scheme.NeedsOrigin
	return traits
}

// NeedsOrigin is that of the scheme.
func (c *SessionCookie) NeedsOrigin() bool { return c.scheme.NeedsOrigin }

// Sent are the authentic sessions among credentials, by state. They weren't
// compared with a row.
type Sent struct {
	Valid      []session.Parsed // for this site and scope, and not expired
	OtherScope []session.Parsed // for another
	Ended      []session.Parsed // expired
}

// SentSessions reads the sessions among credentials.
func SentSessions(ctx context.Context, credentials []Credential, at At) (Sent, error) {
	var sent Sent
	for _, credential := range credentials {
		c, ok := credential.(*SessionCookie)
		if !ok {
			continue
		}
		_, err := c.Subject(ctx, at)
		if err != nil && !IsRejection(err) {
			return sent, err
		}
		sent.add(c, err)
	}
	return sent, nil
}

func (s *Sent) add(c *SessionCookie, err error) {
	reason, _ := errors.AsType[session.Reason](err)
	switch {
	case err == nil:
		s.Valid = append(s.Valid, c.parsed)
	case reason == session.WrongScope:
		s.OtherScope = append(s.OtherScope, c.parsed)
	case !IsForged(err):
		s.Ended = append(s.Ended, c.parsed)
	}
}

// IsForged reports whether an error rejects a cookie because it isn't one of our
// sessions.
func IsForged(err error) bool {
	return errors.Is(err, session.Malformed) || errors.Is(err, session.BadSignature)
}

// IsOnlyOf reports whether there are sessions, ended ones included, and all of them
// belong to the user.
func (s *Sent) IsOnlyOf(key token.PrimaryKey) bool {
	isOf := false
	for _, list := range [][]session.Parsed{s.Valid, s.OtherScope, s.Ended} {
		for i := range list {
			if list[i].PrimaryKey() != key {
				return false
			}
			isOf = true
		}
	}
	return isOf
}
