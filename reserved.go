package sesame

import (
	"cmp"
	"context"
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
	"github.com/caddy-sesame/caddy-sesame/internal/emaillink"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/login"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/internal/sessionlist"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Handler.ReservedPath.
const (
	defaultReservedPath = "/_sesame/"
	reservedOff         = "off"
)

// The pages below the reserved path.
const (
	reservedLogin    = "login"
	reservedLogout   = "logout"
	reservedSessions = "sessions"
	reservedWhoami   = "whoami"
	reservedKeySet   = "jwks.json"
)

// reserved are the pages below the reserved path.
type reserved struct {
	g        *gate
	sessions *sessionlist.Page // nil without a table of sessions
}

// nextParameter is the query parameter that says where to go after a login or
// logout, as in Django.
const nextParameter = "next"

// pageOf is the page below the reserved path that a request is for, or
// empty.
func (p *reserved) pageOf(r *http.Request) string {
	if p.g.logins == nil && p.g.assertions == nil && p.g.config.DjangoSession == nil && !p.g.pages.HasOwnAssets() {
		return ""
	}
	prefix := p.g.config.ReservedPath
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
	case p.g.logins == nil && !p.isAlone(page):
		return "" // the page needs logins
	case page == "":
		return "/" // no page, but the gateway answers it
	}
	return page
}

// url is the URL of a page below the reserved path; empty if there is none.
func (p *reserved) url(page string) string {
	if p.g.logins == nil || p.g.config.ReservedPath == reservedOff {
		return ""
	}
	return cmp.Or(p.g.config.ReservedPath, defaultReservedPath) + page
}

// isAlone reports whether a page is there also where no link logs in.
func (p *reserved) isAlone(page string) bool {
	return page == reservedKeySet && p.g.assertions != nil || page == reservedWhoami && p.g.config.DjangoSession != nil || p.g.pages.HasAsset(page)
}

// serve answers a request below the reserved path. None goes on to the
// upstream.
func (p *reserved) serve(w http.ResponseWriter, r *http.Request, page string, c taken) error {
	if page == reservedKeySet && p.g.assertions != nil {
		return p.serveKeySet(w, r)
	}
	if p.g.pages.ServeAsset(w, r, page) {
		p.g.counts.requests[outcomePage].Add(1)
		return nil
	}
	claim.ForbidLinking(w.Header())
	if page == reservedSessions && p.sessions != nil {
		return p.serveSessions(w, r, c)
	}
	switch page {
	case reservedLogin:
		return p.serveLogin(w, r, c)
	case reservedLogout:
		return p.serveLogout(w, r, c)
	case reservedWhoami:
		return p.serveWhoami(w, r, c)
	default:
		p.g.counts.requests[outcomePage].Add(1)
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
}

// serveLogin logs in by a link that names the page to go to, like
// django-sesame's LoginView. The scope is that of the page.
func (p *reserved) serveLogin(w http.ResponseWriter, r *http.Request, c taken) error {
	c.target = p.nextOf(r, "/")
	scope, err := p.g.scope.OfTarget(r, c.target)
	if err != nil {
		return p.g.refuser.failFor(w, r, c, p.g.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: p.g.now()}
	p.takeEmailed(r, &c)
	if p.g.login != nil && c.token() == nil {
		return p.serveLoginPage(w, r, c)
	}
	toTarget := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		return seeOther(w, c.target)
	})
	return p.g.serveTaken(w, r, toTarget, c)
}

// emailed is what the URL of an e-mailed link says.
type emailed struct {
	isLink    bool           // the request has such a link
	isBrowser bool           // the browser has asked for the link
	length    session.Length // of the session
}

// takeEmailed takes the token of a request as that of an e-mailed link, if the URL
// says so. Only the browser that asked is remembered as the user chose there: on
// another device, the user has not been asked.
func (p *reserved) takeEmailed(r *http.Request, c *taken) {
	given := c.token()
	if given == nil || p.g.emailLink == nil || !given.IsLink() {
		return
	}
	link, ok := emaillink.LinkOf(r.URL.Query())
	if !ok {
		return
	}
	v := &visit{g: p.g, r: r, c: *c}
	c.explicit = []authn.Credential{given.As(p.g.emailLink, link.Bound())}
	c.emailed = emailed{isLink: true, isBrowser: p.g.login.Links().IsFrom(link, v.Ties()), length: link.Length}
	if link.Length == session.Remembered && !c.emailed.isBrowser {
		c.emailed.length = session.Default
	}
}

