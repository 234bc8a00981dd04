package sesame

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/watch"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// visitor is the user of a request, and what may end its credentials later.
type visitor struct {
	user    *userstore.User
	scheme  string
	session *session.Parsed // nil for a user without one

	// What an operator can revoke the credentials by, where that is looked at
	// later.
	fingerprint string
	since       time.Time

	outlivesPassword bool // whether the credentials stay valid when the password changes
}

// visitor describes who was authenticated.
func (h *Handler) visitor(v authn.Visitor) visitor {
	described := visitor{user: v.User, scheme: v.Credential.Scheme()}
	if cookie, ok := v.Credential.(*authn.SessionCookie); ok {
		described.session = cookie.Parsed()
		return described
	}
	described.outlivesPassword = h.outlivePassword()
	if h.UserStore.Revocations != "" && (h.watcher != nil || h.mayReadOld()) {
		described.fingerprint, described.since = v.Credential.Origin()
	}
	return described
}

// provisionSchemes makes the schemes by which requests are authenticated.
func (h *Handler) provisionSchemes() {
	h.meets = h.Require.Check
	h.authn = &authn.Authenticator{Find: h.find, Rejected: h.noteRejected}
	h.token = &authn.Token{
		Sources: h.sources,
		Keys: func(ctx context.Context) (*token.Tokens, error) {
			made, err := h.credentials(ctx)
			if err != nil {
				return nil, err
			}
			return made.tokens, nil
		},
		OneTime: h.OneTime,
		LogsIn:  h.logins != nil,
	}
	if h.logins == nil {
		return
	}
	h.schemes = append(h.schemes, &authn.Session{
		Cookie: &h.logins.cookie,
		Keys: func(ctx context.Context) (*session.Sessions, error) {
			made, err := h.credentials(ctx)
			if err != nil {
				return nil, err
			}
			return made.sessions, nil
		},
	})
}

// find is authn.Authenticator.Find.
func (h *Handler) find(r *http.Request, c authn.Credential, key token.PrimaryKey, check func(*userstore.User) error) (*userstore.User, error) {
	traits := c.Traits()
	if h.failures != nil && traits.Guess != "" {
		return h.findInTurn(r, h.credentialOf(r, c), key, traits.NeedsFresh, check)
	}
	return h.users.Find(r.Context(), key, traits.NeedsFresh, check)
}

// noteRejected is authn.Authenticator.Rejected.
func (h *Handler) noteRejected(r *http.Request, c authn.Credential, err error) error {
	switch c := c.(type) {
	case *authn.TokenCredential:
		return h.withHint(r, c, h.rejected(r, c, err))
	case *authn.SessionCookie:
		h.sessionRefused(r, c.Parsed(), err)
		return err
	}
	if logged := h.logger.Check(zap.DebugLevel, "credentials refused"); logged != nil {
		logged.Write(append([]zap.Field{zap.Error(err), zap.String("scheme", c.Scheme())}, requestFields(r)...)...)
	}
	if h.failures == nil || c.Traits().Guess == "" {
		return err
	}
	return h.chargeToken(r, h.credentialOf(r, c), err)
}

// visitorUnasked finds the user of a request by what its browser has sent
// unasked. The error is authn.ErrNone, mostly an *authn.None, or that of mayEnter,
// or says why the store has no answer.
func (h *Handler) visitorUnasked(r *http.Request, c claims, mayEnter func(*userstore.User) error) (visitor, error) {
	v, err := h.authn.Ambient(r, c.ambient, c.at, mayEnter)
	if err == nil {
		return h.visitor(v), nil
	}
	none, isNone := errors.AsType[*authn.None](err)
	if isNone && !none.IsAmbiguous && h.failures != nil {
		if limited := h.chargeForged(r, none); limited != nil {
			return visitor{}, fmt.Errorf("%w: %w", none, limited)
		}
	}
	return visitor{}, h.forbid(r, nil, err)
}

