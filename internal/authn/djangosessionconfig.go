package authn

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// DjangoSessionConfig accepts the sessions of Django itself: a user who is logged
// in to Django is logged in here. Django's settings keep their names.
type DjangoSessionConfig struct {
	// The last part of SESSION_ENGINE: `db`, `cached_db` or `signed_cookies`.
	// Sessions in a cache or in files can't be read. Default: `db`.
	Engine string `json:"engine,omitempty"`

	// SESSION_COOKIE_NAME. Default: `sessionid`.
	CookieName string `json:"cookie_name,omitempty"`

	// SESSION_COOKIE_DOMAIN. Without it, browsers send Django's cookie to Django's
	// own host alone. Used where the gateway sets the cookie. Default: the host.
	CookieDomain string `json:"cookie_domain,omitempty"`

	// SESSION_COOKIE_PATH. Default: `/`.
	CookiePath string `json:"cookie_path,omitempty"`

	// SESSION_COOKIE_AGE. Default: 14d.
	CookieAge caddy.Duration `json:"cookie_age,omitempty"`

	// SESSION_COOKIE_SECURE: `on`, `off`, or `auto`, which sets it for requests by
	// HTTPS. Default: `auto`.
	CookieSecure string `json:"cookie_secure,omitempty"`

	// SESSION_COOKIE_SAMESITE: `lax`, `strict` or `none`. Default: `lax`.
	CookieSameSite string `json:"cookie_samesite,omitempty"`

	// SESSION_EXPIRE_AT_BROWSER_CLOSE. Default: false.
	ExpireAtBrowserClose bool `json:"expire_at_browser_close,omitempty"`

	// The table of the engines `db` and `cached_db`, in the database of the users
	// unless it names another. Default: `django_session`.
	Table string `json:"table,omitempty"`

	// The property `key_salt` of a SessionStore class of your own. Default: that of
	// Django's classes.
	KeySalt string `json:"key_salt,omitempty"`

	// AUTHENTICATION_BACKENDS, as dotted paths. Sessions of users who were logged
	// in by another backend aren't accepted. Default:
	// `django.contrib.auth.backends.ModelBackend`.
	Backends []string `json:"backends,omitempty"`

	// How often a request extends its session, as SESSION_SAVE_EVERY_REQUEST does
	// with each. Default: never.
	Touch caddy.Duration `json:"touch,omitempty"`

	// Whether a login here begins a session of Django's, and a logout here ends it.
	// Default: false.
	Write bool `json:"write,omitempty"`

	// Django's page for logging in, to which browsers without a session are sent,
	// with `next` in the query. Default: they get a page of the gateway's.
	LoginURL string `json:"login_url,omitempty"`

	// Whether the upstream gets the cookie. Turn it on only if the upstream is
	// Django. Default: false.
	PassCookie bool `json:"pass_cookie,omitempty"`
}

// DjangoSessionOption is the django_session option with its block.
func DjangoSessionOption(to **DjangoSessionConfig) directive.Option {
	cfg := new(DjangoSessionConfig)
	return directive.Block(func() { *to = cfg }, directive.Options{
		"engine":                  directive.Text(&cfg.Engine, "db, cached_db or signed_cookies"),
		"cookie_name":             directive.Text(&cfg.CookieName, "the name of a cookie"),
		"cookie_domain":           directive.Text(&cfg.CookieDomain, "a domain"),
		"cookie_path":             directive.Text(&cfg.CookiePath, "a path"),
		"cookie_age":              durationOrSeconds(&cfg.CookieAge),
		"cookie_secure":           directive.Text(&cfg.CookieSecure, "auto, on or off"),
		"cookie_samesite":         directive.Text(&cfg.CookieSameSite, "lax, strict or none"),
		"expire_at_browser_close": directive.Switch(&cfg.ExpireAtBrowserClose),
		"table":                   directive.Text(&cfg.Table, "the name of a table"),
		"key_salt":                directive.Text(&cfg.KeySalt, "a text"),
		"backends":                directive.Texts(&cfg.Backends, "dotted paths of backends"),
		"touch":                   durationOrOff(&cfg.Touch),
		"write":                   directive.Switch(&cfg.Write),
		"login_url":               directive.Text(&cfg.LoginURL, "the URL of Django's page for logging in"),
		"pass_cookie":             directive.Switch(&cfg.PassCookie),
	}).Example("engine db")
}

