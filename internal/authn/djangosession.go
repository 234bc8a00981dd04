package authn

import (
	"context"
	"errors"
	"net/http"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// djangoSessionName is the scheme's name and its block's.
const djangoSessionName = "django_session"

// Columns of Django's table of sessions.
const (
	columnData   = "session_data"
	columnExpiry = "expire_date"
)

// DjangoSession is the scheme of Django's own sessions.
type DjangoSession struct {
	env        *Environment
	sessions   *djangosession.Sessions
	cookie     cookie.Exact
	via        *userstore.Via
	users      *userstore.Via // by the key that sessions hold
	table      string
	backend    string // of logins here
	isInCookie bool   // no table has the sessions
	passes     bool   // the upstream gets the cookie
	writes     bool
	touch      time.Duration // 0 for never
	touches    touches
}

// Name implements Scheme.
func (*DjangoSession) Name() string { return djangoSessionName }

// AddNeeds implements ConfiguredScheme.
func (s *DjangoSession) AddNeeds(needs *userstore.Needs) {
	needs.Vias = append(needs.Vias, s.via)
	if s.users != s.via {
		needs.Vias = append(needs.Vias, s.users)
	}
	if s.writes && !s.isInCookie {
		needs.SessionTable = s.table
	}
}

// Cookies implements ConfiguredScheme.
func (s *DjangoSession) Cookies() []string { return []string{s.cookie.Name()} }

// Writes reports whether logins here begin sessions of Django's.
func (s *DjangoSession) Writes() bool { return s.writes }

// Take implements Scheme. Other hosts of the domain can set cookies of the name,
// so there may be many.
func (s *DjangoSession) Take(r *http.Request) []Credential {
	take := s.cookie.Take
	if s.passes {
		take = s.cookie.Values
	}
	values := take(r)
	if len(values) == 0 {
		return nil
	}
	if len(values) == 1 {
		c := &DjangoCookie{scheme: s, value: values[0]}
		c.alone[0] = c
		return c.alone[:]
	}
	values = values[:min(len(values), MaxCookies)]
	cookies := make([]DjangoCookie, len(values))
	credentials := make([]Credential, len(values))
	for i, value := range values {
		cookies[i] = DjangoCookie{scheme: s, value: value}
		credentials[i] = &cookies[i]
	}
	return credentials
}

// DjangoCookie is the credential of a session of Django's.
type DjangoCookie struct {
	scheme *DjangoSession
	value  string
	parsed djangosession.Parsed
	ends   time.Time
	alone  [1]Credential // what Take mostly returns, in the same piece of memory
}

// Scheme implements Credential.
func (*DjangoCookie) Scheme() string { return djangoSessionName }

// Subject implements Credential. The key of a row doesn't name the user: the row
// does.
func (c *DjangoCookie) Subject(_ context.Context, at At) (key userstore.Key, err error) {
	if !c.scheme.isInCookie {
		if !djangosession.IsKey(c.value) {
			return key, Reject(djangosession.Malformed)
		}
		return c.scheme.via.Key(c.value), nil
	}
	if c.parsed, err = c.scheme.sessions.ParseCookie(c.value, at.Now); err != nil {
		return key, rejectDjango(err)
	}
	c.ends = c.parsed.Saved().Add(c.scheme.sessions.Settings().CookieAge)
	return c.scheme.via.Key(c.parsed.UserID()), nil
}

// Prove implements Credential.
func (c *DjangoCookie) Prove(user *userstore.User) error {
	s := c.scheme
	if !s.isInCookie {
		if err := c.readRow(user.Via()); err != nil {
			return err
		}
	}
	_, err := s.sessions.Verify(&c.parsed, djangoUser(user))
	if err != nil {
		return rejectDjango(err)
	}
	return nil
}

// readRow takes the session that whose has read from a row, or reads it.
func (c *DjangoCookie) readRow(row *userstore.ViaRow) (err error) {
	if told, ok := row.Kept().(*toldSession); ok {
		c.parsed, c.ends = told.parsed, told.ends
		return nil
	}
	c.parsed, c.ends, err = c.scheme.parse(row)
	return err
}

// djangoUser returns the values that a user's sessions depend on.
func djangoUser(user *userstore.User) djangosession.User {
	return djangosession.User{Password: user.Password, IsActive: user.IsActive}
}

// Origin implements Credential. Django doesn't store when a session's login was, so
// a revocation ends the sessions that were last saved before it.
func (c *DjangoCookie) Origin() (fingerprint string, issued time.Time) {
	return "", c.parsed.Saved()
}

// Ends is when the session ends, after Prove.
func (c *DjangoCookie) Ends() time.Time { return c.ends }

// unknownSession is why a key is rejected that no row has.
type unknownSession struct{}

func (unknownSession) Error() string {
	return "there is no such session: it has ended, or is that of another Django, or its user was deleted"
}

func (unknownSession) String() string { return "unknown_session" }

// The reasons to reject sessions in a table and in cookies.
var (
	rowReasons = &Reasons{
		UnknownUser:  Reject(unknownSession{}),
		InactiveUser: Reject(djangosession.InactiveUser),
		Revoked:      Reject(djangosession.Revoked),
	}
	cookieReasons = &Reasons{
		UnknownUser:  Reject(djangosession.UnknownUser),
		InactiveUser: Reject(djangosession.InactiveUser),
		Revoked:      Reject(djangosession.Revoked),
	}
)

// Traits implements Credential. The key of a row isn't signed, so that one which
// isn't there may be a guess.
func (c *DjangoCookie) Traits() Traits {
	traits := Traits{IsAmbient: true, NeedsOrigin: true, ChecksActive: true, Reasons: cookieReasons}
	if !c.scheme.isInCookie {
		traits.Guess, traits.Reasons = c.value, rowReasons
	}
	return traits
}

// Value is the cookie's.
func (c *DjangoCookie) Value() string { return c.value }

// IsForged reports whether an error rejects a cookie that may have been made up.
func (c *DjangoCookie) IsForged(err error) bool {
	if c.scheme.isInCookie {
		return errors.Is(err, djangosession.BadSignature)
	}
	return errors.Is(err, unknownSession{})
}

// Until is when a response in the session ends at the latest. Rows can be
// extended, and are looked up again.
func (c *DjangoCookie) Until() time.Time {
	if c.scheme.isInCookie {
		return c.ends
	}
	return time.Time{}
}

// whose implements userstore.Via.Whose.
func (s *DjangoSession) whose(row *userstore.ViaRow) (user string, err error) {
	parsed, ends, err := s.parse(row)
	if err != nil {
		return "", err
	}
	row.Keep(&toldSession{parsed, ends})
	return parsed.UserID(), nil
}

// toldSession is the session that whose has read from a row, kept so that the
// signature isn't checked twice.
type toldSession struct {
	parsed djangosession.Parsed
	ends   time.Time
}

// parse reads a session from a row; nil means that there is no row. A rejection
// holds the data of the session.
func (s *DjangoSession) parse(row *userstore.ViaRow) (parsed djangosession.Parsed, ends time.Time, err error) {
	data, _ := row.Value(columnData)
	ends, _ = row.Time(columnExpiry) // a value that isn't a time counts as passed
	parsed, err = s.sessions.ParseRow(djangosession.Row{SessionData: data, ExpireDate: ends}, s.env.Now())
	if err != nil {
		if !errors.Is(err, djangosession.Anonymous) {
			err = Stale{err} // the key exists, so it is no guess
		}
		err = &unusable{rejectDjango(err), parsed.Data(), ends}
	}
	return parsed, ends, err
}

// unusable is the rejection of a session that is in the table.
type unusable struct {
	error
	data djangosession.Data
	ends time.Time // when the row ends
}

func (u *unusable) Unwrap() error { return u.error }

// rejectDjango rejects a session. A session without a user is no credential, and
// one that Django has signed is no guess.
func rejectDjango(err error) error {
	switch {
	case errors.Is(err, djangosession.Anonymous):
		return Absent(err)
	case errors.Is(err, djangosession.BadSignature), errors.Is(err, djangosession.Malformed):
		return Reject(err)
	}
	return Stale{Reject(err)}
}

// IsUnlistedBackend reports whether an error rejects a session of Django's because
// its user has logged in by a backend that isn't listed: logging in again would be
// no remedy.
func IsUnlistedBackend(err error) bool { return errors.Is(err, djangosession.UnlistedBackend) }

// UnlistedUser is the key of the user whose session of Django's was rejected
// because of the backend of the login: to Django, that user is logged in. The
// session wasn't compared with the user's row.
func UnlistedUser(rejected Rejected) (key userstore.Key, ok bool) {
	c, isOurs := rejected.Credential.(*DjangoCookie)
	if !isOurs || !IsUnlistedBackend(rejected.Err) {
		return key, false
	}
	data := c.parsed.Data()
	if found, ok := errors.AsType[*unusable](rejected.Err); ok {
		data = found.data
	}
	return c.scheme.users.Key(data.UserID), data.UserID != ""
}
