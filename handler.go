package sesame

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/authservice"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// serveHTTP authenticates a request and passes it on, or rejects it.
func (g *gate) serveHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	origin.MarkEarly(r)
	if !g.sources.IsExposed(r) {
		return takeAndServe(g, w, r, next, false)
	}
	exposed, w := accesslog.NewRequest(g.logs, g.sources, w, r)
	defer exposed.WriteAccessLine(r)
	if err := takeAndServe(g, w, r, next, true); err != nil {
		exposed.HandleError(w, r, err)
	}
	return nil
}

// takeAndServe answers a client, or a proxy that asks about a client's request.
func takeAndServe(g *gate, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, isExposed bool) error {
	if g.asked != nil {
		g.asked.serve(w, r, isExposed)
		return nil
	}
	return g.serve(w, r, next, g.take(r, isExposed))
}

// asked answers proxies that ask about requests of their clients.
type asked struct {
	*authservice.Service
	g *gate
}

// newAsked makes what answers other proxies; nil for none.
func newAsked(g *gate) (*asked, error) {
	if g.config.AuthService == "" {
		return nil, nil
	}
	assertion := ""
	if g.config.Assertion != nil {
		assertion = http.CanonicalHeaderKey(cmp.Or(g.config.Assertion.Header, identity.DefaultAssertionHeader))
	}
	service, err := authservice.New(authservice.Kind(g.config.AuthService), g.identity.Names(), assertion)
	if err != nil {
		return nil, err
	}
	return &asked{service, g}, nil
}

// serve answers a proxy.
func (a *asked) serve(w http.ResponseWriter, r *http.Request, isExposed bool) {
	answer := a.NewAnswer(w)
	if err := a.Restore(r); err != nil {
		a.g.counts.requests[outcomeRefused].Add(1)
		answer.Refuse(a.Report(a.g.logger, r, err))
		return
	}
	if err := a.decide(answer, r, isExposed || a.g.sources.IsExposed(r)); err != nil {
		a.g.logger.Error("a proxy's question can't be answered", append(requestFields(r), zap.Error(err))...)
	}
	answer.Refuse(http.StatusInternalServerError)
}

// decide answers whether the client's request may go on. One with a token in its URL
// doesn't, since the proxy would forward the URL as it came: a browser is led to the URL
// without the token, by the login page, which uses the token.
func (a *asked) decide(answer *authservice.Answer, r *http.Request, isExposed bool) error {
	came := r.RequestURI
	c := a.g.take(r, isExposed)
	switch {
	case r.RequestURI != came:
		return a.leadToCleanURL(answer, r, c)
	case a.g.reserved.pageOf(r) != "":
		a.g.counts.requests[outcomePage].Add(1)
		answer.Refuse(http.StatusNotFound) // the proxy is to pass on what is below that path
		return nil
	}
	return a.g.serve(answer, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		answer.Grant(r)
		return nil
	}), c)
}

// leadToCleanURL answers a proxy whose client has a token in its URL.
func (a *asked) leadToCleanURL(w http.ResponseWriter, r *http.Request, c taken) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return a.g.refuser.failFor(w, r, c, a.g.rejected(r, nil, token.Missing))
	}
	a.g.counts.requests[outcomePage].Add(1)
	given, page := c.token(), a.g.reserved.url(reservedLogin)
	if given == nil || !given.IsLink() || page == "" {
		return seeOther(w, ownURI(r))
	}
	return seeOther(w, page+"?"+url.Values{a.g.sources.Name: {given.Given.Value}, nextParameter: {ownURI(r)}}.Encode())
}

// taken are the credentials of a request, and the time at which they are checked.
type taken struct {
	explicit, ambient []authn.Credential
	unsure            []authn.Credential // which may be the application's own
	confirmation      confirmation
	at                authn.At
	lastMethod        string // by which the browser has logged in last, on the login page
	timesAtLogin      int    // how often the browser was sent to the page for logging in
	target            string // where a login by the token leads; empty for the request's own URI
	isFollowedByForm  bool   // after the login, a form is sent again with the CSRF token that it has
	emailed           emailed
}

// add sorts credentials of a scheme by whether browsers send them unasked.
func (c *taken) add(taken []authn.Credential) {
	for _, credential := range taken {
		switch traits := credential.Traits(); {
		case traits.IsUnsure:
			c.unsure = append(c.unsure, credential)
		case traits.IsAmbient:
			c.ambient = append(c.ambient, credential)
		case len(taken) == 1 && c.explicit == nil:
			c.explicit = taken // as mostly, without a copy
		default:
			c.explicit = append(c.explicit, credential)
		}
	}
}

