package sesame

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// ServeHTTP authenticates the request and passes it on, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	origin.MarkEarly(r)
	if !h.sources.IsExposed(r) {
		return h.serve(w, r, next, h.take(r, false))
	}
	exposed, w := accesslog.NewRequest(h.logs, h.sources, w, r)
	defer exposed.WriteAccessLine(r)
	if err := h.serve(w, r, next, h.take(r, true)); err != nil {
		exposed.HandleError(w, r, err)
	}
	return nil
}

// claims are the credentials that a request has, and what they are judged at.
type claims struct {
	explicit, ambient []authn.Credential
	confirmation      confirmation
	at                authn.At
	target            string // where a login by the token leads; empty for the request's own URI
}

// add sorts credentials of a scheme by whether browsers send them unasked.
func (c *claims) add(taken []authn.Credential) {
	isAmbient := func(credential authn.Credential) bool { return credential.Traits().IsAmbient }
	if len(taken) == 1 && !isAmbient(taken[0]) && c.explicit == nil {
		c.explicit = taken // as mostly, without a copy
		return
	}
	for _, credential := range taken {
		if isAmbient(credential) {
			c.ambient = append(c.ambient, credential)
		} else {
			c.explicit = append(c.explicit, credential)
		}
	}
}

// isEmpty reports whether a request has no credentials.
func (c *claims) isEmpty() bool { return len(c.explicit)+len(c.ambient) == 0 }

// token is the request's token, or nil.
func (c *claims) token() *authn.TokenCredential {
	for _, credential := range c.explicit {
		if given, ok := credential.(*authn.TokenCredential); ok {
			return given
		}
	}
	return nil
}

// loginTarget is where a login by the token leads.
func (c *claims) loginTarget(r *http.Request) string {
	if c.target == "" {
		return ownURI(r)
	}
	return c.target
}

// take takes the credentials out of a request. Nothing of them goes on. An
// assertion of an earlier handler's is none of them.
func (h *Handler) take(r *http.Request, isExposed bool) claims {
	if putBack := identity.HideAssertion(r); putBack != nil {
		defer putBack()
	}
	var c claims
	c.add(h.token.TakeExposed(r, isExposed))
	c.confirmation = h.takeConfirmation(r)
	for _, scheme := range h.schemes {
		c.add(scheme.Take(r))
	}
	return c
}

// tokenForm is the claim.Form of a handler's tokens.
type tokenForm struct{ *Handler }

