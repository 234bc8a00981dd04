// Package login is the page on which users log in by themselves: by a password,
// or by a link that is sent to their address. It knows the page's forms, and what
// follows each of them; the gateway tells it about users and begins sessions.
package login

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/emaillink"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/repost"
	"github.com/caddy-sesame/caddy-sesame/internal/seal"
	"github.com/caddy-sesame/caddy-sesame/internal/secondfactor"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Page is the login page.
type Page struct {
	config  *Config
	pages   *page.Pages
	methods []method
	keeper  *repost.Keeper
	expired *seal.Sealer     // of links that have expired
	steps   map[string]step  // by the method's field of their forms
	links   *emaillink.Links // nil without email_link
	key     []byte           // signs what the forms hold
	path    string           // of the page
	last    cookie.Cookie    // has the method of the last login
	factor  *factorStep
	logger  *zap.Logger

	linkFactor string // see Config.LinkFactor; empty without email_link
}

// Environment has what the page is made with.
type Environment struct {
	Pages *page.Pages

	// Path is the page's own.
	Path string

	// Password returns the scheme of passwords; nil where it is off.
	Password *authn.Password

	// Passwords is the block password; nil without.
	Passwords *authn.PasswordConfig

	// Links has what email_link needs, except for the path and the log.
	Links emaillink.Environment

	// SecondFactor asks for codes of users who have a second factor.
	SecondFactor *secondfactor.Asker

	// Cookie is what the cookies of pages have: the beginning of their names, and
	// Secure.
	Cookie cookie.Config

	// Key signs what forms hold.
	Key []byte

	Logger *zap.Logger
}

// A Visit is a request for the page, as the gateway sees it.
type Visit interface {
	// Next is the page of this site that a login leads to, with its query.
	Next() string

	// Ties are the values of the cookie that ties forms to the browser. Tie returns
	// one of them, or a new one, and sets the cookie.
	Ties() []string
	Tie(w http.ResponseWriter) string

	// DjangoLogin is the URL of Django's page for logging in, which leads to Next;
	// empty if there is none.
	DjangoLogin() string

	// LastMethod is by which method the browser has logged in last, as far as that is
	// known.
	LastMethod() string

	// Current returns the user whose session a login ends, nil for none. isAccepted
	// tells whether the session lets the user in: not one that is for other pages, or
	// that Django alone accepts.
	Current() (user *userstore.User, isAccepted bool, err error)

	// Authenticate returns the user whom a credential belongs to, if the user may
	// see the page that the login leads to. A rejection counts against the client.
	Authenticate(c authn.Credential) (*userstore.User, error)

	// Scope is that of the page that the login leads to, and Client the client that
	// the request is from.
	Scope() string
	Client() limit.Client

	// Mailed returns a function to call for each user to whom a link was sent.
	Mailed() func(*userstore.User)

	// Consume uses up what a user has logged in by: a link with a fingerprint, or the
	// code of its mail. The error is a rejection if another request has done so.
	Consume(user *userstore.User, fingerprint string) error

	// Begin begins a session, has the browser remember the method (Page.Remember),
	// and sends the browser on to Next.
	Begin(w http.ResponseWriter, user *userstore.User, by Login) error

	// Delay reports whether an error only puts a login off: the client has to wait,
	// or the store has no answer. It notes that in the metrics, and sets Retry-After.
	Delay(w http.ResponseWriter, err error) (delay Delay, ok bool)

	// Fail answers with an error that isn't a rejection: 403, 429, 503.
	Fail(w http.ResponseWriter, err error) error
}

// Login describes a login.
type Login struct {
	Method string
	Length session.Length

	// Fingerprint identifies the token that was used, if one was.
	Fingerprint string

	// Then answers in the place of the redirect to Next; nil for the redirect.
	Then func() error

	// Consumed: the time of the login has been written, by Visit.Consume.
	Consumed bool
}

// Delay says why a form is to be sent again later.
type Delay struct {
	Status    int // 429 or 503
	Wait      time.Duration
	IsLimited bool // by what the client has sent before
}