// isEmpty reports whether a request has no credentials that certainly are the
// gateway's.
func (c *taken) isEmpty() bool { return len(c.explicit)+len(c.ambient) == 0 }

// token is the request's token, or nil.
func (c *taken) token() *authn.TokenCredential {
	for _, credential := range c.explicit {
		if given, ok := credential.(*authn.TokenCredential); ok {
			return given
		}
	}
	return nil
}

// isLink reports whether a link is all that a request is authenticated by.
func (c *taken) isLink() bool {
	given := c.token()
	return given != nil && given.IsLink() && len(c.explicit) == 1
}

// loginTarget is where a login by the token leads.
func (c *taken) loginTarget(r *http.Request) string {
	if c.target == "" {
		return ownURI(r)
	}
	return c.target
}

// take removes the credentials from a request, so that none reaches the upstream. An
// assertion of an earlier handler stays.
func (g *gate) take(r *http.Request, isExposed bool) taken {
	if putBack := identity.HideAssertion(r); putBack != nil {
		defer putBack()
	}
	var c taken
	c.add(g.token.TakeExposed(r, isExposed))
	c.confirmation = g.confirmer.take(r)
	for _, scheme := range g.schemes {
		c.add(scheme.Take(r))
	}
	if g.login != nil {
		c.lastMethod = g.login.TakeLastMethod(r)
	}
	if g.loginPage != nil {
		c.timesAtLogin = g.loginPage.Take(r)
	}
	return c
}