// newEmailLink makes the scheme of e-mailed links; nil without email_link.
func (g builder) newEmailLink() *authn.Token {
	if g.login == nil || !g.login.SendsLinks() {
		return nil
	}
	scheme := &authn.Token{Sources: g.sources, ID: "email_link", Keys: g.login.Links().Tokens, OneTime: true, LogsIn: true, OnlyByButton: true}
	g.served[scheme.Name()] = g.counts.servedBy(scheme.Name())
	return scheme
}

// serveLoginPage answers a request for the login page. A browser that is logged in
// goes on, unless the user wants another account.
func (p *reserved) serveLoginPage(w http.ResponseWriter, r *http.Request, c taken) error {
	if origin.IsEarly(r) && !origin.IsSafe(r.Method) {
		return p.g.refuser.fail(w, r, errTooEarly)
	}
	p.g.counts.requests[outcomePage].Add(1)
	v := &visit{g: p.g, r: r, c: c}
	if origin.IsSafe(r.Method) && !r.URL.Query().Has(login.SwitchParameter) {
		current, isAccepted, err := v.Current()
		switch {
		case err != nil:
			return v.Fail(w, err)
		case isAccepted && p.g.meets(current) == nil:
			return seeOther(w, c.target)
		}
	}
	return p.g.login.Serve(w, r, v)
}

// visit is a login.Visit.
type visit struct {
	g *gate
	r *http.Request
	c taken

	tie string // once it is set
}

// loginEnvironment is what the login page is made with.
func (g builder) loginEnvironment() login.Environment {
	return login.Environment{
		Pages:     g.pages,
		Path:      g.reserved.url(reservedLogin),
		Password:  g.password,
		Passwords: g.config.Password,
		SecondFactor: secondfactor.New(secondfactor.Environment{
			Store:  func() secondfactor.Store { return g.store },
			Now:    g.now,
			Logger: g.logger.Named("login"),
			Key:    newSigningKey(g.settings.SecretKey, "caddy-sesame/second-factor/1"),
			Users:  usersID(g.config.UserStore),

			Settings: g.factorSettings(),
		}),
		Cookie: pageCookie(g.config.Session),
		Key:    newSigningKey(g.settings.SecretKey, "caddy-sesame/login/1"),
		Logger: g.logger.Named("login"),
		Links: emaillink.Environment{
			Users:   func() emaillink.Users { return g.store },
			Accepts: g.meets,
			Site: func(ctx context.Context) (token.Settings, error) {
				made, err := g.keys(ctx)
				if err != nil {
					return token.Settings{}, err
				}
				return made.tokens.Settings(), nil
			},
			SiteName:  g.pages.Name(),
			TokenName: g.sources.Name,
			Key:       newSigningKey(g.settings.SecretKey, "caddy-sesame/email-link/1"),
			Now:       g.now,
			Counts:    &g.counts.links,
		},
	}
}

// Next implements login.Visit.
func (v *visit) Next() string { return v.c.loginTarget(v.r) }

// DjangoLogin implements login.Visit.
func (v *visit) DjangoLogin() string {
	if v.g.loginPage == nil {
		return ""
	}
	return v.g.loginPage.Link(v.r, v.Next())
}

// LastMethod implements login.Visit.
func (v *visit) LastMethod() string { return v.c.lastMethod }

// Scope implements login.Visit.
func (v *visit) Scope() string { return v.c.at.Scope }

// Client implements login.Visit.
func (v *visit) Client() limit.Client {
	address, _ := caddyhttp.GetVar(v.r.Context(), caddyhttp.ClientIPVarKey).(string)
	return limit.ClientOf(address)
}

// Mailed implements login.Visit.
func (v *visit) Mailed() func(*userstore.User) { return v.g.audit.mailed(v.r) }

