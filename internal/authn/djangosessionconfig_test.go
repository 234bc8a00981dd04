package authn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	djangosession "github.com/caddy-sesame/caddy-sesame/django/session"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestErrorsOfDjangoSessionNameOptionAndRemedy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg    DjangoSessionConfig
		option string // empty for none
		words  string
	}{
		{DjangoSessionConfig{}, "", ""},
		{DjangoSessionConfig{Engine: "cached_db", CookieName: "__Host-sessionid", Touch: caddy.Duration(5 * time.Minute), Write: true}, "", ""},
		{DjangoSessionConfig{Engine: "signed_cookies", Write: true}, "", ""},
		{DjangoSessionConfig{LoginURL: "https://www.example.com/login/?lang=de"}, "", ""},
		{DjangoSessionConfig{Engine: "cache"}, "engine", "django.contrib.sessions.backends.cached_db"},
		{DjangoSessionConfig{Engine: "django.contrib.sessions.backends.file"}, "engine", "cached_db"},
		{DjangoSessionConfig{Engine: "django.contrib.sessions.backends.db"}, "engine", "the last part of it, db"},
		{DjangoSessionConfig{Engine: "people.sessions"}, "engine", "key_salt"},
		{DjangoSessionConfig{Engine: "signed_cookies", Touch: caddy.Duration(time.Minute)}, "touch", "no table"},
		{DjangoSessionConfig{Engine: "signed_cookies", Table: "sessions"}, "table", "none"},
		{DjangoSessionConfig{Engine: "signed_cookies", KeySalt: "x"}, "key_salt", "doesn't use it"},
		{DjangoSessionConfig{CookieName: "a b"}, "cookie_name", "not a name"},
		{DjangoSessionConfig{CookieDomain: "https://example.com"}, "cookie_domain", "a name such as example.com"},
		{DjangoSessionConfig{CookiePath: "app"}, "cookie_path", "begin with a slash"},
		{DjangoSessionConfig{CookieSecure: "yes"}, "cookie_secure", "auto, on or off"},
		{DjangoSessionConfig{CookieSameSite: "loose"}, "cookie_samesite", "lax, strict or none"},
		{DjangoSessionConfig{CookieAge: 1209600}, "cookie_age", "nanoseconds"},
		{DjangoSessionConfig{CookieAge: -1}, "cookie_age", "14d"},
		{DjangoSessionConfig{Touch: 300}, "touch", "nanoseconds"},
		{DjangoSessionConfig{Touch: caddy.Duration(time.Hour), CookieAge: caddy.Duration(time.Hour)}, "touch", "never be extended"},
		{DjangoSessionConfig{Backends: []string{"ModelBackend"}}, "backends", djangosession.ModelBackend},
		{DjangoSessionConfig{Backends: []string{"['a.b']"}}, "backends", "dotted path"},
		{DjangoSessionConfig{LoginURL: "/accounts/login/"}, "login_url", "absolute"},
		{DjangoSessionConfig{LoginURL: "https://:443/login/"}, "login_url", "absolute"},
		{DjangoSessionConfig{LoginURL: "javascript:alert(1)"}, "login_url", "absolute"},
		{DjangoSessionConfig{LoginURL: "https://user@www.example.com/"}, "login_url", "user name"},
		{DjangoSessionConfig{LoginURL: "https://www.example.com/#login"}, "login_url", "#"},
		{DjangoSessionConfig{LoginURL: "https://www.example.com/?next=/x"}, "login_url", "next"},
		{DjangoSessionConfig{LoginURL: "https://www.example.com/{path}"}, "login_url", "placeholders"},
	} {
		err := test.cfg.Validate()
		if test.option == "" {
			if err != nil {
				t.Errorf("%+v: %v", test.cfg, err)
			}
			continue
		}
		about, ok := errors.AsType[*setting.Error](err)
		if !ok || about.Option() != test.option || !strings.Contains(err.Error(), test.words) || !strings.HasPrefix(err.Error(), test.option) {
			t.Errorf("%+v: %v; want an error about %s that says %q", test.cfg, err, test.option, test.words)
		}
	}
}

// newDjangoSession makes the scheme of a configuration, with the tests' key.
func newDjangoSession(t *testing.T, cfg DjangoSessionConfig) *DjangoSession {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	scheme, err := cfg.New(&Environment{
		Settings: token.Settings{SecretKey: "key", SecretKeyFallbacks: []string{"former key"}},
		Store:    func() *userstore.MySQL { return nil },
		Now:      time.Now,
		TimeZone: time.UTC,
		Logger:   zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return scheme.(*DjangoSession)
}

func TestDjangoSessionAsksTheStoreForNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg                  DjangoSessionConfig
		table, sessionsTable string
		extends              bool
	}{
		{DjangoSessionConfig{}, "django_session", "", false},
		{DjangoSessionConfig{Table: "other.sessions", Touch: caddy.Duration(time.Minute)}, "other.sessions", "", true},
		{DjangoSessionConfig{Write: true}, "django_session", "django_session", false},
		{DjangoSessionConfig{Engine: "signed_cookies", Write: true}, "", "", false},
	} {
		var needs userstore.Needs
		newDjangoSession(t, test.cfg).AddNeeds(&needs)
		via := needs.Vias[0]
		if via.Table != test.table || needs.SessionTable != test.sessionsTable || via.Extends != test.extends {
			t.Errorf("%+v: reads %q, writes %q, extends: %t", test.cfg, via.Table, needs.SessionTable, via.Extends)
		}
	}
}

func TestLoginsAreOfABackendThatDjangoAccepts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listed []string
		want   string
	}{
		{nil, djangosession.ModelBackend},
		{[]string{"a.B", djangosession.ModelBackend}, djangosession.ModelBackend},
		{[]string{djangosession.ModelBackend, "sesame.backends.ModelBackend"}, "sesame.backends.ModelBackend"},
		{[]string{"a.B", "c.D"}, "a.B"},
	} {
		if got := newDjangoSession(t, DjangoSessionConfig{Backends: test.listed}).backend; got != test.want {
			t.Errorf("of %q, logins are of %s, want %s", test.listed, got, test.want)
		}
	}
}
