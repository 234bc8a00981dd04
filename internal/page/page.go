// Package page writes the HTML pages of the gateway, as JSON or text for
// clients that prefer it: the login page with its button, the pages that say
// why a request was rejected, and the logout page.
package page

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Config changes the pages of the gateway: for login, for rejected requests,
// and for logout.
type Config struct {
	// Where users get a new link. The pages of rejected requests link to it.
	// An https: or mailto: URL, or a path of the site that works without a
	// token. Its parameters may contain placeholders:
	// `?next={http.request.uri}` is the requested page, without a token.
	HelpURL string `json:"help_url,omitempty"`

	// Whether the page of an expired link that was once valid names the link's
	// user, and passes the user on to `help_url`, signed, so that a new link
	// can be sent at once. Default: false.
	ExpiredHint bool `json:"expired_hint,omitempty"`

	// The default language of the pages, and the language of `texts`. Without
	// `languages` it is the only one. Default: the first of `languages`, or `en`.
	Language string `json:"language,omitempty"`

	// The languages of the pages, of which each client gets the one that its
	// Accept-Language prefers: codes such as `de`, or `auto` for all that are
	// built in or have texts of your own. English is added. Default: `auto`; but
	// `language` alone where `language`, `texts` or `template` is set.
	Languages []string `json:"languages,omitempty"`

	// Texts that replace the built-in ones, by page and part, such as
	// `confirm.title`, `confirm.message`, `confirm.button`, `expired.message`.
	// `{user}` and `{current}` in them stand for the names of users.
	Texts map[string]string `json:"texts,omitempty"`

	// The site's name, for titles, and in front of pages without a logo.
	Name string `json:"name,omitempty"`

	// A file with the site's logo: SVG, PNG, JPEG, GIF or WebP, at most 256 KiB. It
	// is public, and read when the configuration is loaded.
	Logo string `json:"logo,omitempty"`

	// A file with the icon that browsers show in tabs: ICO, SVG or PNG, at most
	// 128 KiB. It is public. Default: a keyhole.
	Favicon string `json:"favicon,omitempty"`

	// Texts in certain languages, by the code of the language.
	TextsIn map[string]map[string]string `json:"texts_in,omitempty"`

	// Colours that replace the built-in ones: `accent`, `background` and
	// `text`, each for a light and, behind it, a dark screen.
	Colors map[string][]string `json:"colors,omitempty"`

	// A file with your own template (Go's html/template) for all pages. It
	// gets the same fields as the built-in one: Page, Title, Message, Button,
	// Action, HelpURL, HelpText, LoginURL, LoginText, Ways, Language, Dir, Style,
	// Name, Logo, Favicon, and those that its templates "forms", "sessions" and
	// "ways" show.
	Template string `json:"template,omitempty"`
}

// Kind identifies a page. The names of the page's texts begin with it.
type Kind string

// The pages. Those of rejected requests have the public names of token.Reason.
const (
	Confirm   Kind = "confirm"
	Switch    Kind = "switch"
	Logout    Kind = "logout"
	LoggedOut Kind = "logged_out"
	Missing   Kind = "missing"
	Malformed Kind = "malformed"
	Expired   Kind = "expired"
	Invalid   Kind = "invalid"
	Forbidden Kind = "forbidden"
	// CrossSite is for what a page of another site may have sent, OtherLogin for a
	// login in Django that does not count.
	CrossSite  Kind = "cross_site"
	OtherLogin Kind = "other_login"
	Limited    Kind = "limited"
	// Login is the page on which users log in by themselves, LinkSent the one after a
	// link was asked for, and Verify the one that asks for a second factor.
	Login    Kind = "login"
	LinkSent Kind = "link_sent"
	Verify   Kind = "verify"
	// Repost is for a form that was posted after the session had ended.
	Repost Kind = "repost"
	// SecondFactor is for the right password, or the valid link, of a user who has a
	// second factor that can't be asked for.
	SecondFactor Kind = "second_factor"
	// Sessions is the page on which users see where they are logged in.
	Sessions    Kind = "sessions"
	Unavailable Kind = "unavailable"
)

// kinds are all pages.
var kinds = []Kind{
	Confirm, Switch, Logout, LoggedOut, Missing, Malformed, Expired, Invalid, Forbidden, CrossSite, OtherLogin, Limited,
	Login, LinkSent, Verify, Repost, SecondFactor, Sessions, Unavailable,
}

