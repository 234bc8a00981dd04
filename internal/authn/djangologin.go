package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// csrfCookie is Django's CSRF_COOKIE_NAME, unless its settings say otherwise.
const csrfCookie = "csrftoken"

// maxGiven is how many sessions of a request are looked at when a login or logout
// ends them.
const maxGiven = 16

// given are the sessions of Django's among credentials, each once.
func (s *DjangoSession) given(credentials []Credential) (given []*DjangoCookie) {
	for _, credential := range credentials {
		c, ok := credential.(*DjangoCookie)
		isSame := func(other *DjangoCookie) bool { return other.value == c.value }
		if ok && len(given) < maxGiven && !slices.ContainsFunc(given, isSame) {
			given = append(given, c)
		}
	}
	return given
}

// find reads a session and its user. held is what the session holds, also where
// the error, a Rejection, says that it isn't accepted. Any other error says why
// the store has no answer.
func (s *DjangoSession) find(ctx context.Context, c *DjangoCookie) (user *userstore.User, held djangosession.Data, err error) {
	key, err := c.Subject(ctx, At{Now: s.env.Now()})
	if err != nil {
		return nil, c.parsed.Data(), err
	}
	user, err = s.env.Store().LookupVia(ctx, key)
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return nil, held, rowReasons.UnknownUser
	case err != nil:
		if found, ok := errors.AsType[*unusable](err); ok {
			held = found.data
		}
		return nil, held, err
	}
	err = accepts(ctx, c, user)
	return user, c.parsed.Data(), err
}

// former is the session that a browser has before a login.
type former struct {
	key  string // empty where there is none in the table
	data djangosession.Data
}

// formerOf is the session that a login goes on with or replaces. Where the
// browser has several, other hosts may have set them: they all end.
func (s *DjangoSession) formerOf(ctx context.Context, given []*DjangoCookie) (former, error) {
	if len(given) != 1 {
		return former{}, nil
	}
	_, held, err := s.find(ctx, given[0])
	if err != nil && !IsRejection(err) {
		return former{}, err
	}
	if _, isThere := errors.AsType[*unusable](err); s.isInCookie || err != nil && !isThere && !IsStale(err) {
		return former{data: held}, nil
	}
	return former{given[0].value, held}, nil
}

// Begun is a session of Django's that has begun with a login.
type Begun struct {
	IsSame bool     // the browser's session belonged to the same user, and goes on
	Ended  []string // the marks of the browser's sessions that ended
}

// Begin begins a session of Django's for a user who has logged in, as Django's
// login() does, and sets its cookie. It keeps the data of a browser's session
// without a user; another user's session ends. The error says why the store has no
// answer.
func (s *DjangoSession) Begin(w http.ResponseWriter, r *http.Request, user *userstore.User, ambient []Credential, length session.Length) (Begun, error) {
	var begun Begun
	given := s.given(ambient)
	before, err := s.formerOf(r.Context(), given)
	if err != nil {
		return begun, err
	}
	value, data, age, keepsKey, err := s.save(r.Context(), before, user, length)
	if err != nil {
		return begun, err
	}
	begun.IsSame = keepsKey
	for _, c := range given {
		if keepsKey && c.value == before.key {
			continue
		}
		begun.Ended = append(begun.Ended, c.Mark())
		if c.value == before.key || s.isInCookie || !djangosession.IsKey(c.value) {
			continue // it has been replaced, or isn't in the table
		}
		if err := s.env.Store().DeleteSession(r.Context(), c.value); err != nil {
			return begun, err
		}
	}
	if len(given) > 1 {
		s.cookie.ClearAll(w, r) // what other hosts have set would be sent beside this one
	}
	s.setCookie(w, r, value, data, age)
	return begun, nil
}

// ForgetCSRF has the browser delete Django's CSRF cookie, so that Django makes
// another one, as it does at a login.
func (s *DjangoSession) ForgetCSRF(w http.ResponseWriter, r *http.Request) {
	if _, err := r.Cookie(csrfCookie); err == nil {
		s.cookie.Expire(w, r, csrfCookie)
	}
}

// setCookie sets Django's cookie as its middleware does.
func (s *DjangoSession) setCookie(w http.ResponseWriter, r *http.Request, value string, data djangosession.Data, age time.Duration) {
	if s.sessions.ExpiresAtBrowserClose(data) {
		age = 0
	}
	w.Header().Add("Cache-Control", "private") // no cache that others share may hand it on
	s.cookie.Set(w, r, value, age, s.env.Now())
}

// keyAttempts is how often another key is made where one is taken, which only a
// broken source of random numbers would need.
const keyAttempts = 3

