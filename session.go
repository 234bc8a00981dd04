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
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/sessionlist"
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

	// Whether the cookie is for HTTPS only: `on`, `off`, or `auto`, which follows
	// the request. Default: `auto`.
	Secure string `json:"secure,omitempty"`

	// Whether browsers keep the cookie apart for each site that has the application in
	// a frame (CHIPS). Only with `same_site none`. Default: false.
	Partitioned bool `json:"partitioned,omitempty"`

	// Whether requests with the session that may change something must come from a page
	// of this origin: those with methods other than GET, HEAD, OPTIONS and TRACE, and
	// WebSockets. Others are rejected with 403. Default: true with `same_site none`,
	// and otherwise false, since browsers then send no cookie with requests of other
	// sites.
	CheckOrigin *bool `json:"check_origin,omitempty"`

	// The table that sessions are also in, so that users see where they are logged in,
	// and a session can be ended on the server. It is made with the statement that
	// `caddy sesame check --create` prints. Default: none.
	Table string `json:"table,omitempty"`

	// Whether a login writes `last_login`, as Django's does. Default: true.
	UpdateLastLogin *bool `json:"update_last_login,omitempty"`

	// Whether a browser is sent to the URL without the token after a login:
	// `on`, `off`, or `safari_off`, as django-sesame does. Default: `on`.
	Redirect string `json:"redirect,omitempty"`

	// Cookies of applications that browsers are told to forget when the session
	// ends: at a logout, and when another user logs in. Without it, an application
	// with a session of its own goes on to show the former user. `sessionid` is a
	// cookie with the path `/`, `sid:/app/` one with another path, and `wordpress_*`
	// all cookies of the request whose names begin so. Default: none.
	EndCookies []string `json:"end_cookies,omitempty"`

	// What else browsers are told to clear then, in the field Clear-Site-Data:
	// `storage` is what pages have stored, with their service workers, and `cache`
	// what the browser has of the site. Single-page applications keep tokens of
	// their own there, and would go on to show the former user. Only over HTTPS.
	// Default: none.
	ClearSiteData []string `json:"clear_site_data,omitempty"`
}

// sessionOption is the session option with its block.
func sessionOption(to **SessionConfig) directive.Option {
	cfg := new(SessionConfig)
	return directive.Block(func() { *to = cfg }, directive.Options{
		"name":              directive.Text(&cfg.Name, "the name of a cookie"),
		"max_age":           directive.Duration(&cfg.MaxAge),
		"idle":              directive.Duration(&cfg.Idle),
		"domain":            directive.Text(&cfg.Domain, "a domain"),
		"path":              directive.Text(&cfg.Path, "a path"),
		"same_site":         directive.Text(&cfg.SameSite, "lax, strict or none"),
		"secure":            directive.Text(&cfg.Secure, "auto, on or off"),
		"partitioned":       directive.Switch(&cfg.Partitioned),
		"check_origin":      directive.SwitchPointer(&cfg.CheckOrigin),
		"table":             directive.Text(&cfg.Table, "the name of a table"),
		"update_last_login": directive.SwitchPointer(&cfg.UpdateLastLogin),
		"redirect":          directive.Text(&cfg.Redirect, "on, off or safari_off"),
		"end_cookies":       directive.Texts(&cfg.EndCookies, "names of cookies"),
		"clear_site_data":   directive.Texts(&cfg.ClearSiteData, "storage or cache"),
	}).Example("max_age 7d")
}

// cookie is the configuration of the session's cookie.
func (cfg *SessionConfig) cookie() cookie.Config {
	return cookie.Config{Name: cfg.Name, Domain: cfg.Domain, Path: cfg.Path, SameSite: cfg.SameSite, Secure: cfg.Secure, Partitioned: cfg.Partitioned}
}

// The values of SessionConfig.Redirect.
const (
	redirectOn        = "on"
	redirectOff       = "off"
	redirectSafariOff = "safari_off"
)

// logins makes and checks sessions.
type logins struct {
	g               *gate
	cookie          cookie.Cookie
	scheme          *authn.Session // nil where logins begin sessions of Django's
	ending          cookie.Ending  // of what applications have in browsers
	redirect        string
	updateLastLogin bool
}