// Consume implements login.Visit.
func (v *visit) Consume(user *userstore.User, fingerprint string) error {
	err := v.g.store.Consume(v.r.Context(), user, v.g.now())
	v.g.counts.used(err)
	switch {
	case err == nil:
		v.g.audit.consumed(v.r, user, v.g.emailLink.Name(), fingerprint)
	case errors.Is(err, userstore.ErrConsumed):
		return token.Consumed
	}
	return err
}

// Current implements login.Visit. Where the sessions of a request are of several
// users, none of them counts.
func (v *visit) Current() (user *userstore.User, isAccepted bool, err error) {
	if len(v.c.ambient) == 0 {
		return nil, false, nil
	}
	found, err := v.g.visitorUnasked(v.r, v.c, anyUser)
	if none, ok := errors.AsType[*authn.None](err); ok {
		links := v.g.tokenLogin
		user, err = links.otherThan(v.r, token.PrimaryKey{}, links.loggedInElsewhere(none.Rejected))
		return user, false, err
	}
	return found.user, err == nil, err
}

// Authenticate implements login.Visit.
func (v *visit) Authenticate(c authn.Credential) (*userstore.User, error) {
	found, err := v.g.authn.Explicit(v.r, []authn.Credential{c}, v.c.at, v.g.meets)
	if authn.IsRejection(err) {
		v.g.counts.failLogin(c.Scheme(), err)
	}
	if err != nil {
		return nil, v.g.forbid(v.r, nil, err)
	}
	return found.User, nil
}

// Begin implements login.Visit.
func (v *visit) Begin(w http.ResponseWriter, user *userstore.User, by login.Login) error {
	v.c.isFollowedByForm = by.Then != nil
	if !by.Consumed {
		v.g.logins.note(v.r.Context(), user)
	}
	if err := v.g.logins.start(w, v.r, user, v.c, by.Length); err != nil {
		return v.Fail(w, err)
	}
	v.g.confirmer.mark(w, v.r, &v.c.confirmation)
	v.g.login.Remember(w, v.r, by)
	v.g.counts.loginsBy(by.Method).Add(1)
	v.g.audit.login(v.r, user, by.Method, by.Fingerprint)
	v.g.counts.requests[outcomeLogin].Add(1)
	if by.Then != nil {
		return by.Then()
	}
	return seeOther(w, v.Next())
}

// Delay implements login.Visit.
func (v *visit) Delay(w http.ResponseWriter, err error) (login.Delay, bool) {
	delay, outcome := login.Delay{Status: http.StatusServiceUnavailable, Wait: retryAfter}, outcomeUnavailable
	if limited, ok := errors.AsType[*limit.Exceeded](err); ok {
		delay, outcome = login.Delay{Status: http.StatusTooManyRequests, Wait: limited.Wait, IsLimited: true}, outcomeLimited
	} else if busy, ok := errors.AsType[*hashing.Busy](err); ok {
		delay.Wait, outcome = busy.Wait, outcomeBusy
		v.g.refuser.tellBusy(busy)
	} else if !errors.Is(err, userstore.ErrUnavailable) || v.r.Context().Err() != nil {
		return delay, false
	} else {
		v.g.refuser.tellUnavailable(err)
	}
	v.g.counts.requests[outcome].Add(1)
	setRetryAfter(w.Header(), delay.Wait)
	return delay, true
}

// Fail implements login.Visit.
func (v *visit) Fail(w http.ResponseWriter, err error) error {
	return v.g.refuser.failFor(w, v.r, v.c, err)
}

// nextOf is the page of this site that next leads to, without a token, or the
// fallback.
func (p *reserved) nextOf(r *http.Request, fallback string) string {
	next := rawuri.OwnTarget(r.URL.Query().Get(nextParameter), fallback)
	return p.g.sources.Clean(next)
}

// serveLogout ends the session of a browser that asks for it with the button
// of a page of this site.
func (p *reserved) serveLogout(w http.ResponseWriter, r *http.Request, c taken) error {
	p.g.counts.requests[outcomePage].Add(1)
	next := p.nextOf(r, "")
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return p.askToLogOut(w, r, http.StatusOK, next)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	case origin.Of(r).IsOther():
		if asksForPage(r) { // this page is the gateway's own, so its button works
			return p.askToLogOut(w, r, http.StatusForbidden, next)
		}
		w.WriteHeader(http.StatusForbidden)
		return nil
	}
	if err := p.g.logins.end(w, r, c); err != nil {
		return p.g.refuser.fail(w, r, err)
	}
	p.g.confirmer.unmark(w, r, &c.confirmation)
	if next != "" {
		return seeOther(w, next)
	}
	out := page.Data{Kind: page.LoggedOut}
	out.Ways = out.Kind.Ways(p.placesForLoggedOut())
	return p.g.pages.Write(w, r, http.StatusOK, out)
}

