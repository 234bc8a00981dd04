package sesame

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// ServeHTTP authenticates the request and passes it on, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !h.sources.isExposed(r) {
		h.identity.remove(r)
		return h.serve(w, r, next)
	}
	exposed, w := newExposed(h.logs, h.sources, w, r)
	defer exposed.writeAccessLine(r)
	h.identity.remove(r)
	if err := h.serve(w, r, next); err != nil {
		exposed.handleError(w, r, err)
	}
	return nil
}

// serve takes the token out of the request, and decides by it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	presented := h.sources.take(r)
	if h.passesAnonymous(r, presented) {
		return next.ServeHTTP(w, r)
	}

	user, err := h.authenticate(r, presented)
	var reason token.Reason
	switch {
	case errors.As(err, &reason):
		return h.refuse(w, r, reason)
	case errors.Is(err, errAhead):
		return answerAhead(w, r)
	case err != nil && r.Context().Err() != nil:
		w.WriteHeader(statusClientClosed)
		return nil
	case err != nil:
		h.outages.report(h.logger, err)
		return unavailable.serve(w, r)
	}
	h.identity.set(r, user, h.logger)
	return next.ServeHTTP(w, r)
}

// statusClientClosed is what Caddy logs for a client that went away.
const statusClientClosed = 499

// authenticate finds the user whose token it is. The error is a token.Reason,
// errAhead, or says why the store has no answer.
func (h *Handler) authenticate(r *http.Request, presented presented) (*userstore.User, error) {
	if !presented.found {
		return nil, h.rejected(r, presented, nil, token.Missing)
	}
	ctx := r.Context()
	tokens, err := h.tokensFor(ctx)
	if err != nil {
		return nil, err
	}
	scope, err := h.scopeOf(r)
	if err != nil {
		return nil, h.rejected(r, presented, nil, err)
	}
	now := h.now()
	parsed, err := tokens.Parse(presented.token, token.Expectation{Scope: scope, Now: now})
	if err != nil {
		return nil, h.rejected(r, presented, &parsed, err)
	}
	user, err := h.store.Lookup(ctx, parsed.PrimaryKey())
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return nil, h.rejected(r, presented, &parsed, token.UnknownUser)
	case err != nil:
		return nil, err
	case !user.IsActive:
		return nil, h.rejected(r, presented, &parsed, token.InactiveUser)
	}
	if err := tokens.Verify(&parsed, user.User); err != nil {
		return nil, h.rejected(r, presented, &parsed, err)
	}
	if !h.OneTime {
		return user, nil
	}

	if isAhead(r) {
		return nil, errAhead
	}
	err = h.store.Consume(ctx, user, now)
	if errors.Is(err, userstore.ErrConsumed) {
		return nil, h.rejected(r, presented, &parsed, token.Consumed)
	}
	return user, err
}

// scopeOf is the scope that a request's token must have. A template that
// comes out empty would ask for the default scope, whose tokens are not meant
// for this.
func (h *Handler) scopeOf(r *http.Request) (string, error) {
	if !strings.Contains(h.Scope, "{") {
		return h.Scope, nil
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	scope := repl.ReplaceAll(h.Scope, "")
	if scope == "" {
		return "", token.NoScope
	}
	return scope, nil
}

// rejected tells an operator who has debug logs on why a request is refused,
// and returns the reason.
func (h *Handler) rejected(r *http.Request, presented presented, parsed *token.Parsed, reason error) error {
	c := h.logger.Check(zap.DebugLevel, "token refused")
	if c == nil {
		return reason
	}
	fields := []zap.Field{zap.Error(reason)}
	if reason, ok := reason.(token.Reason); ok { //nolint:errorlint // Parse and Verify don't wrap it
		fields = append(fields, zap.Stringer("reason", reason))
	}
	if presented.found {
		fields = append(fields, zap.String("token_from", presented.from))
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
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	fields = append(fields,
		zap.String("client_ip", client),
		zap.String("method", r.Method),
		zap.String("host", r.Host),
		zap.String("path", r.URL.Path),
	)
	c.Write(fields...)
	return reason
}

// isPreflight reports whether a browser asks by this request if another may be
// sent (Fetch standard, section 3.2.2, CORS-preflight request).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) > 0 &&
		len(r.Header["Access-Control-Request-Method"]) > 0
}

// passesAnonymous reports whether a request goes on as nobody's.
func (h *Handler) passesAnonymous(r *http.Request, presented presented) bool {
	if isPreflight(r) && h.Preflight != "" {
		return h.Preflight == preflightPass
	}
	return h.Optional && (!presented.found || isPreflight(r))
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
	forbidLinking(w.Header())
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
