package sesame

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// refusal is an answer of the gateway's own, in the place of the upstream's.
type refusal struct {
	status int
	page   page.Data
}

// errorPlaceholder is the placeholder of the page's name, for the error
// routes.
const errorPlaceholder = "http.auth.sesame.error"

// retryAfter is how many seconds a client should wait for MySQL to come back.
const retryAfter = 2

// refuse answers a request whose token doesn't hold, or that has none. err is
// the reason, or wraps it.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, reason token.Reason, err error) error {
	counted.refuse(reason)
	h.warnOfHelp(r)
	answer := refusal{status: http.StatusUnauthorized, page: page.Data{Kind: page.Kind(reason.Public()), HelpURL: h.helpURL(r)}}
	if expired, ok := errors.AsType[*expiredLink](err); ok {
		answer.page.User, answer.page.HelpURL = expired.name, expired.helpURL
	}
	w.Header().Set("WWW-Authenticate", h.challenge(answer))
	return h.answer(w, r, answer)
}

// refuseForNow answers a request that can't be checked.
func (h *Handler) refuseForNow(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	return h.answer(w, r, refusal{status: http.StatusServiceUnavailable, page: page.Data{Kind: page.Unavailable}})
}

// challenge is the value of WWW-Authenticate, as in RFC 6750, section 3: no
// error where the request had no token.
func (h *Handler) challenge(answer refusal) string {
	challenge := "Bearer"
	if h.Realm != "" {
		challenge += " realm=" + quotedString(h.Realm)
	}
	if answer.page.Kind == page.Missing {
		return challenge
	}
	if h.Realm != "" {
		challenge += ","
	}
	if answer.page.Kind == page.Forbidden {
		return challenge + ` error="insufficient_scope", error_description="The user may not do this"`
	}
	return fmt.Sprintf(`%s error="invalid_token", error_description="The token is %s"`, challenge, answer.page.Kind)
}

// quotedString is RFC 9110's, section 5.6.4.
func quotedString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// answer answers through the server's error routes, or with a small page where
// none of them does. It doesn't return an error to Caddy: see internal/accesslog.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, answer refusal) error {
	claim.ForbidLinking(w.Header())
	write := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return h.pages.Write(w, r, answer.status, answer.page)
	})
	if accesslog.IsErrorRoute(r.Context()) {
		return write(w, r) // the error routes would come back here
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(errorPlaceholder, string(answer.page.Kind))
	}
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	err := caddyhttp.Error(answer.status, errors.New("sesame: "+string(answer.page.Kind)))
	if accesslog.ServeErrorRoutes(server, w, r, err, write) != nil {
		return write(w, r)
	}
	return nil
}
