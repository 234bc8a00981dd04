package sesame

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/watch"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Handler.ReservedPath.
const (
	defaultReservedPath = "/_sesame/"
	reservedOff         = "off"
)

// The pages below the reserved path.
const (
	reservedLogin  = "login"
	reservedLogout = "logout"
	reservedWhoami = "whoami"
	reservedKeySet = "jwks.json"
)

// nextParameter is the query parameter that says where to go after a login or
// logout, as in Django.
const nextParameter = "next"

// reservedPage is the page below the reserved path that a request is for, or
// empty.
func (h *Handler) reservedPage(r *http.Request) string {
	if h.logins == nil && h.assertions == nil {
		return ""
	}
	prefix := h.ReservedPath
	switch prefix {
	case "":
		prefix = defaultReservedPath
	case reservedOff:
		return ""
	}
	page, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok {
		return ""
	}
	switch {
	case h.logins == nil && page != reservedKeySet:
		return "" // all others are about logins
	case page == "":
		return "/" // nothing is there, but it is ours
	}
	return page
}

// serveReserved answers a request below the reserved path. None goes on to the
// upstream.
func (h *Handler) serveReserved(w http.ResponseWriter, r *http.Request, page string, c claims) error {
	if page == reservedKeySet && h.assertions != nil {
		return h.serveKeySet(w, r)
	}
	claim.ForbidLinking(w.Header())
	switch page {
	case reservedLogin:
		return h.serveLogin(w, r, c)
	case reservedLogout:
		return h.serveLogout(w, r, c)
	case reservedWhoami:
		return h.serveWhoami(w, r, c)
	default:
		counted.requests[outcomePage].Add(1)
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
}

// serveLogin logs in by a link that names the page to go to, like
// django-sesame's LoginView. The scope is that of the page.
func (h *Handler) serveLogin(w http.ResponseWriter, r *http.Request, c claims) error {
	c.target = h.nextOf(r, "/")
	scope, err := h.scope.OfTarget(r, c.target)
	if err != nil {
		return h.fail(w, r, h.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: h.now()}
	toTarget := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		return seeOther(w, c.target)
	})
	return h.serveClaims(w, r, toTarget, c)
}

// nextOf is the page of this site that next leads to, without a token, or the
// fallback.
func (h *Handler) nextOf(r *http.Request, fallback string) string {
	next := rawuri.OwnTarget(r.URL.Query().Get(nextParameter), fallback)
	return h.sources.Clean(next)
}

// serveLogout ends the session of a browser that asks for it with the button
// of a page of this site.
func (h *Handler) serveLogout(w http.ResponseWriter, r *http.Request, c claims) error {
	counted.requests[outcomePage].Add(1)
	next := h.nextOf(r, "")
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return h.pages.Write(w, r, http.StatusOK, page.Data{Kind: page.Logout, Action: logoutAction(next)})
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	case origin.Of(r).IsOther():
		if asksForPage(r) { // the button on it works, wherever the page before was from
			return h.pages.Write(w, r, http.StatusForbidden, page.Data{Kind: page.Logout, Action: logoutAction(next)})
		}
		w.WriteHeader(http.StatusForbidden)
		return nil
	}
	h.endSession(w, r, c)
	if next != "" {
		return seeOther(w, next)
	}
	return h.pages.Write(w, r, http.StatusOK, page.Data{Kind: page.LoggedOut})
}

// logoutAction is where the button for logging out leads.
func logoutAction(next string) string {
	if next == "" {
		return "?"
	}
	return "?" + url.Values{nextParameter: {next}}.Encode()
}

// endSession makes a browser forget its session, and what applications have of
// the user, and ends the responses that are open in the session.
func (h *Handler) endSession(w http.ResponseWriter, r *http.Request, c claims) {
	h.logins.ending.Expire(w, r)
	if sessionsIn(c.ambient) == 0 {
		return
	}
	counted.logouts.Add(1)
	sent := h.endedSessions(r, c)
	user := token.PrimaryKey{}
	if len(sent) > 0 {
		user = sent[0].PrimaryKey()
	}
	h.audit.logout(r, user)
	for i := range sent {
		watch.EndSession(h.watched(&sent[i]))
	}
	if sessionsIn(c.ambient) > 1 {
		h.logins.cookie.ClearAll(w, r)
	} else {
		h.logins.cookie.Clear(w, r)
	}
}

// endedSessions are the sessions of a request that logs out, for whichever
// scope: none where the store must first say how keys are written.
func (h *Handler) endedSessions(r *http.Request, c claims) []session.Parsed {
	sent, err := authn.SentSessions(r.Context(), c.ambient, authn.At{Now: h.now()})
	if err != nil {
		return nil
	}
	return append(sent.Valid, sent.OtherScope...)
}

// whoami is what whoami tells.
type whoami struct {
	ID       string     `json:"id"`
	Username string     `json:"username,omitempty"`
	Email    string     `json:"email,omitempty"`
	Groups   []string   `json:"groups,omitzero"`
	By       string     `json:"authenticated_by"`
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
}

// serveWhoami tells a script of the site who the user is. It uses no token up.
func (h *Handler) serveWhoami(w http.ResponseWriter, r *http.Request, c claims) error {
	r.Header["Accept"] = []string{"application/json"} // for refusals, too
	scope, err := h.scope.Of(r)
	if err != nil {
		return h.fail(w, r, h.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: h.now()}
	v, err := h.visitorUnasked(r, c, h.meets)
	if errors.Is(err, authn.ErrNone) && len(c.explicit) > 0 {
		v, err = h.visitorExplicit(r, c)
	}
	switch {
	case errors.Is(err, authn.ErrNone):
		return h.fail(w, r, h.rejected(r, c.token(), token.Missing))
	case err != nil:
		return h.fail(w, r, err)
	}
	counted.requests[outcomePage].Add(1)
	told := whoami{ID: v.user.PrimaryKey.String(), Username: v.user.Username, By: v.scheme}
	told.Email, _ = v.user.Column("email")
	if v.user.Reads().Groups {
		told.Groups = append([]string{}, v.user.Groups()...) // an empty list, not none
	}
	if v.session != nil {
		since, until := v.session.Issued(), v.session.Expires()
		told.Since, told.Until = &since, &until
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	return json.NewEncoder(w).Encode(told)
}

// visitorExplicit finds the user of a request by what was sent on purpose.
func (h *Handler) visitorExplicit(r *http.Request, c claims) (visitor, error) {
	v, err := h.authn.Explicit(r, c.explicit, c.at, h.meets)
	if err != nil {
		return visitor{}, h.forbid(r, c.token(), err)
	}
	return h.visitor(v), nil
}

// keySetAge is for how long others may keep the key set.
const keySetAge = "public, max-age=300"

// serveKeySet tells whoever asks by which keys assertions are verified.
func (h *Handler) serveKeySet(w http.ResponseWriter, r *http.Request) error {
	counted.requests[outcomePage].Add(1)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	header := w.Header()
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Cache-Control", keySetAge)
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(h.assertions.KeySet())
	return err
}