// Data is what a page shows.
type Data struct {
	Kind    Kind
	Action  string // the URL that the button posts to
	User    string // name of the user that the button logs in
	Current string // name of the user who is logged in
	HelpURL string // replaces the configured one
	// IsOfLink says that a link was rejected: the texts speak of links alone, also
	// where users have passwords and tokens.
	IsOfLink bool

	LoginURL string // Django's page for logging in, or empty

	// Login has the forms of the login page. Reason says why a browser sees them in
	// place of what it asked for: the page that it would see without them.
	Login  *LoginForms
	Reason Kind

	// Sessions are the logins of the user, on the page about them.
	Sessions *SessionList

	// Ways lead on from the page.
	Ways []Way

	// Wait is how long the client has to wait; 0 where that isn't known.
	Wait time.Duration

	// Repost sends again what the browser has posted.
	Repost *RepostForm

	// LoginAt is where a script sends its user to log in, as JSON tells it.
	LoginAt string
}

// view has the fields that a template can use.
type view struct {
	Page     Kind
	Title    string
	Message  string
	Button   string
	Action   string
	HelpURL  string
	HelpText string
	Language string
	Dir      string // the direction of the language's script: ltr or rtl
	Style    template.CSS

	LoginURL, LoginText string

	// Notice says why the user sees the login page in place of another one.
	Notice string

	// Forms are those of the login page, and of the pages after it. Or stands between
	// them. Alert is an error that isn't about a field.
	Forms []form
	Or    string
	Alert string

	// ErrorText stands in front of the page's title in the browser where something
	// that the user has entered is wrong.
	ErrorText string

	// Name is the site's, ShowsName whether the title is to be told apart by it. Logo
	// and Favicon are URLs.
	Name, Logo, Favicon string
	ShowsName           bool

	Sessions *sessionList

	Ways   []way
	Repost *repostForm

	// Posts: the page has a form, whose request must have an Origin.
	Posts bool
}

// Pages writes the pages of the gateway.
type Pages struct {
	config    Config
	template  *template.Template
	languages []*Language // the default first
	english   *Language
	style     template.CSS
	policy    string // Content-Security-Policy
	assets    assets

	// lacks are the kinds of pages of which the operator's template doesn't show what
	// users need there: the forms of the login page, the list of sessions, the form that
	// is sent again.
	lacks map[Kind]bool

	helpHost, helpPath string // of help_url; an empty host is the site's
}

// builtInPage is the built-in template. It and the operator's can use those that
// builtInForms defines: forms, repost, sessions and ways.
//
//go:embed page.html
var builtInPage string

//go:embed forms.html
var builtInForms string

// New returns the pages of a configuration, which may be nil. The error names
// the option that is wrong.
func New(cfg *Config) (*Pages, error) {
	p := new(Pages)
	if cfg != nil {
		p.config = *cfg
	}
	if p.config.Language != "" {
		if err := checkLanguage("language", p.config.Language); err != nil {
			return nil, err
		}
	}
	if err := p.setLanguages(links); err != nil {
		return nil, err
	}
	if err := p.setStyle(); err != nil {
		return nil, err
	}
	if err := p.setHelp(); err != nil {
		return nil, err
	}
	if err := p.setAssets(); err != nil {
		return nil, err
	}
	if p.config.ExpiredHint && (p.config.HelpURL == "" || strings.HasPrefix(p.config.HelpURL, "mailto:") || strings.Contains(p.config.HelpURL, "#")) {
		return nil, setting.Errorf("expired_hint", "expired_hint needs a help_url that parameters can be added to")
	}
	return p, p.setTemplate()
}

// SpeakOfLogins has the pages speak of logins, tokens and passwords beside links.
// Texts of the operator's stay. It must be called before a page is written.
func (p *Pages) SpeakOfLogins() {
	for _, l := range append(p.languages, p.english) {
		l.speaks = logins
	}
}

// Config returns the configuration of the pages.
func (p *Pages) Config() *Config { return &p.config }

// CanRepost reports whether the template shows the form that sends again what was
// posted. A template of the operator's may not know of it.
func (p *Pages) CanRepost() bool { return !p.lacks[Repost] }

