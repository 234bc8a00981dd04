package sesame

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/session"
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

// logIn lets a user in whose token is valid: it shows the page with the button,
// or uses the token and starts a session, or just passes the request on.
func (h *Handler) logIn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims, given *authn.TokenCredential, user *userstore.User) error {
	if isAhead(r) {
		return h.serveAhead(w, r, next, given, user)
	}
	from := origin.Of(r)
	current, replaced, err := h.loggedIn(r, c, given, user)
	if err != nil {
		return h.fail(w, r, err)
	}
	isLink := given.IsLink()
	isPressed := c.confirmation.signature != "" && !from.IsFrame && from.Initiator != origin.Other
	asks := isLink && r.Method == http.MethodGet && (replaced != nil || h.asksFirst()) && acceptsHTML(r)
	switch {
	case isPressed && from.Initiator != origin.Opaque && h.isConfirmed(c, given.Given.Value, replaced):
		return h.useToken(w, r, next, c, given, user, login{isConfirmed: true, startsSession: isLink})
	case isPressed && current != nil && replaced == nil:
		// The page was open in two tabs, and the user has logged in by the other.
		counted.requests[outcomeSession].Add(1)
		return seeOther(w, c.loginTarget(r))
	case isPressed:
		// The page was too old, or not ours, or hides its origin, or another user
		// has logged in since.
		return h.askToConfirm(w, r, c, given, user, replaced)
	case from.IsForced(), asks && !asksForPage(r):
		return h.serveAhead(w, r, next, given, user) // also for a script, which shows no page
	case asks:
		return h.askToConfirm(w, r, c, given, user, replaced)
	}
	// Nobody was asked.
	mayReplace := replaced == nil || from.Initiator == origin.Own
	return h.useToken(w, r, next, c, given, user, login{startsSession: isLink && from.MayLogIn() && mayReplace})
}

// login is what becomes of a request whose token is used.
type login struct {
	isConfirmed   bool // it is that of the button
	startsSession bool // where there are sessions
}

// useToken uses a token that is valid, starts a session, and passes the request
// on or leads to the page that the link is for.
func (h *Handler) useToken(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c claims, given *authn.TokenCredential, user *userstore.User, l login) error {
	if traits := given.Traits(); isEarly(r) && (traits.IsConsumed || traits.StartsLogin) {
		return h.fail(w, r, errTooEarly)
	}
	if err := h.use(r, given, user); err != nil {
		return h.serveBesideRejected(w, r, next, c, err)
	}
	if l.isConfirmed {
		h.confirmCookie.Clear(w, r)
	}
	v := h.visitor(authn.Visitor{User: user, Credential: given})
	if h.logins == nil || !l.startsSession {
		if l.isConfirmed {
			turnIntoGet(r)
		}
		return h.serveVisitor(w, r, next, &v)
	}
	h.noteLogin(r.Context(), user)
	if err := h.startSession(w, r, user, c); err != nil {
		return h.fail(w, r, err)
	}
	fingerprint, _ := given.Origin()
	h.audit.login(r, user, fingerprint)
	if l.isConfirmed || r.Method == http.MethodGet && h.logins.redirects(r) {
		counted.requests[outcomeLogin].Add(1)
		return seeOther(w, c.loginTarget(r))
	}
	return h.serveVisitor(w, r, next, &v)
}

