package settings

import (
	"math"
	"slices"
	"strings"
)

// logins is what Script tells of the ways in which Django lets users in, besides
// django-sesame's tokens.
type logins struct {
	Session  *sessionLogins  `json:"session"`  // nil where there are none, or none that can be read
	Password *passwordLogins `json:"password"` // nil where no backend of Django's checks any
	API      apiLogins       `json:"api"`
	Notes    []Note          `json:"notes"`
}

// sessionLogins are Django's sessions.
type sessionLogins struct {
	Engine   string   `json:"engine"`    // db, cached_db or signed_cookies
	KeySalt  string   `json:"key_salt"`  // empty for the key_salt of Django's classes
	Place    *place   `json:"place"`     // nil for signed_cookies
	Backends []string `json:"backends"`  // backends with the gateway's rules for users
	LoginURL string   `json:"login_url"` // empty where it isn't known
}

const (
	engineSetting   = "SESSION_ENGINE"
	backendsSetting = "AUTHENTICATION_BACKENDS"
	modelBackend    = "django.contrib.auth.backends.ModelBackend"
	sessionTable    = "django_session"
)

// sessions writes how to accept Django's sessions.
func (b *block) sessions() error {
	if b.login != nil {
		for _, note := range b.login.Notes {
			b.note(note.Setting, "%s", note.Text)
		}
	}
	s := b.sessionLogins()
	if s == nil {
		return nil
	}
	n, err := b.djangoSession(s)
	if err == nil {
		err = b.nest(n)
	}
	if err != nil {
		b.note(engineSetting, "%v: the gateway can't accept Django's sessions", err)
		return nil //nolint:nilerr // the rest of the configuration is good without
	}
	b.noteSessions(s)
	b.hasSessions, b.hasVias = true, true
	return nil
}

// sessionLogins returns the sessions that Script found, or those that the settings
// imply.
func (b *block) sessionLogins() *sessionLogins {
	if b.login != nil {
		return b.login.Session
	}
	lists := func(setting string, names ...string) bool {
		list, _ := b.settings[setting].([]any)
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(list, any(name)) })
	}
	if b.user != nil || !lists("INSTALLED_APPS", "django.contrib.auth", "django.contrib.sessions") ||
		!lists("MIDDLEWARE", "django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware") {
		return nil
	}
	s := &sessionLogins{Engine: "db", Place: &place{Table: []string{sessionTable}}}
	if b.isSet(engineSetting) {
		engine, _ := b.settings[engineSetting].(string)
		s.Engine = strings.TrimPrefix(engine, "django.contrib.sessions.backends.")
	}
	serializer, isSet := b.settings["SESSION_SERIALIZER"].(string)
	switch {
	case !slices.Contains([]string{"db", "cached_db", "signed_cookies"}, s.Engine):
		b.note(engineSetting, "it isn't one of Django's db, cached_db and signed_cookies: the gateway can't accept Django's sessions. %s whether it is derived from one", giveScript)
		return nil
	case isSet && !strings.HasSuffix(serializer, ".JSONSerializer"):
		b.note("SESSION_SERIALIZER", "it isn't Django's JSONSerializer: the gateway can't accept Django's sessions")
		return nil
	}
	s.LoginURL, _ = b.settings["LOGIN_URL"].(string)
	s.Backends = b.stockBackends()
	return s
}

// stockBackends returns the backends in the settings that are known without Script.
func (b *block) stockBackends() []string {
	listed, ok := b.settings[backendsSetting].([]any)
	if !ok {
		return []string{modelBackend}
	}
	var stock []string
	for _, value := range listed {
		switch name, _ := value.(string); name {
		case modelBackend, "sesame.backends.ModelBackend":
			stock = append(stock, name)
		default:
			b.note(backendsSetting, "sessions of users whom %q has logged in aren't accepted, as the settings don't tell whom it lets in. %s", name, giveScript)
		}
	}
	return stock
}

// djangoSession is the option django_session.
func (b *block) djangoSession(s *sessionLogins) (*nested, error) {
	n := &nested{head: "django_session"}
	if s.Engine != "db" {
		n.option("engine", s.Engine)
	}
	for _, step := range []func(*nested) error{b.sessionCookie, b.sessionLifetime} {
		if err := step(n); err != nil {
			return nil, err
		}
	}
	if s.Place != nil && s.Engine != "signed_cookies" {
		table := sessionTable
		if b.login != nil {
			var err error
			if table, err = b.placed(s.Place); err != nil {
				return nil, err
			}
		}
		if table != sessionTable {
			n.option("table", table)
		}
	}
	if s.KeySalt != "" {
		n.option("key_salt", s.KeySalt)
	}
	if len(s.Backends) == 0 {
		return nil, problem(backendsSetting, "none of them is known to find users as Django's own do")
	}
	if !slices.Equal(s.Backends, []string{modelBackend}) {
		n.option("backends", s.Backends...)
	}
	if err := b.touch(n, s); err != nil {
		return nil, err
	}
	loginURL(n, s.LoginURL)
	return n, nil
}