// serve decides by the credentials that a request had.
func (g *gate) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken) error {
	g.identity.Remove(r) // after take, which reads Authorization: that may be an identity field
	if origin.IsEarly(r) && !origin.IsSafe(r.Method) && !c.isEmpty() {
		return g.refuser.fail(w, r, errTooEarly)
	}
	if g.checks.Serve(w, r) {
		g.counts.requests[outcomeProbe].Add(1)
		return nil
	}
	if page := g.reserved.pageOf(r); page != "" {
		return g.reserved.serve(w, r, page, c)
	}
	if origin.IsPreflight(r) && g.config.passesPreflight() {
		g.counts.requests[outcomeAnonymous].Add(1)
		g.identity.Restore(r, g.logger)
		return next.ServeHTTP(w, r)
	}

	if c.isEmpty() {
		return g.serveAnonymous(w, r, next, c)
	}
	scope, err := g.scope.Of(r)
	if err != nil {
		return g.refuser.failFor(w, r, c, g.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: g.now()}
	return g.serveTaken(w, r, next, c)
}

// serveTaken passes on a request with credentials, if they are accepted: those
// that were sent on purpose before those that browsers send unasked.
func (g *gate) serveTaken(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken) error {
	if len(c.explicit) == 0 {
		return g.serveAmbient(w, r, next, c)
	}
	visitor, err := g.authn.Explicit(r, c.explicit, c.at, g.meets)
	if err != nil {
		return g.serveBesideRejected(w, r, next, c, g.forbid(r, c.token(), err))
	}
	given, ok := visitor.Credential.(*authn.TokenCredential)
	if !ok {
		if refreshed, ok := visitor.Credential.(authn.RefreshedCredential); ok {
			refreshed.Refresh(r, visitor.User)
		}
		v := g.visitor(visitor)
		return g.serveVisitor(w, r, next, &v)
	}
	return g.tokenLogin.logIn(w, r, next, c, given, visitor.User)
}

// serveAmbient passes on a request that has nothing but ambient credentials.
func (g *gate) serveAmbient(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken) error {
	v, err := g.visitorUnasked(r, c, g.meets)
	if err == nil {
		err = g.refuser.mayAct(r, &v)
	}
	switch {
	case err == nil:
		if err := g.logins.renew(w, r, &v); err != nil {
			return g.refuser.fail(w, r, err)
		}
		return g.serveVisitor(w, r, next, &v)
	case !errors.Is(err, authn.ErrNone):
		return g.refuser.failFor(w, r, c, err)
	}
	g.logins.forget(w, r, c, err)
	if limited, ok := errors.AsType[*limit.Exceeded](err); ok && !g.config.Optional {
		return g.refuser.failFor(w, r, c, limited)
	}
	if none, ok := errors.AsType[*authn.None](err); ok && !g.config.Optional && hasOtherLogin(none) {
		return g.refuser.failFor(w, r, c, errOtherLogin)
	}
	return g.serveAnonymous(w, r, next, c)
}

// hasOtherLogin reports whether a user is logged in to Django by a backend that
// isn't accepted. Django's login page would send such a user back at once.
func hasOtherLogin(none *authn.None) bool {
	isOther := func(rejected authn.Rejected) bool { return authn.IsUnlistedBackend(rejected.Err) }
	return slices.ContainsFunc(none.Rejected, isOther)
}

// serveAnonymous answers a request without credentials that were accepted. Credentials
// that may be the application's own are rejected if the request needs a user.
func (g *gate) serveAnonymous(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken) error {
	if g.config.Optional && len(g.config.Require) > 0 {
		return g.serveProven(w, r, next, c)
	}
	if g.config.Optional && !origin.IsPreflight(r) {
		g.counts.requests[outcomeAnonymous].Add(1)
		g.identity.Restore(r, g.logger)
		return next.ServeHTTP(w, r)
	}
	return g.refuser.refuseAnonymous(w, r, c)
}

// serveBesideRejected answers a request whose explicit credentials were
// rejected: a session beside them still counts. Otherwise a user who opens an old
// link would be rejected where they are logged in.
func (g *gate) serveBesideRejected(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c taken, rejected error) error {
	if !isRejection(rejected) {
		return g.refuser.failFor(w, r, c, rejected)
	}
	v, err := g.visitorUnasked(r, c, g.meets)
	switch {
	case errors.Is(err, authn.ErrNone):
		return g.refuser.failFor(w, r, c, rejected)
	case err != nil:
		return g.refuser.failFor(w, r, c, err)
	case c.confirmation.signature != "", // the upstream must not get the button's request
		r.Method == http.MethodGet && g.logins != nil && g.logins.redirects(r) && asksForPage(r):
		g.counts.requests[outcomeSession].Add(1)
		return seeOther(w, c.loginTarget(r))
	}
	if err := g.refuser.mayAct(r, &v); err != nil {
		return g.refuser.failFor(w, r, c, err)
	}
	return g.serveVisitor(w, r, next, &v)
}

// rejected notes that a request is rejected for a reason: in the log, in the
// metrics, with the limit on failures, and as an event. given is nil where there
// is no token. It returns the reason, or limit.Exceeded, which wraps it, for a
// client over the limit.
func (g *gate) rejected(r *http.Request, given *authn.TokenCredential, reason error) error {
	g.logRejected(r, given, reason)
	if given == nil {
		return reason
	}
	if reason, ok := errors.AsType[token.Reason](reason); ok && g.logins != nil && given.IsLink() {
		g.counts.loginFailures[reason].Add(1)
	}
	if g.limiter != nil {
		err := g.limiter.chargeToken(r, g.limiter.credentialOf(r, given), reason)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	g.audit.rejected(r, given.Scheme(), reason)
	return reason
}

// logRejected logs at DEBUG why a request is rejected.
func (g *gate) logRejected(r *http.Request, given *authn.TokenCredential, reason error) {
	c := g.logger.Check(zap.DebugLevel, "token refused")
	if c == nil {
		return
	}
	fields := []zap.Field{zap.Error(reason)}
	if reason, ok := errors.AsType[token.Reason](reason); ok {
		fields = append(fields, zap.Stringer("reason", reason))
	}
	if given != nil {
		fields = append(fields, zap.String("token_from", given.Given.From))
		fields = append(fields, parsedFields(given.Parsed(), g.now())...)
	}
	c.Write(append(fields, requestFields(r)...)...)
}

// parsedFields are the fields of a log line that describe a token's contents.
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

// requestFields are the fields of a log line that describe a request.
func requestFields(r *http.Request) []zap.Field {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return []zap.Field{
		zap.String("client_ip", client),
		zap.String("method", r.Method),
		zap.String("host", r.Host),
		zap.String("path", r.URL.Path),
	}
}

// passesPreflight reports whether preflight requests go on, without a user.
func (h *Handler) passesPreflight() bool {
	if h.Preflight == "" {
		return h.Optional && len(h.Require) == 0
	}
	return h.Preflight == preflightPass
}

// forbid logs at DEBUG, and emits as an event, why a user's request is rejected.
// given is its token, or nil.
func (g *gate) forbid(r *http.Request, given *authn.TokenCredential, err error) error {
	f, ok := errors.AsType[*require.Forbidden](err)
	if !ok {
		return err
	}
	g.audit.forbidden(r, f.User)
	if c := g.logger.Check(zap.DebugLevel, "user refused"); c != nil {
		fields := []zap.Field{zap.String("requirement", f.Requirement), zap.Stringer("user", f.User.PrimaryKey)}
		if given != nil {
			fields = append(fields, zap.String("token_from", given.Given.From))
		}
		c.Write(append(fields, requestFields(r)...)...)
	}
	return err
}
