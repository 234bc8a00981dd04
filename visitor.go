package sesame

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

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
	key     userstore.Key // by which the user is found again
	scheme  string
	session *session.Parsed     // nil for a user without one
	django  *authn.DjangoCookie // nil for a user without a session of Django's

	// What revocations are compared with, if later checks look at them.
	fingerprint string
	since       time.Time

	needsOrigin      bool      // whether pages of other origins could have sent the request
	until            time.Time // when the credentials end; zero where that isn't known
	outlivesPassword bool      // whether the credentials stay valid when the password changes
}

// visitor describes the user who was authenticated, and the credentials.
func (g *gate) visitor(v authn.Visitor) visitor {
	described := visitor{user: v.User, key: v.Key, scheme: v.Credential.Scheme()}
	if via, _ := v.Key.Via(); via == nil || len(via.Fields) > 0 {
		described.key = userstore.ByPrimaryKey(v.User.PrimaryKey) // as the row has it; a name may change
	}
	if cookie, ok := v.Credential.(*authn.SessionCookie); ok {
		described.session, described.needsOrigin = cookie.Parsed(), cookie.NeedsOrigin()
		return described
	}
	described.django, _ = v.Credential.(*authn.DjangoCookie)
	traits := v.Credential.Traits()
	described.needsOrigin, described.outlivesPassword, described.until = traits.NeedsOrigin, traits.OutlivesPassword, traits.Until
	if g.config.UserStore.Revocations != "" && (g.watcher != nil || g.config.mayReadOld()) {
		described.fingerprint, described.since = v.Credential.Origin()
	}
	return described
}

// find is authn.Authenticator.Find.
func (g *gate) find(r *http.Request, c authn.Credential, key userstore.Key, check func(*userstore.User) error) (*userstore.User, error) {
	traits := c.Traits()
	if g.limiter != nil && traits.Guess != "" {
		return g.limiter.findInTurn(r, traits.Guess, key, traits.NeedsFresh, check)
	}
	return g.users.Find(r.Context(), key, traits.NeedsFresh, check)
}