// durationOrSeconds is a duration as Caddy writes it, or a number of seconds as
// Django does.
func durationOrSeconds(to *caddy.Duration) directive.Option {
	return directive.Values(1, 1, "a duration such as 14d, or a number of seconds", func(args []string) error {
		duration, err := caddy.ParseDuration(args[0])
		if seconds, floatErr := strconv.ParseFloat(args[0], 64); floatErr == nil {
			if seconds > math.MaxInt64/1e9 {
				return fmt.Errorf("%q is too long: a number is seconds; write a duration such as 14d", args[0])
			}
			duration, err = time.Duration(seconds*float64(time.Second)), nil
		}
		if err != nil || duration <= 0 {
			return fmt.Errorf("it must be a duration such as 14d, or a number of seconds, not %q", args[0])
		}
		*to = caddy.Duration(duration)
		return nil
	})
}

// durationOrOff is a duration, or off.
func durationOrOff(to *caddy.Duration) directive.Option {
	return directive.Values(1, 1, "a duration such as 5m, or off", func(args []string) error {
		if args[0] == "off" {
			*to = 0
			return nil
		}
		duration, err := caddy.ParseDuration(args[0])
		if err != nil || duration <= 0 {
			return fmt.Errorf("it must be a duration such as 5m, or off, not %q%s", args[0], directive.DurationHint(args[0]))
		}
		*to = caddy.Duration(duration)
		return nil
	})
}

// Option implements Config.
func (*DjangoSessionConfig) Option() string { return djangoSessionName }

// Validate implements Config.
func (cfg *DjangoSessionConfig) Validate() error {
	switch engine := strings.TrimPrefix(cfg.Engine, "django.contrib.sessions.backends."); engine {
	case "cache", "file":
		return setting.Errorf("engine", "engine %s: sessions in a cache or in files can't be read: set Django's SESSION_ENGINE to django.contrib.sessions.backends.cached_db, which is as fast, and write engine cached_db", cfg.Engine)
	case "", string(djangosession.DB), string(djangosession.CachedDB), string(djangosession.SignedCookies):
		if engine != cfg.Engine {
			return setting.Errorf("engine", "engine %s: write the last part of it, %s", cfg.Engine, engine)
		}
	default:
		return setting.Errorf("engine", "engine %q: it must be db, cached_db or signed_cookies; for a SessionStore class of your own, write the engine that it is derived from, and its key_salt", cfg.Engine)
	}
	if _, err := cfg.cookie(); err != nil {
		return err
	}
	if cfg.IsInCookie() {
		switch {
		case cfg.Touch != 0:
			return setting.Errorf("touch", "touch: the engine signed_cookies has no table in which a session could be extended: remove the line")
		case cfg.Table != "":
			return setting.Errorf("table", "table: the engine signed_cookies has none: remove the line")
		case cfg.KeySalt != "":
			return setting.Errorf("key_salt", "key_salt: the engine signed_cookies doesn't use it: remove the line")
		}
	}
	if cfg.CookieAge < 0 || cfg.CookieAge != 0 && time.Duration(cfg.CookieAge) < time.Second {
		return setting.Errorf("cookie_age", "cookie_age: %s is too short to be meant: write a duration such as 14d; a number in JSON is nanoseconds", time.Duration(cfg.CookieAge))
	}
	if cfg.Touch < 0 || cfg.Touch != 0 && time.Duration(cfg.Touch) < time.Second {
		return setting.Errorf("touch", "touch: %s is too often: write a duration such as 5m; a number in JSON is nanoseconds", time.Duration(cfg.Touch))
	}
	if age := cfg.Age(); time.Duration(cfg.Touch) >= age {
		return setting.Errorf("touch", "touch: a session is over after %s, and would never be extended: write less than that, as 5m", age)
	}
	for _, backend := range cfg.Backends {
		if !strings.Contains(backend, ".") || strings.ContainsAny(backend, " ,'\"[]()") {
			return setting.Errorf("backends", "backends %q: it must be a dotted path, as %s", backend, djangosession.ModelBackend)
		}
	}
	return cfg.checkLoginURL()
}

// defaultCookieAge is Django's SESSION_COOKIE_AGE.
const defaultCookieAge = 1209600 * time.Second