// setTemplate parses the operator's template, or ours.
func (p *Pages) setTemplate() error {
	text := builtInPage
	if p.config.Template != "" {
		own, err := os.ReadFile(p.config.Template)
		if err != nil {
			return setting.Errorf("template", "template: %w: name a file that Caddy's system user can read; a relative path is relative to the directory that Caddy was started in", err)
		}
		text = string(own)
		// It isn't known what the template loads. Scripts and other sites are
		// not allowed, since the page contains the token.
		p.policy = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
			"base-uri 'none'; frame-ancestors 'none'"
	}
	parsed, err := template.Must(template.New("forms").Parse(builtInForms)).New("page").Parse(text)
	if err != nil {
		return setting.Errorf("template", "template: %w", err)
	}
	p.template, p.lacks = parsed, make(map[Kind]bool)
	// Execute it once for each page, so that a mistake is found now.
	for _, kind := range kinds {
		var page bytes.Buffer
		view := p.view(p.languages[0], sampleOf(kind))
		if err := parsed.Execute(&page, view); err != nil {
			return setting.Errorf("template", "template: %w", err)
		}
		if view.Button != "" && !bytes.Contains(bytes.ToLower(page.Bytes()), []byte("<form")) {
			return setting.Errorf("template", "template: the page %s has no form, so that no user could log in or out: "+
				"write <form method=\"post\" action=\"{{.Action}}\"><button>{{.Button}}</button></form> within {{if .Button}}", kind)
		}
		if mustShow(view) && !bytes.Contains(page.Bytes(), []byte(sampleValue)) {
			p.lacks[kind] = true
		}
	}
	return nil
}

// mustShow reports whether a page has something beside its button that a user needs.
func mustShow(v view) bool { return len(v.Forms) > 0 || v.Sessions != nil || v.Repost != nil }

// sampleValue is in the forms and lists of sampleOf.
const sampleValue = "sample-of-a-value"

// sampleOf is a page to try a template with.
func sampleOf(kind Kind) Data {
	sample := Data{Kind: kind, Action: "/", User: "x", Current: "y"}
	switch kind {
	case Login:
		sample.Login = &LoginForms{Methods: []string{methodPassword, methodEmailLink}}
	case LinkSent:
		sample.Login = &LoginForms{Methods: []string{methodEmailCode}}
	case Verify:
		sample.Login = &LoginForms{Step: methodFactor, App: true, Recovery: true}
	case Sessions:
		sample.Sessions = &SessionList{Rows: []SessionRow{{ID: sampleValue}}}
		return sample
	case Repost:
		sample.Repost = &RepostForm{Fields: []Field{{Name: "x", Value: sampleValue}}}
		return sample
	default:
		return sample
	}
	sample.Login.CSRF, sample.Login.Action = sampleValue, "/"
	return sample
}

// CheckTemplate returns an error if the operator's template doesn't show what users
// need: the forms of the login page, and the list of sessions, where there are such
// pages.
func (p *Pages) CheckTemplate(hasLogin, hasSessions bool) error {
	switch {
	case hasLogin && (p.lacks[Login] || p.lacks[LinkSent] || p.lacks[Verify]):
		return setting.Errorf("template", `template: it doesn't show the forms of the login page, so that no user could log in: write {{template "forms" .}} where they are to stand`)
	case hasSessions && p.lacks[Sessions]:
		return setting.Errorf("template", `template: it doesn't show the list of sessions, so that no user could end one: write {{template "sessions" .}} where it is to stand, or remove the option table of session`)
	}
	return nil
}

// view fills in the texts of a language, or English ones if it lacks one of them: a
// page is in one language.
func (p *Pages) view(l *Language, data Data) view {
	words := p.words(l, data)
	v := p.viewIn(words, data)
	if words.lacksText {
		v = p.viewIn(p.words(p.english, data), data)
	}
	return v
}

