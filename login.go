package sesame

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/internal/watch"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// SessionConfig makes a link log a person in: the browser gets a signed cookie
// and is sent to the page without the token. Nothing is stored on the server,
// and the cookie is checked against the user's row with every request: a new
// password, or an account that is deactivated, ends the session.
type SessionConfig struct {
	// The cookie's name. Over HTTPS, without a domain, and with the path `/`,
	// `__Host-` is put in front of it. Default: `sesame`.
	Name string `json:"name,omitempty"`

	// How long after the login a session ends. Default: 12h.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// After how long without a request a session ends. Default: never.
	Idle caddy.Duration `json:"idle,omitempty"`

	// The domain of the cookie, for a session on several of its hosts.
	// Default: the host alone.
	Domain string `json:"domain,omitempty"`

	// The path of the cookie. Default: `/`.
	Path string `json:"path,omitempty"`

	// `lax`, `strict` or `none`. With `strict` a link in an e-mail seems not to
	// log in, since browsers don't send the cookie after a redirect from
	// another site. Default: `lax`.
	SameSite string `json:"same_site,omitempty"`

	// Whether the cookie is for HTTPS only: `on`, `off`, or `auto`, which is
	// what the request came by. Default: `auto`.
	Secure string `json:"secure,omitempty"`

	// Whether a login writes `last_login`, as Django's does. Default: true.
	UpdateLastLogin *bool `json:"update_last_login,omitempty"`

	// Whether a browser is sent to the URL without the token after a login:
	// `on`, `off`, or `safari_off`, as django-sesame does. Default: `on`.
	Redirect string `json:"redirect,omitempty"`

	// Cookies of applications that browsers are told to forget when the session
	// ends: at a logout, and when another user logs in. Without it, an
	// application with a session of its own goes on to show the former user.
	// `sessionid` is a cookie with the path `/`, `sid:/app/` one with another
	// path, and `wordpress_*` all whose name begins so, of those that the request
	// has. Default: none.
	EndCookies []string `json:"end_cookies,omitempty"`
}

// cookie is the configuration of the session's cookie.
func (cfg *SessionConfig) cookie() cookie.Config {
	return cookie.Config{Name: cfg.Name, Domain: cfg.Domain, Path: cfg.Path, SameSite: cfg.SameSite, Secure: cfg.Secure}
}

// The values of SessionConfig.Redirect.
const (
	redirectOn        = "on"
	redirectOff       = "off"
	redirectSafariOff = "safari_off"
)

// logins makes and checks sessions.
type logins struct {
	cookie          cookie.Cookie
	ending          cookie.Ending // of applications
	redirect        string
	updateLastLogin bool
	settings        session.Settings // without the encoding
}

func newLogins(cfg *SessionConfig) (*logins, error) {
	l := &logins{redirect: cfg.Redirect, updateLastLogin: cfg.UpdateLastLogin == nil || *cfg.UpdateLastLogin}
	var err error
	if l.cookie, err = cookie.New(cfg.cookie()); err != nil {
		return nil, setting.In("session", err)
	}
	if l.ending, err = cookie.ParseEnding(cfg.EndCookies, &l.cookie); err != nil {
		return nil, setting.In("session", err)
	}
	switch l.redirect {
	case "":
		l.redirect = redirectOn
	case redirectOn, redirectOff, redirectSafariOff:
	default:
		return nil, setting.Errorf("session: redirect", "session: redirect %q: it must be on, off or safari_off", l.redirect)
	}
	l.settings = session.Settings{MaxAge: time.Duration(cfg.MaxAge), Idle: time.Duration(cfg.Idle)}
	return l, nil
}

// credentials are what tells tokens and sessions, made once the store knows
// its table.
type credentials struct {
	tokens   *token.Tokens
	sessions *session.Sessions // nil without sessions
}

// sessionsFor makes the sessions that go with tokens.
func (h *Handler) sessionsFor(tokens *token.Tokens) (*session.Sessions, error) {
	if h.logins == nil {
		return nil, nil
	}
	made := tokens.Settings()
	settings := h.logins.settings
	settings.SecretKey, settings.SecretKeyFallbacks = made.SecretKey, made.SecretKeyFallbacks
	settings.Encoding = made.Encoding
	settings.Audience = strings.Join([]string{cmp.Or(h.UserStore.Table, userstore.DefaultTable), h.UserStore.Columns.PrimaryKey, made.PrimaryKeyField, made.Key}, "\x00")
	sessions, err := session.New(settings)
	if err != nil {
		return nil, setting.In("session", err)
	}
	return sessions, nil
}