// newLogins makes the logins of a configuration. cfg is nil if only django_session
// is on.
func newLogins(cfg *SessionConfig) (*logins, error) {
	if cfg == nil {
		cfg = new(SessionConfig)
	}
	l := &logins{redirect: cfg.Redirect, updateLastLogin: cfg.UpdateLastLogin == nil || *cfg.UpdateLastLogin}
	var err error
	if l.cookie, err = cookie.New(cfg.cookie()); err != nil {
		return nil, setting.In("session", err)
	}
	if l.ending, err = cookie.ParseEnding(cfg.EndCookies, cfg.ClearSiteData, &l.cookie); err != nil {
		return nil, setting.In("session", err)
	}
	switch l.redirect {
	case "":
		l.redirect = redirectOn
	case redirectOn, redirectOff, redirectSafariOff:
	default:
		return nil, setting.Errorf("session: redirect", "session: redirect %q: it must be on, off or safari_off", l.redirect)
	}
	return l, nil
}

// newSessionScheme makes the scheme of the gateway's own sessions.
func (g builder) newSessionScheme() *authn.Session {
	return &authn.Session{
		Cookie: &g.logins.cookie,
		Keys: func(ctx context.Context) (*session.Sessions, error) {
			made, err := g.keys(ctx)
			if err != nil {
				return nil, err
			}
			return made.sessions, nil
		},
		NeedsOrigin: g.config.Session.checksOrigin(),
	}
}

// checksOrigin reports whether pages of other origins may not act as the session's
// user.
func (cfg *SessionConfig) checksOrigin() bool {
	if cfg.CheckOrigin == nil {
		return strings.EqualFold(cfg.SameSite, "none")
	}
	return *cfg.CheckOrigin
}

// listSessions makes the list of the gateway's own sessions, if there is a table.
func (g builder) listSessions(env *authn.Environment) {
	if table := tableOf(g.config); table != "" {
		g.logins.scheme.List = authn.NewSessionList(table, env)
		g.reserved.sessions = &sessionlist.Page{Pages: g.pages, List: g.logins.scheme.List, Now: g.now}
	}
}

// tableOf is the table that the gateway's own sessions are in; empty for none.
func tableOf(h *Handler) string {
	if !hasOwnSession(h) {
		return ""
	}
	return h.Session.Table
}

// keys verify tokens and sessions. They are made once the store knows its table.
type keys struct {
	tokens   *token.Tokens
	sessions *session.Sessions // nil without sessions
}

// makeKeys makes the keys, which verify tokens and sessions.
func (g *gate) makeKeys(settings token.Settings) error {
	tokens, err := token.New(settings)
	if err != nil {
		return err
	}
	sessions, err := g.config.sessionsFor(tokens)
	if err != nil {
		return err
	}
	g.made.Store(&keys{tokens: tokens, sessions: sessions})
	return nil
}

// sessionsFor makes the sessions that go with tokens.
func (h *Handler) sessionsFor(tokens *token.Tokens) (*session.Sessions, error) {
	if !hasOwnSession(h) {
		return nil, nil
	}
	made := tokens.Settings()
	settings := session.Settings{MaxAge: time.Duration(h.Session.MaxAge), Idle: time.Duration(h.Session.Idle), Remember: remember(h)}
	if h.Login != nil {
		settings.Remember = time.Duration(h.Login.Remember)
	}
	settings.SecretKey, settings.SecretKeyFallbacks = made.SecretKey, made.SecretKeyFallbacks
	settings.Encoding = made.Encoding
	settings.Audience = strings.Join([]string{cmp.Or(h.UserStore.Table, userstore.DefaultTable), h.UserStore.Columns.PrimaryKey, made.PrimaryKeyField, made.Key}, "\x00")
	sessions, err := session.New(settings)
	if err != nil {
		return nil, setting.In("session", err)
	}
	return sessions, nil
}

// remember is how long the session of a user lasts who asks to be remembered; 0 if
// the login page doesn't offer it.
func remember(h *Handler) time.Duration {
	if h.Login == nil {
		return 0
	}
	return time.Duration(h.Login.Remember)
}