// serveAhead answers a request that nobody has clicked for. It logs nobody in.
// A reusable token is as good for it as for any other request.
func (h *Handler) serveAhead(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, given *authn.TokenCredential, user *userstore.User) error {
	if h.OneTime {
		return h.fail(w, r, errAhead)
	}
	v := h.visitor(authn.Visitor{User: user, Credential: given})
	return h.serveVisitor(w, r, next, &v)
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

// loggedIn returns the user whose session a request has, if any, and the same
// user as replaced if it isn't the one that a login is for: whoever sends a user
// their own link could otherwise have them work in the wrong account. A session
// for another scope is replaced, too, since it is in the same cookie.
func (h *Handler) loggedIn(r *http.Request, c claims, given *authn.TokenCredential, user *userstore.User) (current, replaced *userstore.User, err error) {
	if h.logins == nil || !given.IsLink() || len(c.ambient) == 0 {
		return nil, nil, nil
	}
	v, err := h.visitorUnasked(r, c, anybody)
	none, isNone := errors.AsType[*authn.None](err)
	switch {
	case isNone && none.One.User != nil:
		v = h.visitor(none.One)
	case isNone:
		replaced, err = h.loggedInElsewhere(r, none.Rejected, user)
		return nil, replaced, err
	case err != nil:
		return nil, nil, err
	}
	if v.user.PrimaryKey != user.PrimaryKey {
		replaced = v.user
	}
	return v.user, replaced, nil
}

// loggedInElsewhere returns another user who has a session for another scope,
// or nil. Of such a session it isn't known whether a new password has ended it.
func (h *Handler) loggedInElsewhere(r *http.Request, rejected []authn.Rejected, user *userstore.User) (*userstore.User, error) {
	for _, other := range rejected {
		cookie, ok := other.Credential.(*authn.SessionCookie)
		if !ok || !errors.Is(other.Err, session.WrongScope) {
			continue
		}
		key := cookie.Parsed().PrimaryKey()
		if key == user.PrimaryKey || !cookie.Parsed().Expires().After(h.now()) {
			continue
		}
		return h.findUser(r.Context(), key, false, func(*userstore.User) error { return nil })
	}
	return nil, nil
}

// confirmAge is how long the page may be open before the button is pressed.
const confirmAge = time.Hour

// signConfirmation signs the cookie of a browser that has seen the page for a
// token, and which user's session the page said would be replaced.
func (h *Handler) signConfirmation(cookie, token string, replaced *userstore.User) string {
	key := ""
	if replaced != nil {
		key = replaced.PrimaryKey.String()
	}
	return base64.RawURLEncoding.EncodeToString(h.confirmKey.sign(cookie + "\x00" + key + "\x00" + token)[:16])
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

// takeConfirmation takes out of a request what it has of the page. What the
// button sends only counts in a request of the button.
func (h *Handler) takeConfirmation(r *http.Request) confirmation {
	given := confirmation{cookies: h.confirmCookie.Take(r)}
	signature := h.sources.TakeConfirmation(r)
	if r.Method == http.MethodPost {
		given.signature = signature
	}
	return given
}

// isConfirmed reports whether the button was pressed for this token, in a
// browser that was shown it, and told of the session that would be replaced.
func (h *Handler) isConfirmed(c claims, value string, replaced *userstore.User) bool {
	for _, cookie := range c.confirmation.cookies[:min(len(c.confirmation.cookies), authn.MaxCookies)] {
		if cookie != "" && hmac.Equal([]byte(h.signConfirmation(cookie, value, replaced)), []byte(c.confirmation.signature)) {
			return true
		}
	}
	return false
}

// newConfirmValue is a value for the cookie of the page: the one that the
// browser has, so that the page works in several tabs, or a new one.
func (c *confirmation) newConfirmValue() string {
	if i := slices.IndexFunc(c.cookies, isConfirmValue); i >= 0 {
		return c.cookies[i]
	}
	return rand.Text()
}

// isConfirmValue reports whether a value looks like one of rand.Text.
func isConfirmValue(value string) bool {
	isOther := func(c rune) bool { return (c < 'A' || c > 'Z') && (c < '2' || c > '7') }
	return len(value) == 26 && !strings.ContainsFunc(value, isOther)
}

// askToConfirm shows the page with the button. It sends the token and what
// confirms it to the URL of the page itself, so that all that depends on the
// URL, matchers and scope, stays as it is.
func (h *Handler) askToConfirm(w http.ResponseWriter, r *http.Request, c claims, given *authn.TokenCredential, user, replaced *userstore.User) error {
	counted.requests[outcomePage].Add(1)
	value := c.confirmation.newConfirmValue()
	h.confirmCookie.Set(w, r, value, confirmAge)

	uri, separator := ownURI(r), "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	action := uri + separator + url.Values{
		h.sources.Name:        {given.Given.Value},
		h.sources.ConfirmName: {h.signConfirmation(value, given.Given.Value, replaced)},
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

// acceptsHTML reports whether a request prefers HTML, be it for a page or not.
func acceptsHTML(r *http.Request) bool {
	return page.Preferred(r.Header["Accept"]) == page.HTML
}

// turnIntoGet makes the request of the button the one that the link was for.
func turnIntoGet(r *http.Request) {
	r.Method = http.MethodGet
	r.Body, r.ContentLength = http.NoBody, 0
	for _, field := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Origin"} {
		delete(r.Header, field)
	}
}