// checkLoginURL makes sure that browsers can be sent to login_url from any site.
func (cfg *DjangoSessionConfig) checkLoginURL() error {
	if cfg.LoginURL == "" {
		return nil
	}
	const example = "https://www.example.com/accounts/login/"
	at, err := url.Parse(cfg.LoginURL)
	switch {
	case err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Hostname() == "":
		return setting.Errorf("login_url", "login_url %q: it must be an absolute URL, as %s: browsers come to it from other hosts", cfg.LoginURL, example)
	case at.User != nil:
		return setting.Errorf("login_url", "login_url: it has a user name or password in it: remove that")
	case at.Fragment != "" || strings.Contains(cfg.LoginURL, "#"):
		return setting.Errorf("login_url", "login_url %q: remove what begins with #", cfg.LoginURL)
	case at.Query().Has("next"):
		return setting.Errorf("login_url", "login_url %q: remove the parameter next, which the gateway adds", cfg.LoginURL)
	case strings.ContainsAny(cfg.LoginURL, "{} \\"):
		return setting.Errorf("login_url", "login_url %q: it can't have placeholders, spaces and backslashes: write a plain URL, as %s", cfg.LoginURL, example)
	}
	return nil
}

// Age is how long a session lasts.
func (cfg *DjangoSessionConfig) Age() time.Duration {
	return cmp.Or(time.Duration(cfg.CookieAge), defaultCookieAge)
}

// IsInCookie reports whether sessions are kept in cookies.
func (cfg *DjangoSessionConfig) IsInCookie() bool {
	return cfg.Engine == string(djangosession.SignedCookies)
}

// Cookie is the name of Django's cookie.
func (cfg *DjangoSessionConfig) Cookie() string { return cmp.Or(cfg.CookieName, "sessionid") }

// cookie is Django's cookie. Errors name the options of this block.
func (cfg *DjangoSessionConfig) cookie() (cookie.Exact, error) {
	made, err := cookie.NewExact(cookie.Config{
		Name: cfg.Cookie(), Domain: cfg.CookieDomain, Path: cfg.CookiePath, SameSite: cfg.CookieSameSite, Secure: cfg.CookieSecure,
	})
	if err == nil {
		return made, nil
	}
	option := "cookie_name"
	if about, ok := err.(*setting.Error); ok { //nolint:errorlint // New doesn't wrap it
		option = map[string]string{
			"domain": "cookie_domain", "path": "cookie_path", "same_site": "cookie_samesite", "secure": "cookie_secure",
		}[about.Option()]
	}
	option = cmp.Or(option, "cookie_name")
	return made, setting.Errorf(option, "%s: %w", option, err)
}

// New implements Config.
func (cfg *DjangoSessionConfig) New(env *Environment) (ConfiguredScheme, error) {
	sessions, err := djangosession.New(djangosession.Settings{
		SecretKey:            env.Settings.SecretKey,
		SecretKeyFallbacks:   env.Settings.SecretKeyFallbacks,
		Engine:               djangosession.Engine(cfg.Engine),
		KeySalt:              cfg.KeySalt,
		CookieAge:            time.Duration(cfg.CookieAge),
		ExpireAtBrowserClose: cfg.ExpireAtBrowserClose,
		Backends:             cfg.Backends,
		TimeZone:             env.TimeZone,
	})
	if err != nil {
		return nil, err
	}
	s := &DjangoSession{env: env, sessions: sessions, passes: cfg.PassCookie, writes: cfg.Write, touch: time.Duration(cfg.Touch), isInCookie: cfg.IsInCookie()}
	if s.cookie, err = cfg.cookie(); err != nil {
		return nil, err
	}
	s.backend = loginBackend(sessions.Settings().Backends)
	s.table = cmp.Or(cfg.Table, userstore.DefaultSessionTable)
	s.users = &userstore.Via{Name: djangoSessionName, Option: "django_session: table"}
	s.via = s.users
	if !s.isInCookie {
		s.via = &userstore.Via{Name: djangoSessionName, Option: "django_session: table"}
		s.via.Table, s.via.Column, s.via.Until = s.table, "session_key", columnExpiry
		s.via.Whose, s.via.Reads = s.whose, []string{columnData, columnExpiry}
		s.via.Extends = cfg.Touch != 0
	}
	s.touches.limit = make(chan struct{}, maxTouches)
	return s, nil
}

// loginBackend returns the backend that the session of a login here names: Django
// only accepts a listed one. django-sesame's own comes first, as in Django.
func loginBackend(listed []string) string {
	for _, preferred := range []string{"sesame.backends.ModelBackend", djangosession.ModelBackend} {
		if slices.Contains(listed, preferred) {
			return preferred
		}
	}
	return listed[0]
}