// sessionCookie writes what the cookie is like.
func (b *block) sessionCookie(n *nested) error {
	for _, option := range []struct{ name, setting, byDefault string }{
		{"cookie_name", "SESSION_COOKIE_NAME", "sessionid"},
		{"cookie_domain", "SESSION_COOKIE_DOMAIN", ""},
		{"cookie_path", "SESSION_COOKIE_PATH", "/"},
	} {
		value, err := b.text(option.setting)
		if err != nil {
			return err
		}
		if value != "" && value != option.byDefault {
			n.option(option.name, value)
		}
	}
	if isSecure, err := b.isTrue("SESSION_COOKIE_SECURE", false); err != nil {
		return err
	} else if isSecure {
		n.option("cookie_secure", "on")
	}
	switch sameSite := b.settings["SESSION_COOKIE_SAMESITE"]; sameSite {
	case nil, false, "Lax":
	case "Strict", "None":
		n.option("cookie_samesite", strings.ToLower(sameSite.(string))) //nolint:forcetypeassert // checked above
	default:
		return problem("SESSION_COOKIE_SAMESITE", "it must be Lax, Strict, None or False")
	}
	return nil
}

// sessionLifetime writes how long sessions last.
func (b *block) sessionLifetime(n *nested) error {
	if b.isSet("SESSION_COOKIE_AGE") {
		age, err := secondsOf(b.settings["SESSION_COOKIE_AGE"])
		switch {
		case err != nil:
			return problem("SESSION_COOKIE_AGE", "%w", err)
		case age <= 0:
			return problem("SESSION_COOKIE_AGE", "it is %s s, so that every session has expired", formatSeconds(age))
		case age != defaultCookieAge:
			n.option("cookie_age", formatSeconds(age))
		}
	}
	atClose, err := b.isTrue("SESSION_EXPIRE_AT_BROWSER_CLOSE", false)
	if atClose {
		n.option("expire_at_browser_close", "on")
	}
	return err
}

// touch writes whether a session's end moves with each request.
func (b *block) touch(n *nested, s *sessionLogins) error {
	const setting = "SESSION_SAVE_EVERY_REQUEST"
	saves, err := b.isTrue(setting, false)
	switch {
	case err != nil || !saves:
		return err
	case s.Engine == "signed_cookies":
		b.note(setting, "the gateway doesn't make cookies of signed_cookies anew: requests to it don't extend a session")
	default:
		n.option("touch", b.touchInterval())
		b.note(setting, "option touch needs the right to update the table of sessions")
	}
	return nil
}

// touchInterval is how often a session is extended: far more often than it ends.
func (b *block) touchInterval() string {
	const often = 5 * 60
	age, err := secondsOf(b.settings["SESSION_COOKIE_AGE"])
	if err != nil || age >= 4*often {
		return "5m"
	}
	return formatSeconds(max(1, math.Floor(age/4))) + "s"
}

// loginURL writes where Django logs users in, which has to be a whole URL.
func loginURL(n *nested, url string) {
	switch {
	case strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://"):
		n.option("login_url", url)
	case strings.HasPrefix(url, "/") && isPlain(url):
		n.comment("Where browsers without a session log in, LOGIN_URL as a whole URL:")
		n.comment("login_url https://www.example.com%s", url)
	default:
		n.comment("Where browsers without a session log in, LOGIN_URL as a whole URL:")
		n.comment("login_url https://www.example.com/accounts/login/")
	}
}

// noteSessions notes facts about Django's sessions.
func (b *block) noteSessions(s *sessionLogins) {
	if domain, _ := b.text("SESSION_COOKIE_DOMAIN"); domain == "" {
		b.note("SESSION_COOKIE_DOMAIN", "it isn't set, so that browsers send Django's session cookie to Django's own host alone. If the gateway has another host, set it to the domain that both are in, here and in Django")
	}
	if sameSite, isSet := b.settings["SESSION_COOKIE_SAMESITE"]; isSet && (sameSite == nil || sameSite == false) {
		b.note("SESSION_COOKIE_SAMESITE", "Django's cookie has no SameSite, and the gateway's would be Lax with write on")
	}
	if s.Engine == "cached_db" {
		b.note(engineSetting, "the gateway reads the table of sessions, and not the cache: a session that Django has only in the cache isn't found")
	}
}