// start sets the cookie of a user who logs in, for a session of a length. Sessions
// of applications end, unless the browser had one of the same user.
func (l *logins) start(w http.ResponseWriter, r *http.Request, user *userstore.User, c taken, length session.Length) error {
	if writesDjango(l.g.config) {
		return l.startDjango(w, r, user, c, length)
	}
	made, err := l.g.keys(r.Context())
	if err != nil {
		return err
	}
	now := l.g.now()
	login := session.Login{
		PrimaryKey: user.PrimaryKey, User: user.User, Scope: authn.BoundScope(l.cookie.Site(r), c.at.Scope), Length: length, Time: now,
	}
	if l.scheme.List != nil {
		login.ID = session.NewID()
	}
	value, err := made.sessions.Begin(login)
	if err != nil {
		return fmt.Errorf("making a session: %w", err)
	}
	sent, err := authn.SentSessions(r.Context(), c.ambient, c.at)
	if err != nil {
		return err
	}
	if l.scheme.List != nil {
		if err := l.scheme.List.Begin(r, user, login, l.cookie.Site(r), made.sessions.Settings(), sent); err != nil {
			return err
		}
	}
	l.g.counts.logins.Add(1)
	if !sent.IsOnlyOf(user.PrimaryKey) {
		l.ending.Expire(w, r)
	}
	for _, replaced := range append(sent.Valid, sent.OtherScope...) {
		if id := replaced.ID(); replaced.PrimaryKey() != user.PrimaryKey || !id.IsZero() {
			watch.EndSession(l.watched(&replaced))
		}
	}
	switch given := sessionsIn(c.ambient); {
	case given > 1:
		l.cookie.ClearAll(w, r) // cookies that other hosts have set would be sent beside this one
	case given == 1 && l.cookie.IsPartitioned():
		l.cookie.Clear(w, r) // and so would one from before the cookie was partitioned
	}
	l.setCookie(w, r, value, made.sessions, setFor{length: length, issued: now, now: now})
	return nil
}

// setFor says for which session a cookie is set, and when.
type setFor struct {
	length      session.Length
	issued, now time.Time
}

// setCookie sets the cookie of a session for as long as the session may last, or
// until the browser is closed.
func (l *logins) setCookie(w http.ResponseWriter, r *http.Request, value string, sessions *session.Sessions, of setFor) {
	if of.length == session.Shared {
		l.cookie.SetUntilClosed(w, r, value)
		return
	}
	settings := sessions.Settings()
	maxAge, _ := settings.Limits(of.length)
	l.cookie.Set(w, r, value, of.issued.Add(maxAge).Sub(of.now))
}

// startDjango does what start does if a login begins a session of Django's.
func (l *logins) startDjango(w http.ResponseWriter, r *http.Request, user *userstore.User, c taken, length session.Length) error {
	begun, err := l.g.django.Begin(w, r, user, c.ambient, length)
	if err != nil {
		return err
	}
	if !c.isFollowedByForm {
		l.g.django.ForgetCSRF(w, r)
	}
	l.g.counts.logins.Add(1)
	if !begun.IsSame {
		l.ending.Expire(w, r)
	}
	for _, mark := range begun.Ended {
		watch.EndSession(watch.Session{Mark: mark})
	}
	return nil
}

// renew extends a session, or sets its cookie anew, where that is due.
func (l *logins) renew(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if v.django != nil {
		v.django.Touch(w, r, v.user, v.key)
		return nil
	}
	if v.session == nil {
		return nil
	}
	made, err := l.g.keys(r.Context())
	if err != nil {
		return err
	}
	if l.scheme.List != nil {
		l.scheme.List.See(r, v.user, v.session, made.sessions.Settings())
	}
	now := l.g.now()
	value, renewed := made.sessions.Renew(v.session, v.user.User, now)
	if !renewed {
		return nil
	}
	w.Header().Add("Cache-Control", "private") // no shared cache may hand the cookie to other clients
	l.setCookie(w, r, value, made.sessions, setFor{length: v.session.Length(), issued: v.session.Issued(), now: now})
	return nil
}