// noteRejected is authn.Authenticator.Rejected.
func (g *gate) noteRejected(r *http.Request, c authn.Credential, err error) error {
	g.counts.reject(c.Scheme(), err)
	switch c := c.(type) {
	case *authn.TokenCredential:
		return g.hints.with(r, c, g.rejected(r, c, err))
	case *authn.SessionCookie:
		g.sessionRefused(r, c.Parsed(), err)
		return err
	}
	if logged := g.logger.Check(zap.DebugLevel, "credentials refused"); logged != nil {
		fields := []zap.Field{zap.Error(err), zap.String("scheme", c.Scheme()), zap.String("reason", authn.ReasonOf(err))}
		logged.Write(append(fields, requestFields(r)...)...)
	}
	if traits := c.Traits(); g.limiter != nil && traits.Guess != "" && !traits.IsAmbient {
		err = g.limiter.chargeOther(r, g.limiter.credentialOf(r, c), err)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	g.audit.rejected(r, c.Scheme(), err)
	return err
}

// visitorUnasked finds the user of a request by its ambient credentials. The error
// is authn.ErrNone, mostly an *authn.None, or that of mayEnter, or says why the
// store has no answer.
func (g *gate) visitorUnasked(r *http.Request, c taken, mayEnter func(*userstore.User) error) (visitor, error) {
	v, err := g.authn.Ambient(r, c.ambient, c.at, mayEnter)
	if err == nil {
		return g.visitor(v), nil
	}
	none, isNone := errors.AsType[*authn.None](err)
	if isNone && !none.IsAmbiguous && g.limiter != nil {
		if limited := g.limiter.chargeForged(r, none); limited != nil {
			return visitor{}, fmt.Errorf("%w: %w", none, limited)
		}
	}
	return visitor{}, g.forbid(r, nil, err)
}

// sessionRefused logs at DEBUG why a session is rejected.
func (g *gate) sessionRefused(r *http.Request, parsed *session.Parsed, reason error) {
	if reason, ok := errors.AsType[session.Reason](reason); ok {
		g.counts.sessionsEnded[reason].Add(1)
	}
	c := g.logger.Check(zap.DebugLevel, "session refused")
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
func (g *gate) serveVisitor(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, v *visitor) error {
	g.served[v.scheme].Add(1)
	g.identity.Set(r, v.user, g.logger)
	p := g.setProven(r, v)
	if g.watcher == nil {
		return next.ServeHTTP(w, r)
	}
	// Not v, which then stays off the heap.
	return g.serveWatched(w, r, next, &p.visitor, g.meets)
}

// serveWatched passes a visitor's request on, and ends the response when the
// user may no longer see it. The visitor must not change any more.
func (g *gate) serveWatched(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, v *visitor, mayEnter func(*userstore.User) error) error {
	var done func()
	switch {
	case v.session != nil:
		w, r, done = g.watcher.GuardSession(w, r, g.logins.watched(v.session), v.key, v.session.Expires(), v.whyEnded(mayEnter))
	case v.django != nil:
		w, r, done = g.watcher.GuardSession(w, r, watch.Session{Mark: v.django.Mark()}, v.key, v.django.Until(), v.whyEnded(mayEnter))
	default:
		w, r, done = g.watcher.Guard(w, r, v.key, v.until, v.whyEnded(mayEnter))
	}
	defer done()
	return next.ServeHTTP(w, r)
}

// whyEnded returns a function that tells why a user's row no longer lets a visitor
// in: the password isn't what it was, an operator has ended the session or token, or
// the user doesn't meet the requirements.
func (v *visitor) whyEnded(mayEnter func(*userstore.User) error) func(*userstore.User) watch.Reason {
	return func(now *userstore.User) watch.Reason {
		switch {
		case now.PrimaryKey != v.user.PrimaryKey, v.isRevoked(now), !v.outlivesPassword && v.hasNewPassword(now):
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

// serveSessions shows users where they are logged in, and ends sessions. A session is
// needed for that: the bearer of a link or token might not be the user.
func (p *reserved) serveSessions(w http.ResponseWriter, r *http.Request, c taken) error {
	scope, err := p.g.scope.Of(r)
	if err != nil {
		return p.g.refuser.failFor(w, r, c, p.g.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: p.g.now()}
	v, err := p.g.visitorUnasked(r, c, anyUser)
	switch {
	case errors.Is(err, authn.ErrNone):
		p.g.logins.forget(w, r, c, err)
		return p.g.refuser.refuseAnonymous(w, r, c)
	case err != nil:
		return p.g.refuser.failFor(w, r, c, err)
	case v.session == nil:
		return p.g.refuser.refuseAnonymous(w, r, c) // a session of Django's
	}
	p.g.counts.requests[outcomePage].Add(1)
	return p.sessions.Serve(w, r, &sessionVisit{p.g, r, c, v})
}

// sessionVisit is a sessionlist.Visit.
type sessionVisit struct {
	g *gate
	r *http.Request
	c taken
	v visitor
}

// User implements sessionlist.Visit.
func (v *sessionVisit) User() *userstore.User { return v.v.user }

// Session implements sessionlist.Visit.
func (v *sessionVisit) Session() session.ID { return v.v.session.ID() }

// Ended implements sessionlist.Visit.
func (v *sessionVisit) Ended(id session.ID) {
	watch.EndSession(watch.Session{Mark: v.g.logins.scheme.List.Mark(id)})
}

// LogOut implements sessionlist.Visit.
func (v *sessionVisit) LogOut(w http.ResponseWriter) error {
	return v.g.reserved.serveLogout(w, v.r, v.c)
}

// Fail implements sessionlist.Visit.
func (v *sessionVisit) Fail(w http.ResponseWriter, err error) error {
	return v.g.refuser.failFor(w, v.r, v.c, err)
}

// tokenForm is the claim.Form of a handler's tokens.
type tokenForm struct{ *gate }

// IsToken reports whether a text must be removed from requests: whether it could be a
// token of the handler, or is one of its sessions.
func (f tokenForm) IsToken(text string) bool {
	if made := f.made.Load(); made != nil {
		return made.tokens.CanParse(text) || f.isSession(made, text)
	}
	return token.MayBeToken(text) // the packer isn't known before the table is read
}

// Resembles reports whether a text could be a broken token of the handler's.
func (f tokenForm) Resembles(text string) bool {
	if made := f.made.Load(); made != nil {
		return made.tokens.Resembles(text) || f.isSession(made, text)
	}
	return token.MayBeToken(text)
}

// isSession reports whether a text is a session of the handler's, of any scope
// and age.
func (f tokenForm) isSession(made *keys, text string) bool {
	if made.sessions == nil {
		return false
	}
	_, err := made.sessions.Parse(text, "", f.now())
	return !errors.Is(err, session.Malformed) && !errors.Is(err, session.BadSignature)
}