func (p *Pages) viewIn(words *words, data Data) view {
	name := string(data.Kind)
	v := view{
		Page:     data.Kind,
		Title:    words.text(name + ".title"),
		Action:   data.Action,
		Language: words.language.Tag(),
		Dir:      words.language.Dir(),
		Style:    p.style,
		Ways:     words.ways(data.Ways),
		Sessions: words.sessions(data.Sessions),
		Repost:   words.repost(data.Repost),
		Name:     p.config.Name,
		Logo:     p.assets.url(assetLogo),
		Favicon:  p.assets.url(assetFavicon),
	}
	switch data.Kind {
	case Login, LinkSent, Verify:
		words.addForms(&v, data)
		if data.Login != nil && data.Login.Carried != "" {
			v.Message += " " + words.text("login.carried")
		}
	default:
		v.Message = words.text(name + ".message")
	}
	if data.Wait > 0 {
		v.Message += " " + words.wait(data.Wait)
	}
	if _, hasButton := builtInTexts()[english][name+".button"]; hasButton {
		v.Button = words.text(name + ".button")
	}
	v.ShowsName = v.Name != "" && !strings.Contains(v.Title, v.Name)
	isPost := func(w way) bool { return w.Post }
	v.Posts = v.Button != "" || len(v.Forms) > 0 || v.Sessions != nil || slices.ContainsFunc(v.Ways, isPost)
	if data.Kind == Expired && data.User != "" {
		v.Message = words.text("owner") + " " + v.Message
	}
	switch data.Kind {
	case SecondFactor:
		if v.LoginURL = data.LoginURL; v.LoginURL != "" {
			v.LoginText = words.text("login")
		}
	case Missing, Malformed, Expired, Invalid:
		if v.HelpURL = cmp.Or(data.HelpURL, p.config.HelpURL); v.HelpURL != "" {
			v.HelpText = words.text("help")
		}
		if v.LoginURL = data.LoginURL; v.LoginURL != "" {
			v.LoginText = words.text("login")
		}
	}
	return v
}

// words are the texts of a page, with names of users in the place of placeholders.
type words struct {
	language  *Language
	pairs     []string
	lacksText bool
}

// words are those of a page in a language. {user} on the login page is the user who
// is logged in.
func (p *Pages) words(l *Language, data Data) *words {
	if data.IsOfLink {
		ofLinks := *l
		ofLinks.speaks = links
		l = &ofLinks
	}
	return &words{language: l, pairs: []string{"user", cmp.Or(data.User, data.Current), "current", data.Current, "site", p.config.Name}}
}

func (w *words) text(key string) string {
	found, ok := w.language.find(key, plural.Other)
	w.lacksText = w.lacksText || !ok
	return fill(found, w.pairs)
}

// plural is the text for a number.
func (w *words) plural(key string, n int) string {
	_, ok := w.language.find(key, w.language.form(n))
	w.lacksText = w.lacksText || !ok
	return w.language.Plural(key, n, w.pairs...)
}

// Write writes a page: JSON for clients that prefer JSON to HTML, HTML for other
// clients that accept HTML, and text for all others.
func (p *Pages) Write(w http.ResponseWriter, r *http.Request, status int, data Data) error {
	view := p.view(preferredLanguage(p.languages, r.Header["Accept-Language"]), data)
	header := w.Header()
	// No cache may store the page, and no link on it may send its URL as
	// Referer.
	header["Cache-Control"] = []string{"no-store"}
	header["Referrer-Policy"] = []string{"no-referrer"}
	if p.config.Template != "" && view.Posts {
		// A form's request must have an Origin, which the built-in page's policy
		// also sends. It doesn't contain the path.
		header["Referrer-Policy"] = []string{"strict-origin"}
	}
	header.Add("Vary", "Accept")
	if len(p.languages) > 1 {
		header.Add("Vary", "Accept-Language")
	}
	header.Set("Content-Language", view.Language)
	header.Set("X-Content-Type-Options", "nosniff")
	switch Wanted(r) {
	case JSON:
		header.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		told := map[string]any{"error": string(data.Kind), "error_description": view.Title + ". " + view.Message}
		if status < http.StatusBadRequest {
			told = map[string]any{"page": string(data.Kind), "message": view.Title + ". " + view.Message}
		}
		if data.LoginAt != "" {
			told["login_url"] = data.LoginAt
		}
		if data.Sessions != nil {
			told["sessions"] = data.Sessions.Rows
		}
		return json.NewEncoder(w).Encode(told)
	case HTML:
		var page bytes.Buffer
		if err := p.template.Execute(&page, view); err != nil {
			return fmt.Errorf("writing the page %s: %w", data.Kind, err)
		}
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", p.policy)
		w.WriteHeader(status)
		_, err := page.WriteTo(w)
		return err
	default:
		header.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, err := fmt.Fprintf(w, "%s. %s\n", view.Title, view.Message)
		return err
	}
}