// askToLogOut shows the page with the button for logging out, and a way back.
func (p *reserved) askToLogOut(w http.ResponseWriter, r *http.Request, status int, next string) error {
	ask := page.Data{Kind: page.Logout, Action: logoutAction(next)}
	ask.Ways = ask.Kind.Ways(page.Places{Same: cmp.Or(p.g.refuser.cameFrom(r), "/")})
	return p.g.pages.Write(w, r, status, ask)
}

// placesForLoggedOut are the pages to which a user who has logged out can go.
func (p *reserved) placesForLoggedOut() (to page.Places) {
	if p.g.login != nil {
		to.Login = p.g.login.URL("")
	}
	if p.g.config.Optional || p.g.loginPage != nil {
		to.Site = "/" // where Django's page for logging in comes next, or no login is needed
	}
	return to
}

// logoutAction is where the button for logging out leads.
func logoutAction(next string) string {
	if next == "" {
		return "?"
	}
	return "?" + url.Values{nextParameter: {next}}.Encode()
}

// whoami is the answer of the page whoami.
type whoami struct {
	ID       string     `json:"id"`
	Username string     `json:"username,omitempty"`
	Email    string     `json:"email,omitempty"`
	Groups   []string   `json:"groups,omitzero"`
	By       string     `json:"authenticated_by"`
	Since    *time.Time `json:"since,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Length   string     `json:"length,omitempty"`
}

// serveWhoami tells a script of the site who the user is. It uses no token up.
func (p *reserved) serveWhoami(w http.ResponseWriter, r *http.Request, c taken) error {
	r.Header["Accept"] = []string{"application/json"} // for refusals, too
	scope, err := p.g.scope.Of(r)
	if err != nil {
		return p.g.refuser.fail(w, r, p.g.rejected(r, c.token(), err))
	}
	c.at = authn.At{Scope: scope, Now: p.g.now()}
	v, err := p.g.visitorUnasked(r, c, p.g.meets)
	if errors.Is(err, authn.ErrNone) && len(c.explicit) > 0 {
		v, err = p.g.visitorExplicit(r, c)
	}
	switch {
	case errors.Is(err, authn.ErrNone):
		return p.g.refuser.fail(w, r, p.g.rejected(r, c.token(), token.Missing))
	case err != nil:
		return p.g.refuser.fail(w, r, err)
	}
	p.g.counts.requests[outcomePage].Add(1)
	told := whoami{ID: v.user.PrimaryKey.String(), Username: v.user.Username, By: v.scheme}
	told.Email, _ = v.user.Column("email")
	if v.user.Reads().Groups {
		told.Groups = append([]string{}, v.user.Groups()...) // an empty list, not none
	}
	if v.session != nil {
		since, until := v.session.Issued(), v.session.Expires()
		told.Since, told.Until, told.Length = &since, &until, v.session.Length().String()
	}
	if v.django != nil {
		until := v.django.Ends()
		told.Until = &until
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	return json.NewEncoder(w).Encode(told)
}

// visitorExplicit finds the user of a request by its explicit credentials.
func (g *gate) visitorExplicit(r *http.Request, c taken) (visitor, error) {
	v, err := g.authn.Explicit(r, c.explicit, c.at, g.meets)
	if err != nil {
		return visitor{}, g.forbid(r, c.token(), err)
	}
	return g.visitor(v), nil
}

// keySetAge is how long applications may cache the key set.
const keySetAge = "public, max-age=300"

// serveKeySet answers with the keys by which applications verify assertions.
func (p *reserved) serveKeySet(w http.ResponseWriter, r *http.Request) error {
	p.g.counts.requests[outcomePage].Add(1)
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
	_, err := w.Write(p.g.assertions.KeySet()) // for HEAD, the server leaves it out
	return err
}