// name is the name of the delay's text.
func (d Delay) name() string {
	if d.IsLimited {
		return "limited"
	}
	return "unavailable"
}

// A step answers a form of the page.
type step interface {
	serve(w http.ResponseWriter, r *http.Request, form Form, visit Visit) error
}

// A method is a way to log in that the page offers by a form of its own.
type method interface {
	step
	name() string

	// offer adds what the method's form needs.
	offer(forms *page.LoginForms)
}

// New makes the page. The configuration is valid. Close ends it.
func New(cfg *Config, env Environment) (*Page, error) {
	p := &Page{config: cfg, pages: env.Pages, path: env.Path, key: env.Key, keeper: repost.NewKeeper(env.Key), expired: seal.New(env.Key, resendParameter), logger: env.Logger, steps: make(map[string]step)}
	var err error
	if p.last, err = newLastMethod(env.Cookie); err != nil {
		return nil, setting.In("session", err)
	}
	p.factor = &factorStep{page: p, asker: env.SecondFactor}
	p.steps[stepFactor] = p.factor
	if cfg.Password {
		p.add(&passwordMethod{page: p, scheme: env.Password, factor: p.factor})
	}
	if cfg.EmailLink != nil {
		p.linkFactor = cfg.LinkFactor(env.Passwords)
		env.Links.Path, env.Links.Logger = env.Path, env.Logger
		if p.links, err = emaillink.New(cfg.EmailLink, env.Links); err != nil {
			return nil, setting.In("login", setting.In("email_link", err))
		}
		m := &emailMethod{page: p, links: p.links}
		p.add(m)
		p.steps[stepEmailCode] = emailCode{m}
	}
	return p, nil
}

// Close ends the work in the background.
func (p *Page) Close() error {
	if p.links == nil {
		return nil
	}
	return p.links.Close()
}

func (p *Page) add(m method) {
	p.methods = append(p.methods, m)
	p.steps[m.name()] = m
}

// Methods are the names of the ways to log in.
func (p *Page) Methods() (names []string) {
	for _, m := range p.methods {
		names = append(names, m.name())
	}
	return names
}

// Redirects reports whether browsers are sent to the page.
func (p *Page) Redirects() bool { return p.config.Redirect }

// URL is the page's, from where a login leads to next.
func (p *Page) URL(next string) string {
	if next == "" || next == "/" {
		return p.path
	}
	return p.path + "?" + url.Values{nextParameter: {next}}.Encode()
}

// SwitchParameter in the URL of the page shows its forms also to users who are logged
// in.
const SwitchParameter = "switch"

// Parameters are the names of the query parameters of the page, and of the links that it
// sends: no token can be in one of them.
func Parameters() []string {
	return append(emaillink.Parameters(), nextParameter, SwitchParameter, resendParameter)
}

// nextParameter says which page a login leads to, as in Django.
const nextParameter = "next"

// SwitchURL is the page's for users who are logged in and want another account.
func (p *Page) SwitchURL(next string) string {
	values := url.Values{SwitchParameter: {""}}
	if next != "" && next != "/" {
		values.Set(nextParameter, next)
	}
	return p.path + "?" + values.Encode()
}

// Serve answers a request for the page.
func (p *Page) Serve(w http.ResponseWriter, r *http.Request, visit Visit) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return p.show(w, r, visit, http.StatusOK, Shown{})
	case http.MethodPost:
		return p.servePost(w, r, visit)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
}

// servePost answers a form.
func (p *Page) servePost(w http.ResponseWriter, r *http.Request, visit Visit) error {
	if sealed := r.URL.Query().Get(resendParameter); sealed != "" {
		return p.resend(w, r, visit, sealed)
	}
	form, err := p.readForm(r, visit.Ties())
	switch {
	case errors.Is(err, errNotForm):
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return nil
	case errors.Is(err, errTooLarge):
		return p.show(w, r, visit, http.StatusRequestEntityTooLarge, Shown{Error: "too_large"})
	case errors.Is(err, errNoCookies):
		return p.show(w, r, visit, http.StatusForbidden, Shown{Error: "no_cookies"})
	case err != nil:
		return p.show(w, r, visit, http.StatusForbidden, Shown{Error: "stale"})
	}
	step, ok := p.steps[form.Method]
	if !ok {
		return p.show(w, r, visit, http.StatusBadRequest, Shown{Error: "stale"})
	}
	return step.serve(w, r, form, p.carry(r, form, visit))
}