// note writes the time of a login, as Django does. The use of a one-time token has
// written it already. If the store can't write, the user is logged in all the
// same, since the token is valid.
func (l *logins) note(ctx context.Context, user *userstore.User) {
	if !l.updateLastLogin {
		return
	}
	// Another request that changes the row at the same time has written a login,
	// too.
	err := l.g.store.Consume(ctx, user, l.g.now())
	if err != nil && !errors.Is(err, userstore.ErrConsumed) {
		l.g.logger.Warn("last_login could not be written", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
	}
}

// forget has the browser delete session cookies that are no longer valid. If one of
// them was a real session, the cookies in end_cookies are deleted, too.
func (l *logins) forget(w http.ResponseWriter, r *http.Request, c taken, err error) {
	none, ok := errors.AsType[*authn.None](err)
	if ok && l != nil && writesDjango(l.g.config) {
		l.forgetDjango(w, r, c, none)
	}
	if !ok || sessionsIn(c.ambient) == 0 {
		return
	}
	hasEnded := none.IsAmbiguous
	for _, rejected := range none.Rejected {
		if _, isOurs := rejected.Credential.(*authn.SessionCookie); !isOurs {
			continue
		}
		switch {
		case errors.Is(rejected.Err, session.WrongScope) && !none.IsAmbiguous:
			return // it may be valid for another page of the site
		case !authn.IsForged(rejected.Err) && !errors.Is(rejected.Err, session.WrongScope):
			hasEnded = true
		}
	}
	if none.IsAmbiguous {
		// All of them are deleted: if one were left, the request would be taken for
		// its user's.
		l.cookie.ClearAll(w, r)
	} else {
		l.cookie.Clear(w, r)
	}
	if hasEnded {
		l.ending.Expire(w, r)
	}
}

// forgetDjango does what forget does, for sessions of Django's. A session that is
// valid in Django but not accepted here stays.
func (l *logins) forgetDjango(w http.ResponseWriter, r *http.Request, c taken, none *authn.None) {
	if l.g.django.Forget(w, r, c.ambient, none) {
		l.ending.Expire(w, r)
	}
}

// end has the browser delete its session and the cookies in end_cookies, and ends
// the responses that are open in the session.
//
// The error says why the store has no answer: then a session of Django's goes on.
func (l *logins) end(w http.ResponseWriter, r *http.Request, c taken) error {
	if writesDjango(l.g.config) {
		return l.endDjango(w, r, c)
	}
	// There are none while the store hasn't read the type of the primary key.
	sent, err := authn.SentSessions(r.Context(), c.ambient, authn.At{Now: l.g.now()})
	if l.scheme.List != nil && err == nil {
		err = l.scheme.List.End(r.Context(), sent)
	}
	if l.scheme.List != nil && err != nil {
		return err // copies of the cookie would go on
	}
	l.ending.Expire(w, r)
	if sessionsIn(c.ambient) == 0 {
		return nil
	}
	l.g.counts.logouts.Add(1)
	user := token.PrimaryKey{}
	ended := append(sent.Valid, sent.OtherScope...)
	if len(ended) > 0 {
		user = ended[0].PrimaryKey()
	}
	l.g.audit.logout(r, user, outcomeSession.String())
	for i := range ended {
		watch.EndSession(l.watched(&ended[i]))
	}
	if sessionsIn(c.ambient) > 1 {
		l.cookie.ClearAll(w, r)
	} else {
		l.cookie.Clear(w, r)
	}
	return nil
}

// endDjango does what end does, for sessions of Django's.
func (l *logins) endDjango(w http.ResponseWriter, r *http.Request, c taken) error {
	ended, err := l.g.django.End(w, r, c.ambient)
	if err != nil {
		return err
	}
	l.ending.Expire(w, r)
	for _, mark := range ended.Marks {
		watch.EndSession(watch.Session{Mark: mark})
	}
	if !ended.User.IsZero() {
		l.g.counts.logouts.Add(1)
		l.g.audit.logout(r, ended.User, l.g.django.Name())
	}
	return nil
}

// watched identifies the open responses of a session.
func (l *logins) watched(parsed *session.Parsed) watch.Session {
	if id := parsed.ID(); !id.IsZero() && l.scheme.List != nil {
		return watch.Session{Mark: l.scheme.List.Mark(id)}
	}
	return watch.Session{Audience: l.g.made.Load().sessions.Settings().Audience, User: parsed.PrimaryKey(), Login: parsed.Issued().Unix()}
}
