package sesame

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/require"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// ServeHTTP authenticates the request and passes it on, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	markEarly(r)
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

// claims are what a request has to say who it is from, and what that is
// checked against.
type claims struct {
	token        claim.Token
	confirmation confirmation
	cookies      []string // session cookies
	scope        string
	target       string // where a login by the token leads; empty for the request's own URI
}

// loginTarget is where a login by the token leads.
func (c *claims) loginTarget(r *http.Request) string {
	if c.target == "" {
		return ownURI(r)
	}
	return c.target
}

// take takes the claims out of a request. Nothing of them goes on. An assertion
// of an earlier handler's is none of them.
func (h *Handler) take(r *http.Request, isExposed bool) claims {
	if putBack := identity.HideAssertion(r); putBack != nil {
		defer putBack()
	}
	c := claims{token: h.sources.Take(r, isExposed), confirmation: h.takeConfirmation(r)}
	if h.logins != nil {
		c.cookies = h.logins.cookie.Take(r)
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
	if isEarly(r) && !isSafe(r.Method) && (c.token.Found || len(c.cookies) > 0) {
		return h.fail(w, r, errTooEarly)
	}
	if page := h.reservedPage(r); page != "" {
		return h.serveReserved(w, r, page, c)
	}
	if isPreflight(r) && h.passesPreflight() {
		counted.requests[outcomeAnonymous].Add(1)
		h.identity.Restore(r, h.logger)
		return next.ServeHTTP(w, r)
	}

	if !c.token.Found && len(c.cookies) == 0 {
		return h.serveNobody(w, r, next)
	}
	var err error
	if c.scope, err = h.scope.Of(r); err != nil {
		return h.fail(w, r, h.rejected(r, c.token, nil, err))
	}
	return h.serveClaims(w, r, next, c)
}

// serveClaims passes on a request with a token or a session, if it holds.
func (h *Handler) serveClaims(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims) error {
	if !c.token.Found {
		return h.serveSession(w, r, next, c)
	}
	user, err := h.checkToken(r, c)
	if err != nil {
		return h.serveBesideToken(w, r, next, c, err)
	}
	return h.logIn(w, r, next, c, user)
}

// serveSession passes on a request without a token.
func (h *Handler) serveSession(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims) error {
	v, err := h.visitorBySession(r, c, h.mayEnter)
	switch {
	case err == nil:
		if err := h.renewSession(w, r, v); err != nil {
			return h.fail(w, r, err)
		}
		return h.serveVisitor(w, r, next, v)
	case !errors.Is(err, errNoSession):
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
	if h.Optional && !isPreflight(r) {
		counted.requests[outcomeAnonymous].Add(1)
		h.identity.Restore(r, h.logger)
		return next.ServeHTTP(w, r)
	}
	return h.fail(w, r, h.rejected(r, claim.Token{}, nil, token.Missing))
}

// serveBesideToken answers a request whose token doesn't hold: a session
// beside it still does. Else somebody who opens an old link would be refused
// where they are logged in.
func (h *Handler) serveBesideToken(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims, refused error) error {
	if !isRefusal(refused) {
		return h.fail(w, r, refused)
	}
	v, err := h.visitorBySession(r, c, h.mayEnter)
	switch {
	case errors.Is(err, errNoSession):
		return h.fail(w, r, refused)
	case err != nil:
		return h.fail(w, r, err)
	case c.confirmation.signature != "", // the button's own request is nothing for the upstream
		r.Method == http.MethodGet && h.logins.redirects(r) && asksForPage(r):
		counted.requests[outcomeSession].Add(1)
		return seeOther(w, c.loginTarget(r))
	}
	return h.serveVisitor(w, r, next, v)
}

// fail answers a request that doesn't go on: 401 for a token.Reason, 403 for a
// user who doesn't meet what is required, 429 for a client over the limit, 503
// where the store has no answer.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) error {
	if limited, ok := errors.AsType[*limit.Exceeded](err); ok {
		return h.refuseOverLimit(w, r, limited.Wait)
	}
	reason, isReason := errors.AsType[token.Reason](err)
	switch {
	case isReason:
		return h.refuse(w, r, reason, err)
	case require.IsForbidden(err):
		return h.refuseUser(w, r, err)
	case errors.Is(err, require.ErrUnread):
		return caddyhttp.Error(http.StatusInternalServerError, err)
	case errors.Is(err, errAhead):
		counted.requests[outcomeAhead].Add(1)
		return answerAhead(w, r)
	case errors.Is(err, errTooEarly):
		counted.requests[outcomeEarly].Add(1)
		return answerTooEarly(w)
	case r.Context().Err() != nil:
		counted.requests[outcomeCanceled].Add(1)
		w.WriteHeader(statusClientClosed) // the client has gone: err is what that caused
		return nil                        //nolint:nilerr
	}
	counted.requests[outcomeUnavailable].Add(1)
	h.outages.report(h.logger, err)
	return h.refuseForNow(w, r)
}

// statusClientClosed is what Caddy logs for a client that went away.
const statusClientClosed = 499

// checkToken finds the user whose token it is. It doesn't use it up. The error
// is a token.Reason, or says why the store has no answer.
func (h *Handler) checkToken(r *http.Request, c claims) (*userstore.User, error) {
	made, err := h.credentials(r.Context())
	if err != nil {
		return nil, err
	}
	parsed, err := made.tokens.Parse(c.token.Value, token.Expectation{Scope: c.scope, Now: h.now()})
	if err != nil {
		return nil, h.withHint(r, c.token, &parsed, h.rejected(r, c.token, &parsed, err))
	}
	// What a token is used up for, or a login, rests on the row as it is.
	fresh := h.OneTime || h.logins != nil && c.token.From == claim.FromQuery
	check := func(user *userstore.User) error {
		switch {
		case user == nil:
			return token.UnknownUser
		case !user.IsActive:
			if made.tokens.Verify(&parsed, user.User) == nil {
				return staleToken{token.InactiveUser}
			}
			return token.InactiveUser
		}
		if err := made.tokens.Verify(&parsed, user.User); err != nil {
			if parsed.Version() == token.V1 {
				return staleToken{token.BadSignature} // Parse has checked the signature
			}
			return err
		}
		if user.HasRevocations() {
			if created, _ := parsed.Created(); user.IsRevoked(parsed.Fingerprint(), created) {
				return token.Revoked
			}
		}
		return h.mayEnter(user)
	}
	var user *userstore.User
	if h.failures != nil {
		user, err = h.findInTurn(r, h.credentialOf(r, c.token, &parsed), parsed.PrimaryKey(), fresh, check)
	} else {
		user, err = h.findUser(r.Context(), parsed.PrimaryKey(), fresh, check)
	}
	if _, isReason := errors.AsType[token.Reason](err); isReason {
		return nil, h.rejected(r, c.token, &parsed, err)
	}
	return user, h.forbid(r, c.token, err)
}

// use uses up a one-time token. The error is token.Consumed, or says why the
// store has no answer: then it isn't known whether it is used up.
func (h *Handler) use(r *http.Request, c claims, user *userstore.User) error {
	if !h.OneTime {
		return nil
	}
	err := h.store.Consume(r.Context(), user, h.now())
	counted.used(err)
	switch {
	case err == nil:
		fingerprint, _ := h.fingerprint(r, c)
		h.audit.consumed(r, user, fingerprint)
	case errors.Is(err, userstore.ErrConsumed):
		return h.rejected(r, c.token, nil, token.Consumed, zap.Stringer("user", user.PrimaryKey))
	}
	return err
}

// fingerprint identifies a request's token where the token itself must not be
// told, and says when it was made, if it does.
func (h *Handler) fingerprint(r *http.Request, c claims) (fingerprint string, created time.Time) {
	made, err := h.credentials(r.Context())
	if err != nil {
		return "", time.Time{} // unreachable: the token was checked
	}
	parsed, err := made.tokens.Parse(c.token.Value, token.Expectation{Scope: c.scope, Now: h.now()})
	if err != nil && !errors.Is(err, token.Expired) { // in the meantime
		return "", time.Time{}
	}
	created, _ = parsed.Created()
	return parsed.Fingerprint(), created
}

// rejected notes that a request is rejected for a reason: in the log, in the
// metrics, with the limit on failures, and as an event. It returns the reason, or
// limit.Exceeded, which wraps it, for a client over the limit.
func (h *Handler) rejected(r *http.Request, given claim.Token, parsed *token.Parsed, reason error, more ...zap.Field) error {
	h.logRejected(r, given, parsed, reason, more)
	if !given.Found {
		return reason
	}
	if reason, ok := errors.AsType[token.Reason](reason); ok && h.logins != nil && given.From == claim.FromQuery {
		counted.loginFailures[reason].Add(1)
	}
	if h.failures != nil {
		err := h.chargeToken(r, h.credentialOf(r, given, parsed), reason)
		if _, isOver := errors.AsType[*limit.Exceeded](err); isOver {
			return err
		}
	}
	h.audit.rejected(r, reason)
	return reason
}

// logRejected tells an operator who has debug logs on why a request is rejected.
func (h *Handler) logRejected(r *http.Request, given claim.Token, parsed *token.Parsed, reason error, more []zap.Field) {
	c := h.logger.Check(zap.DebugLevel, "token refused")
	if c == nil {
		return
	}
	fields := append([]zap.Field{zap.Error(reason)}, more...)
	if reason, ok := errors.AsType[token.Reason](reason); ok {
		fields = append(fields, zap.Stringer("reason", reason))
	}
	if given.Found {
		fields = append(fields, zap.String("token_from", given.From))
	}
	if parsed != nil && !parsed.PrimaryKey().IsZero() {
		fields = append(fields, zap.Stringer("user", parsed.PrimaryKey()))
		if created, ok := parsed.Created(); ok {
			fields = append(fields, zap.Time("created", created), zap.Duration("age", h.now().Sub(created).Round(time.Second)))
		}
	}
	if parsed != nil && parsed.Version() != 0 {
		fields = append(fields, zap.Stringer("version", parsed.Version()))
	}
	c.Write(append(fields, requestFields(r)...)...)
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

// isPreflight reports whether a browser asks by this request if another may be
// sent (Fetch standard, section 3.2.2, CORS-preflight request).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) > 0 &&
		len(r.Header["Access-Control-Request-Method"]) > 0
}

// passesPreflight reports whether preflight requests go on, as nobody's.
func (h *Handler) passesPreflight() bool {
	if h.Preflight == "" {
		return h.Optional && len(h.Require) == 0
	}
	return h.Preflight == preflightPass
}

// errAhead: the token is valid and for one use, which this request isn't.
var errAhead = errors.New("the request was made ahead of its use")

// isAhead reports whether a request is one that mail scanners, messengers and
// browsers make before anybody has clicked: it doesn't use up a token.
func isAhead(r *http.Request) bool {
	switch r.Method {
	case http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	for _, field := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, value := range r.Header[field] {
			if containsFold(value, "prefetch") || containsFold(value, "prerender") || containsFold(value, "preview") {
				return true
			}
		}
	}
	return false
}

// containsFold is strings.Contains without regard to case.
func containsFold(s, substr string) bool {
	return strings.Contains(strings.ToLower(s), substr)
}

// answerAhead answers a request that was made ahead of the use of a one-time
// token. It doesn't go on to the upstream: with an identity it would be a use,
// and as nobody's it would be a wrong answer. What was asked for ahead must not
// be kept and shown later, since the click must come here.
func answerAhead(w http.ResponseWriter, r *http.Request) error {
	claim.ForbidLinking(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// outageLog writes one line at once when the store has no answer, and then one
// every so often, so that an outage doesn't fill the disk.
type outageLog struct {
	mu      sync.Mutex
	last    time.Time
	omitted int
}

// outageInterval is the least time between two lines of an outage.
const outageInterval = 5 * time.Second

func (o *outageLog) report(logger *zap.Logger, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.last) < outageInterval {
		o.omitted++
		return
	}
	logger.Error("the user store has no answer; requests get 503", zap.Error(err), zap.Int("omitted", o.omitted))
	o.last, o.omitted = time.Now(), 0
}