// Shown is what the page shows besides its forms.
type Shown struct {
	// Error is the name of an error in the texts, and Field the field that the error
	// is about, empty for the whole form.
	Error, Field string

	// Left is how often a code may still be tried.
	Left int

	// Wait is how long the user has to wait, for errors that say so.
	Wait time.Duration

	// Typed are values that the user has typed already, by their fields. Passwords
	// and codes aren't shown again.
	Typed map[string]string

	// Kind is the reason for which the browser didn't get what it asked for; empty
	// where it asked for the page.
	Kind page.Kind

	// Posted is what the browser has posted, if that can be sent again.
	Posted *Posted
}

// show writes the page.
func (p *Page) show(w http.ResponseWriter, r *http.Request, visit Visit, status int, shown Shown) error {
	data, err := p.Data(w, visit, shown)
	if err != nil {
		return visit.Fail(w, err)
	}
	return p.pages.Write(w, r, status, data)
}

// showDelay writes the page with the form that is to be sent again later.
func (p *Page) showDelay(w http.ResponseWriter, r *http.Request, visit Visit, delay Delay, shown Shown) error {
	shown.Error, shown.Wait = delay.name(), delay.Wait
	return p.show(w, r, visit, delay.Status, shown)
}

// showSwitch writes the page anew, since another user has logged in since it was
// shown: it tells that.
func (p *Page) showSwitch(w http.ResponseWriter, r *http.Request, visit Visit) error {
	return p.show(w, r, visit, http.StatusConflict, Shown{Error: "stale"})
}

// showNoFactor says that a user's second factor can't be asked for here.
func (p *Page) showNoFactor(w http.ResponseWriter, r *http.Request, visit Visit) error {
	data := page.Data{Kind: page.SecondFactor, LoginURL: visit.DjangoLogin()}
	data.Ways = data.Kind.Ways(page.Places{Login: p.URL(visit.Next())})
	return p.pages.Write(w, r, http.StatusUnauthorized, data)
}

// begin begins the session of a user, if the page has told whose session ends.
func (p *Page) begin(w http.ResponseWriter, r *http.Request, form Form, visit Visit, user *userstore.User, by Login) error {
	isTold, err := p.isTold(form, visit, user.PrimaryKey)
	switch {
	case err != nil:
		return visit.Fail(w, err)
	case !isTold:
		return p.showSwitch(w, r, visit)
	}
	return visit.Begin(w, user, by)
}

// Data is what the page shows. It ties the forms to the browser.
func (p *Page) Data(w http.ResponseWriter, visit Visit, shown Shown) (page.Data, error) {
	current, isAccepted, err := visit.Current()
	if err != nil {
		return page.Data{}, err
	}
	tie, told := visit.Tie(w), token.PrimaryKey{}
	if current != nil {
		told = current.PrimaryKey
	}
	forms := &page.LoginForms{
		Action:   p.URL(visit.Next()),
		CSRF:     p.csrf(tie),
		Told:     p.told(tie, told),
		Carried:  p.carriedBy(visit, shown.Posted, tie),
		Wait:     shown.Wait,
		Remember: p.config.Remember > 0,
		Error:    shown.Error,
		Field:    shown.Field,
		Typed:    shown.Typed,
	}
	for _, m := range p.lastFirst(visit.LastMethod()) {
		forms.Methods = append(forms.Methods, m.name())
		m.offer(forms)
	}
	data := page.Data{Kind: page.Login, Login: forms}
	if shown.Kind != "" {
		data.Reason = shown.Kind
	}
	if current != nil {
		data.Current = current.DisplayName()
	}
	if isAccepted {
		data.Ways = page.Staying(visit.Next())
	}
	return data, nil
}