// save writes the session of a user who has logged in. value is the cookie's value.
func (s *DjangoSession) save(ctx context.Context, before former, user *userstore.User, length session.Length) (value string, data djangosession.Data, age time.Duration, keepsKey bool, err error) {
	now := s.env.Now()
	id := user.PrimaryKey.String() // as Django writes it: write is rejected with another field
	data, keepsKey = s.sessions.Login(before.data, id, s.backend, djangoUser(user))
	ends, err := s.sessions.ExpireDate(data, now)
	if err != nil || !ends.After(now) {
		// It has an end of its own that can't be read, or is over.
		data, keepsKey = s.sessions.Login(djangosession.Data{}, id, s.backend, djangoUser(user))
		ends = now.Add(s.sessions.Settings().CookieAge)
	}
	age = ends.Sub(now)
	data, age = s.lasting(data, length, age)
	row := userstore.SessionRow{Key: before.key, Data: s.sessions.Encode(data, now), Age: age}
	if s.isInCookie {
		return row.Data, data, s.sessions.Settings().CookieAge, keepsKey, nil
	}
	store := s.env.Store()
	if keepsKey {
		err = store.SaveSession(ctx, row, now)
		if errors.Is(err, userstore.ErrGone) {
			return s.save(ctx, former{}, user, length) // the session was logged out at the same time
		}
		return row.Key, data, age, true, err
	}
	for range keyAttempts {
		row.Key = djangosession.NewKey()
		if before.key == "" {
			err = store.CreateSession(ctx, row, now)
		} else {
			err = store.ReplaceSession(ctx, before.key, row, now)
		}
		if !errors.Is(err, userstore.ErrExists) {
			break
		}
	}
	return row.Key, data, age, false, err
}

// lasting returns a session that lasts as the user has chosen at the login, and for
// how long its row does, which is age otherwise. Where Django saves a session for a
// shared computer, the row then lasts for CookieAge, as set_expiry(0) means.
func (s *DjangoSession) lasting(data djangosession.Data, length session.Length, age time.Duration) (djangosession.Data, time.Duration) {
	switch {
	case length == session.Shared:
		return data.SetExpiry(0), min(s.sessions.Settings().CookieAge, session.SharedMaxAge)
	case length == session.Remembered && s.env.Remember != 0:
		return data.SetExpiry(int64(s.env.Remember / time.Second)), s.env.Remember
	}
	return data, age
}

// Ended are sessions of Django's that a logout has ended.
type Ended struct {
	User  token.PrimaryKey // the user of the sessions; the zero value if none was valid
	Marks []string
}

// End ends the sessions of Django's that a request has, as Django's logout()
// does. The error says why the store has no answer: then they go on, and so does
// the cookie.
func (s *DjangoSession) End(w http.ResponseWriter, r *http.Request, ambient []Credential) (Ended, error) {
	var ended Ended
	given := s.given(ambient)
	if len(given) == 0 {
		return ended, nil
	}
	for i, c := range given {
		if i < MaxAmbientUsers && ended.User.IsZero() {
			user, _, err := s.find(r.Context(), c)
			if err != nil && !IsRejection(err) {
				return ended, err
			}
			if err == nil {
				ended.User = user.PrimaryKey
			}
		}
		ended.Marks = append(ended.Marks, c.Mark())
	}
	for _, c := range given {
		if s.isInCookie || !djangosession.IsKey(c.value) {
			continue
		}
		if err := s.env.Store().DeleteSession(r.Context(), c.value); err != nil {
			return ended, err
		}
	}
	if len(given) > 1 {
		s.cookie.ClearAll(w, r)
	} else {
		s.cookie.Clear(w, r)
	}
	return ended, nil
}

// Mark tells a session from others in this process. It is a secret.
func (c *DjangoCookie) Mark() string { return c.scheme.table + "\x00" + c.value }

// Forget makes a browser forget sessions that have ended, or that are valid for
// several users. It reports whether there were any.
func (s *DjangoSession) Forget(w http.ResponseWriter, r *http.Request, ambient []Credential, none *None) bool {
	if none.IsAmbiguous && len(s.given(ambient)) > 0 {
		// All of them: with one left, its user would be taken for this one.
		s.cookie.ClearAll(w, r)
		return true
	}
	for _, rejected := range none.Rejected {
		if _, isOurs := rejected.Credential.(*DjangoCookie); !isOurs || IsUnlistedBackend(rejected.Err) || errors.Is(rejected.Err, djangosession.Malformed) {
			continue
		}
		s.cookie.Clear(w, r)
		return true
	}
	return false
}