// IsToken reports whether a text could be one of the handler's tokens, or is one
// of its sessions, which counts as no token but is worth as much.
func (f tokenForm) IsToken(text string) bool {
	if made := f.made.Load(); made != nil {
		return made.tokens.CanParse(text) || f.isSession(made, text)
	}
	return token.MayBeToken(text) // the table hasn't told the packer yet
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
func (f tokenForm) isSession(made *credentials, text string) bool {
	if made.sessions == nil {
		return false
	}
	_, err := made.sessions.Parse(text, "", f.now())
	return !errors.Is(err, session.Malformed) && !errors.Is(err, session.BadSignature)
}

// serve decides by what a request had to say who it is from.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims) error {
	h.identity.Remove(r) // not before take: Authorization may be one of ours
	if origin.IsEarly(r) && !origin.IsSafe(r.Method) && !c.isEmpty() {
		return h.fail(w, r, errTooEarly)
	}
	if page := h.reservedPage(r); page != "" {
		return h.serveReserved(w, r, page, c)
	}
	if origin.IsPreflight(r) && h.passesPreflight() {
		counted.requests[outcomeAnonymous].Add(1)
		h.identity.Restore(r, h.logger)
		return next.ServeHTTP(w, r)
	}

	if c.isEmpty() {
		return h.serveNobody(w, r, next)
	}
	scope, err := h.scope.Of(r)
	if err != nil {
		return h.fail(w, r, h.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: h.now()}
	return h.serveClaims(w, r, next, c)
}

// serveClaims passes on a request with credentials, if they are accepted: those
// that were sent on purpose before those that browsers send unasked.
func (h *Handler) serveClaims(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims) error {
	if len(c.explicit) == 0 {
		return h.serveAmbient(w, r, next, c)
	}
	visitor, err := h.authn.Explicit(r, c.explicit, c.at, h.meets)
	if err != nil {
		return h.serveBesideRejected(w, r, next, c, h.forbid(r, c.token(), err))
	}
	given, ok := visitor.Credential.(*authn.TokenCredential)
	if !ok {
		v := h.visitor(visitor)
		return h.serveVisitor(w, r, next, &v)
	}
	return h.logIn(w, r, next, c, given, visitor.User)
}

// serveAmbient passes on a request that has nothing but ambient credentials.
func (h *Handler) serveAmbient(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims) error {
	v, err := h.visitorUnasked(r, c, h.meets)
	switch {
	case err == nil:
		if err := h.renewSession(w, r, &v); err != nil {
			return h.fail(w, r, err)
		}
		return h.serveVisitor(w, r, next, &v)
	case !errors.Is(err, authn.ErrNone):
		return h.fail(w, r, err)
	}
	h.forgetSession(w, r, c, err)
	if limited, ok := errors.AsType[*limit.Exceeded](err); ok && !h.Optional {
		return h.fail(w, r, limited)
	}
	return h.serveNobody(w, r, next)
}

// serveNobody answers a request that has neither a token nor a session.
func (h *Handler) serveNobody(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.Optional && len(h.Require) > 0 {
		return h.serveProven(w, r, next)
	}
	if h.Optional && !origin.IsPreflight(r) {
		counted.requests[outcomeAnonymous].Add(1)
		h.identity.Restore(r, h.logger)
		return next.ServeHTTP(w, r)
	}
	return h.fail(w, r, h.rejected(r, nil, token.Missing))
}

// serveBesideRejected answers a request whose explicit credentials were
// rejected: a session beside them still counts. Otherwise a user who opens an old
// link would be rejected where they are logged in.
func (h *Handler) serveBesideRejected(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims, rejected error) error {
	if !isRejection(rejected) {
		return h.fail(w, r, rejected)
	}
	v, err := h.visitorUnasked(r, c, h.meets)
	switch {
	case errors.Is(err, authn.ErrNone):
		return h.fail(w, r, rejected)
	case err != nil:
		return h.fail(w, r, err)
	case c.confirmation.signature != "", // the button's own request is nothing for the upstream
		r.Method == http.MethodGet && h.logins.redirects(r) && asksForPage(r):
		counted.requests[outcomeSession].Add(1)
		return seeOther(w, c.loginTarget(r))
	}
	return h.serveVisitor(w, r, next, &v)
}

// use uses up a one-time token. The error is token.Consumed, or says why the
// store has no answer: then it isn't known whether it is used up.
func (h *Handler) use(r *http.Request, given *authn.TokenCredential, user *userstore.User) error {
	if !h.OneTime {
		return nil
	}
	err := h.store.Consume(r.Context(), user, h.now())
	counted.used(err)
	switch {
	case err == nil:
		fingerprint, _ := given.Origin()
		h.audit.consumed(r, user, fingerprint)
	case errors.Is(err, userstore.ErrConsumed):
		return h.rejected(r, given, token.Consumed)
	}
	return err
}

// rejected notes that a request is rejected for a reason: in the log, in the
// metrics, with the limit on failures, and as an event. given is nil where there
// is no token. It returns the reason, or limit.Exceeded, which wraps it, for a
// client over the limit.
func (h *Handler) rejected(r *http.Request, given *authn.TokenCredential, reason error) error {
	h.logRejected(r, given, reason)
	if given == nil {
		return reason
	}
	if reason, ok := errors.AsType[token.Reason](reason); ok && h.logins != nil && given.IsLink() {
		counted.loginFailures[reason].Add(1)
	}
	if h.failures != nil {
		err := h.chargeToken(r, h.credentialOf(r, given), reason)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	h.audit.rejected(r, reason)
	return reason
}

// logRejected tells an operator who has debug logs on why a request is rejected.
func (h *Handler) logRejected(r *http.Request, given *authn.TokenCredential, reason error) {
	c := h.logger.Check(zap.DebugLevel, "token refused")
	if c == nil {
		return
	}
	fields := []zap.Field{zap.Error(reason)}
	if reason, ok := errors.AsType[token.Reason](reason); ok {
		fields = append(fields, zap.Stringer("reason", reason))
	}
	if given != nil {
		fields = append(fields, zap.String("token_from", given.Given.From))
		fields = append(fields, parsedFields(given.Parsed(), h.now())...)
	}
	c.Write(append(fields, requestFields(r)...)...)
}

// parsedFields describe in a line of the log what a token says.
func parsedFields(parsed *token.Parsed, now time.Time) (fields []zap.Field) {
	if !parsed.PrimaryKey().IsZero() {
		fields = append(fields, zap.Stringer("user", parsed.PrimaryKey()))
		if created, ok := parsed.Created(); ok {
			fields = append(fields, zap.Time("created", created), zap.Duration("age", now.Sub(created).Round(time.Second)))
		}
	}
	if parsed.Version() != 0 {
		fields = append(fields, zap.Stringer("version", parsed.Version()))
	}
	return fields
}

// requestFields describe a request in a line of the log.
func requestFields(r *http.Request) []zap.Field {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return []zap.Field{
		zap.String("client_ip", client),
		zap.String("method", r.Method),
		zap.String("host", r.Host),
		zap.String("path", r.URL.Path),
	}
}

// passesPreflight reports whether preflight requests go on, as nobody's.
func (h *Handler) passesPreflight() bool {
	if h.Preflight == "" {
		return h.Optional && len(h.Require) == 0
	}
	return h.Preflight == preflightPass
}

// forbid tells an operator who has debug logs on why a user's request is
// refused. given is its token, or nil.
func (h *Handler) forbid(r *http.Request, given *authn.TokenCredential, err error) error {
	f, ok := errors.AsType[*require.Forbidden](err)
	if !ok {
		return err
	}
	h.audit.forbidden(r, f.User)
	if c := h.logger.Check(zap.DebugLevel, "user refused"); c != nil {
		fields := []zap.Field{zap.String("requirement", f.Requirement), zap.Stringer("user", f.User.PrimaryKey)}
		if given != nil {
			fields = append(fields, zap.String("token_from", given.Given.From))
		}
		c.Write(append(fields, requestFields(r)...)...)
	}
	return err
}
