package sesame

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The values of Handler.Confirm.
const (
	confirmAlways  = "always"
	confirmOneTime = "one_time"
	confirmOff     = "off"
)

// confirmation is what a request has of the page with the button.
type confirmation struct {
	signature string   // what the button sends; empty if it wasn't pressed
	cookies   []string // of browsers that were shown the page
}

// logIn lets a user in whose token holds: it shows the page with the button,
// or uses the token and starts a session, or just passes the request on.
func (h *Handler) logIn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims, user *userstore.User) error {
	isConfirmed := h.isConfirmed(c)
	if isAhead(r) || isPlanted(r) && !isConfirmed {
		return h.serveAhead(w, r, next, user)
	}
	isLink := c.token.From == claim.FromQuery
	if isLink && r.Method == http.MethodGet && acceptsHTML(r) {
		replaced, err := h.replacedBy(r, c, user)
		if err != nil {
			return h.fail(w, r, err)
		}
		if replaced != nil || h.asksFirst() {
			return h.askToConfirm(w, r, c, user, replaced)
		}
	}
	if c.confirmation.signature != "" && !isConfirmed {
		return h.askToConfirm(w, r, c, user, nil) // the page was too old, or not ours
	}

	if isEarly(r) && (h.OneTime || h.logins != nil && isLink) {
		return h.fail(w, r, errTooEarly)
	}
	if err := h.use(r, c, user); err != nil {
		return h.serveBesideToken(w, r, next, c, err)
	}
	if isConfirmed {
		h.confirmCookie.Clear(w, r)
	}
	v := &visitor{user: user}
	if h.watcher != nil && h.UserStore.Revocations != "" {
		v.fingerprint, v.since = h.fingerprint(r, c)
	}
	if h.logins == nil || !isLink {
		if isConfirmed {
			turnIntoGet(r)
		}
		return h.serveVisitor(w, r, next, v)
	}
	h.noteLogin(r.Context(), user)
	if err := h.startSession(w, r, user, c.scope); err != nil {
		return h.fail(w, r, err)
	}
	fingerprint, _ := h.fingerprint(r, c)
	h.audit.login(r, user, fingerprint)
	if isConfirmed || r.Method == http.MethodGet && h.logins.redirects(r) {
		counted.requests[outcomeLogin].Add(1)
		return seeOther(w, c.loginTarget(r))
	}
	return h.serveVisitor(w, r, next, v)
}

// serveAhead answers a request that nobody has clicked for. It logs nobody in.
// A reusable token is as good for it as for any other request.
func (h *Handler) serveAhead(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, user *userstore.User) error {
	if h.OneTime {
		return h.fail(w, r, errAhead)
	}
	return h.serveVisitor(w, r, next, &visitor{user: user})
}

// asksFirst reports whether every link has to be confirmed.
func (h *Handler) asksFirst() bool {
	switch h.Confirm {
	case confirmAlways:
		return true
	case confirmOff:
		return false
	default:
		return h.OneTime
	}
}

// replacedBy returns the user whose session a login would replace, or nil if
// it is nobody's, or the same user's. Whoever sends somebody their own link
// could otherwise have them work in the wrong account.
func (h *Handler) replacedBy(r *http.Request, c claims, user *userstore.User) (*userstore.User, error) {
	if h.logins == nil {
		return nil, nil
	}
	v, err := h.visitorBySession(r, c, anybody)
	switch {
	case errors.Is(err, errNoSession):
		return nil, nil
	case err != nil:
		return nil, err
	case v.user.PrimaryKey == user.PrimaryKey:
		return nil, nil
	}
	return v.user, nil
}

// confirmAge is how long the page may be open before the button is pressed.
const confirmAge = time.Hour

// signConfirmation signs the cookie of a browser that has seen the page for a
// token.
func (h *Handler) signConfirmation(cookie, token string) string {
	return base64.RawURLEncoding.EncodeToString(h.confirmKey.sign(cookie + "\x00" + token)[:16])
}

// newConfirmCookie makes the cookie that the page sets. Only the browser that
// was shown the page has it: no other site can press the button for its
// visitors.
func newConfirmCookie(cfg *SessionConfig) (cookie.Cookie, error) {
	confirm := cookie.Config{Name: cookie.DefaultName}
	if cfg != nil {
		confirm.Name, confirm.Secure = cmp.Or(cfg.Name, confirm.Name), cfg.Secure
	}
	confirm.Name += "-confirm"
	return cookie.New(confirm)
}

// takeConfirmation takes out of the request what it has of the page.
func (h *Handler) takeConfirmation(r *http.Request) confirmation {
	given := confirmation{cookies: h.confirmCookie.Take(r)}
	name := h.sources.ConfirmName
	if !rawuri.HasParameter(r.URL.RawQuery, name) {
		return given
	}
	signature, _ := claim.TakeParameter(r, name)
	if r.Method == http.MethodPost {
		given.signature = signature
	}
	return given
}

// isConfirmed reports whether the button was pressed for this token, in the
// browser that was shown it.
func (h *Handler) isConfirmed(c claims) bool {
	if c.confirmation.signature == "" {
		return false
	}
	for _, value := range c.confirmation.cookies {
		if value != "" && hmac.Equal([]byte(h.signConfirmation(value, c.token.Value)), []byte(c.confirmation.signature)) {
			return true
		}
	}
	return false
}

// askToConfirm shows the page with the button. It sends the token and what
// confirms it to the URL of the page itself, so that all that depends on the
// URL, matchers and scope, stays as it is.
func (h *Handler) askToConfirm(w http.ResponseWriter, r *http.Request, c claims, user, replaced *userstore.User) error {
	counted.requests[outcomePage].Add(1)
	value := rand.Text()
	h.confirmCookie.Set(w, r, value, confirmAge)

	uri, separator := ownURI(r), "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	action := uri + separator + url.Values{
		h.sources.Name:        {c.token.Value},
		h.sources.ConfirmName: {h.signConfirmation(value, c.token.Value)},
	}.Encode()
	shown := page.Data{Kind: page.Confirm, Action: action, User: displayName(user)}
	if replaced != nil {
		shown.Kind, shown.Current = page.Switch, displayName(replaced)
	}
	return h.pages.Write(w, r, http.StatusOK, shown)
}

// displayName is what people know a user by.
func displayName(user *userstore.User) string {
	for _, column := range []string{"username", "email"} {
		if name, _ := user.Column(column); name != "" {
			return name
		}
	}
	return user.PrimaryKey.String()
}

// turnIntoGet makes the request of the button the one that the link was for.
func turnIntoGet(r *http.Request) {
	r.Method = http.MethodGet
	r.Body, r.ContentLength = http.NoBody, 0
	for _, field := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Origin"} {
		delete(r.Header, field)
	}
}