// chargeForged counts forged sessions against the request's client, each once:
// one that a browser sends again and again was signed by a former key. It returns
// a limit.Exceeded where there are any and the client is over the limit, else nil.
func (h *Handler) chargeForged(r *http.Request, none *authn.None) error {
	client := h.clientOf(r)
	for _, rejected := range none.Rejected {
		cookie, ok := rejected.Credential.(*authn.SessionCookie)
		if !ok || !errors.Is(rejected.Err, session.BadSignature) {
			continue // what isn't a session is another application's
		}
		isNew := h.failures.RememberRejected(h.failures.CredentialOf(client, cookie.Value()))
		err := h.charge(r, rejected.Err, isNew)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	return nil
}

// sessionRefused tells an operator who has debug logs on why a session is not
// one.
func (h *Handler) sessionRefused(r *http.Request, parsed *session.Parsed, reason error) {
	if reason, ok := errors.AsType[session.Reason](reason); ok {
		counted.sessionsEnded[reason].Add(1)
	}
	c := h.logger.Check(zap.DebugLevel, "session refused")
	if c == nil {
		return
	}
	fields := []zap.Field{zap.Error(reason)}
	if reason, ok := errors.AsType[session.Reason](reason); ok {
		fields = append(fields, zap.Stringer("reason", reason))
	}
	if !parsed.PrimaryKey().IsZero() {
		fields = append(fields, zap.Stringer("user", parsed.PrimaryKey()))
	}
	c.Write(append(fields, requestFields(r)...)...)
}

// forgetSession makes the browser forget session cookies that are of no use.
// Applications lose what they keep of the user, where there was a session.
func (h *Handler) forgetSession(w http.ResponseWriter, r *http.Request, c claims, err error) {
	none, ok := errors.AsType[*authn.None](err)
	if !ok || sessionsIn(c.ambient) == 0 {
		return
	}
	hasEnded := none.IsAmbiguous
	for _, rejected := range none.Rejected {
		switch {
		case errors.Is(rejected.Err, session.WrongScope) && !none.IsAmbiguous:
			return // it may be valid for another page of the site
		case !authn.IsForged(rejected.Err) && !errors.Is(rejected.Err, session.WrongScope):
			hasEnded = true
		}
	}
	if none.IsAmbiguous {
		// All of them: with one left, its user would be taken for this one.
		h.logins.cookie.ClearAll(w, r)
	} else {
		h.logins.cookie.Clear(w, r)
	}
	if hasEnded {
		h.logins.ending.Expire(w, r)
	}
}

// sessionsIn is how many session cookies are among credentials.
func sessionsIn(credentials []authn.Credential) (n int) {
	for _, credential := range credentials {
		if _, ok := credential.(*authn.SessionCookie); ok {
			n++
		}
	}
	return n
}

// serveVisitor passes a visitor's request on.
func (h *Handler) serveVisitor(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, v *visitor) error {
	by := outcomeToken
	if v.session != nil {
		by = outcomeSession
	}
	counted.requests[by].Add(1)
	h.identity.Set(r, v.user, h.logger)
	h.setProven(r, v)
	if h.watcher == nil {
		return next.ServeHTTP(w, r)
	}
	return h.serveWatched(w, r, next, v, h.meets)
}

// serveWatched passes a visitor's request on, and ends the response when the
// user may no longer see it.
func (h *Handler) serveWatched(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, v *visitor, mayEnter func(*userstore.User) error) error {
	var done func()
	if v.session != nil {
		w, r, done = h.watcher.GuardSession(w, r, h.watched(v.session), v.session.Expires(), v.whyEnded(mayEnter))
	} else {
		w, r, done = h.watcher.Guard(w, r, v.user.PrimaryKey, time.Time{}, v.whyEnded(mayEnter))
	}
	defer done()
	return next.ServeHTTP(w, r)
}

// watched is what tells a session's open responses from others.
func (h *Handler) watched(parsed *session.Parsed) watch.Session {
	return watch.Session{Audience: h.made.Load().sessions.Settings().Audience, User: parsed.PrimaryKey(), Login: parsed.Issued().Unix()}
}

// whyEnded returns what tells why a user's row no longer lets a visitor in: the
// password isn't what it was, an operator has ended the session or token, or the
// user doesn't meet what is required.
func (v *visitor) whyEnded(mayEnter func(*userstore.User) error) func(*userstore.User) watch.Reason {
	held := *v // which need not be on the heap where nothing is watched
	return func(now *userstore.User) watch.Reason {
		switch {
		case held.isRevoked(now), held.hasNewPassword(now):
			return watch.Changed
		case mayEnter(now) != nil:
			return watch.Forbidden
		}
		return ""
	}
}

// isRevoked reports whether a newer row of the user says that an operator has
// ended the session or token.
func (v *visitor) isRevoked(now *userstore.User) bool {
	since := v.since
	if v.session != nil {
		since = v.session.Issued()
	}
	return now.IsRevoked(v.fingerprint, since)
}

// hasNewPassword reports whether a newer row of the user has another password.
func (v *visitor) hasNewPassword(now *userstore.User) bool {
	password := v.user.Password
	return (password == nil) != (now.Password == nil) || password != nil && *password != *now.Password
}