// startSession sets the cookie of a user who logs in. Sessions of applications
// end, unless the browser had one of the same user.
func (h *Handler) startSession(w http.ResponseWriter, r *http.Request, user *userstore.User, c claims) error {
	made, err := h.credentials(r.Context())
	if err != nil {
		return err
	}
	value, err := made.sessions.Create(user.PrimaryKey, user.User, authn.BoundScope(h.logins.cookie.Site(r), c.at.Scope), h.now())
	if err != nil {
		return fmt.Errorf("making a session: %w", err)
	}
	counted.logins.Add(1)
	sent, err := authn.SentSessions(r.Context(), c.ambient, c.at)
	if err != nil {
		return err
	}
	if !sent.IsOnlyOf(user.PrimaryKey) {
		h.logins.ending.Expire(w, r)
	}
	for _, replaced := range append(sent.Valid, sent.OtherScope...) {
		if replaced.PrimaryKey() != user.PrimaryKey {
			watch.EndSession(h.watched(&replaced))
		}
	}
	if sessionsIn(c.ambient) > 1 {
		h.logins.cookie.ClearAll(w, r) // what other hosts have set would be sent beside this one
	}
	h.logins.cookie.Set(w, r, value, made.sessions.Settings().MaxAge)
	return nil
}

// renewSession sets the cookie anew where that is due.
func (h *Handler) renewSession(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if v.session == nil {
		return nil
	}
	made, err := h.credentials(r.Context())
	if err != nil {
		return err
	}
	now := h.now()
	value, renewed := made.sessions.Renew(v.session, v.user.User, now)
	if !renewed {
		return nil
	}
	w.Header().Add("Cache-Control", "private") // no cache that others share may hand it on
	end := v.session.Issued().Add(made.sessions.Settings().MaxAge)
	h.logins.cookie.Set(w, r, value, end.Sub(now))
	return nil
}

// noteLogin writes the time of a login, as Django does, unless the token was
// for one use, which has written it. A store that can't is no reason to keep
// somebody out whose token holds.
func (h *Handler) noteLogin(ctx context.Context, user *userstore.User) {
	if !h.logins.updateLastLogin || h.OneTime {
		return
	}
	// Whoever changes the row at the same time has written a login, too.
	err := h.store.Consume(ctx, user, h.now())
	if err != nil && !errors.Is(err, userstore.ErrConsumed) {
		h.logger.Warn("last_login could not be written", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
	}
}

// redirects reports whether a browser is sent to the URL without the token.
//
// django-sesame doesn't do it on Safari, whose Intelligent Tracking Prevention
// 2.0 (2018) was seen to drop the cookie, as if the redirect were a tracker's
// bounce. But WebKit's published rules are about redirects from one registrable
// domain to another ("Tracking Prevention in WebKit": a site is an eTLD+1,
// and bounces are cross-site navigations), and count only domains that nobody
// interacts with. A redirect within a site isn't that, so on is the default,
// and safari_off is there for whoever sees otherwise.
func (l *logins) redirects(r *http.Request) bool {
	switch l.redirect {
	case redirectOff:
		return false
	case redirectSafariOff:
		return !isSafari(r.UserAgent())
	default:
		return true
	}
}

// isSafari reports whether a user agent is Safari, or any browser of iOS, all
// of which share its engine.
func isSafari(agent string) bool {
	if strings.Contains(agent, "iPhone") || strings.Contains(agent, "iPad") || strings.Contains(agent, "iPod") {
		return true
	}
	if !strings.Contains(agent, "Safari/") {
		return false
	}
	for _, other := range []string{"Chrome/", "Chromium/", "Edg", "OPR/", "Android"} {
		if strings.Contains(agent, other) {
			return false
		}
	}
	return true
}

// asksForPage reports whether a request is one for a page, as browsers make it
// when they navigate.
func asksForPage(r *http.Request) bool {
	return page.Wanted(r) == page.HTML
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
