package cookie

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// attributes are the Set-Cookie lines of configurations.
var attributes = []struct {
	name       string
	cfg        Config
	overTLS    bool
	forwarded  string // X-Forwarded-Proto
	isTrusted  bool   // the client is a trusted proxy
	set, clear string
}{
	{
		"nothing is configured, over HTTP",
		Config{},
		false, "", false,
		"sesame=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", "sesame=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
	},
	{
		"nothing is configured, over HTTPS",
		Config{},
		true, "", false,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax", "__Host-sesame=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
	},
	{
		"a trusted proxy speaks HTTPS with the browser",
		Config{},
		false, "https", true,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax", "",
	},
	{
		"a trusted proxy writes that in capitals",
		Config{},
		false, "HTTPS", true,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax", "",
	},
	{
		"a trusted proxy speaks HTTP with the browser",
		Config{},
		false, "http", true,
		"sesame=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", "",
	},
	{
		"a client that isn't trusted says it is HTTPS",
		Config{},
		false, "https", false,
		"sesame=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", "",
	},
	{
		"secure on, over HTTP",
		Config{Secure: "on"},
		false, "", false,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax", "",
	},
	{
		"secure off, over HTTPS",
		Config{Secure: "off"},
		true, "", false,
		"sesame=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", "",
	},
	{
		"a domain",
		Config{Domain: ".Example.COM"},
		true, "", false,
		"sesame=v; Path=/; Domain=example.com; Max-Age=60; HttpOnly; Secure; SameSite=Lax", "sesame=; Path=/; Domain=example.com; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
	},
	{
		"a path",
		Config{Path: "/app"},
		true, "", false,
		"sesame=v; Path=/app; Max-Age=60; HttpOnly; Secure; SameSite=Lax", "",
	},
	{
		"a name, and same_site strict",
		Config{Name: "login", SameSite: "Strict"},
		false, "", false,
		"login=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict", "",
	},
	{
		"same_site lax by name",
		Config{SameSite: "lax"},
		false, "", false,
		"sesame=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", "",
	},
	{
		"same_site none, over HTTPS",
		Config{SameSite: "none"},
		true, "", false,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None", "",
	},
	{
		"same_site none, over HTTP: browsers take it only with Secure",
		Config{SameSite: "none"},
		false, "", false,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None", "__Host-sesame=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=None",
	},
	{
		"partitioned, over HTTP",
		Config{SameSite: "none", Partitioned: true},
		false, "", false,
		"__Host-sesame=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned", "__Host-sesame=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=None\n" +
			"__Host-sesame=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=None; Partitioned",
	},
	{
		"a domain and a path, over HTTP",
		Config{Domain: "example.com", Path: "/app/"},
		false, "", false,
		"sesame=v; Path=/app/; Domain=example.com; Max-Age=60; HttpOnly; SameSite=Lax", "sesame=; Path=/app/; Domain=example.com; Max-Age=0; HttpOnly; SameSite=Lax",
	},
}

// TestCookieHasTheAttributesOfItsConfiguration compares the whole line: browsers
// go by each of its parts.
func TestCookieHasTheAttributesOfItsConfiguration(t *testing.T) {
	t.Parallel()
	for _, test := range attributes {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := New(test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "http://app.example.com/", nil)
			if test.overTLS {
				r.TLS = new(tls.ConnectionState)
			}
			if test.forwarded != "" {
				r.Header.Set("X-Forwarded-Proto", test.forwarded)
			}
			r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{caddyhttp.TrustedProxyVarKey: test.isTrusted}))
			w := httptest.NewRecorder()
			c.Set(w, r, "v", time.Minute)
			if got := w.Header()["Set-Cookie"]; !slices.Equal(got, []string{test.set}) {
				t.Errorf("%q, want %q", got, test.set)
			}
			if test.clear == "" {
				return
			}
			w = httptest.NewRecorder()
			c.Clear(w, r)
			if got := w.Header()["Set-Cookie"]; strings.Join(got, "\n") != test.clear {
				t.Errorf("cleared by %q, want %q", got, test.clear)
			}
		})
	}
}

// TestConfigurationOfACookieThatCannotBeIsRejected names the option, so that the
// error is located in a Caddyfile.
func TestConfigurationOfACookieThatCannotBeIsRejected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		cfg    Config
		option string
	}{
		{"a prefix of its own", Config{Name: "__Host-sesame"}, "name"},
		{"a name with a space", Config{Name: "my cookie"}, "name"},
		{"a name with an equals sign", Config{Name: "a=b"}, "name"},
		{"a path that doesn't begin with a slash", Config{Path: "app"}, "path"},
		{"a path with an attribute after it", Config{Path: "/app; Domain=com"}, "path"},
		{"a path with a line break", Config{Path: "/app\r"}, "path"},
		{"a path with a star", Config{Path: "/app/*"}, "path"},
		{"a path with a placeholder", Config{Path: "/{app}"}, "path"},
		{"a path with parameters", Config{Path: "/app?x"}, "path"},
		{"a path with a fragment", Config{Path: "/app#x"}, "path"},
		{"a path with a space", Config{Path: "/my app"}, "path"},
		{"a domain with a star", Config{Domain: "*.example.com"}, "domain"},
		{"a domain with a port", Config{Domain: "example.com:443"}, "domain"},
		{"a domain with an attribute after it", Config{Domain: "example.com; Secure"}, "domain"},
		{"a domain that is a URL", Config{Domain: "https://example.com/"}, "domain"},
		{"another word for secure", Config{Secure: "yes"}, "secure"},
		{"another word for same_site", Config{SameSite: "loose"}, "same_site"},
		{"partitioned without same_site none", Config{Partitioned: true}, "partitioned"},
		{"partitioned without secure", Config{SameSite: "none", Secure: "off", Partitioned: true}, "same_site"},
		{"same_site none without secure", Config{SameSite: "none", Secure: "off"}, "same_site"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(test.cfg)
			var located *setting.Error
			if !errors.As(err, &located) {
				t.Fatalf("%v: no error of an option", err)
			}
			if !strings.HasPrefix(err.Error(), test.option+" ") {
				t.Errorf("%v: it doesn't name the option %s", err, test.option)
			}
		})
	}
}

// TestSiteIsThatOfAllWhoGetTheCookie: a session holds for the hosts that its
// cookie is sent to, however they are written.
func TestSiteIsThatOfAllWhoGetTheCookie(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ domain, host, want string }{
		{"", "App.Example.com:8443", "app.example.com"},
		{"", "app.example.com", "app.example.com"},
		{"", "[::1]:80", "::1"},
		{".Example.com", "app.example.com", "example.com"},
	} {
		c, err := New(Config{Domain: test.domain})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = test.host
		if got := c.Site(r); got != test.want {
			t.Errorf("with the domain %q, %s is of the site %q, want %q", test.domain, test.host, got, test.want)
		}
	}
}

func TestConfigurationOfADomainWithAStarSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Domain: "*.Example.com"}); err == nil || !strings.Contains(err.Error(), "write example.com,") {
		t.Errorf("%v", err)
	}
}

func TestDomainsAndPathsThatACookieMayHaveBeenSetWith(t *testing.T) {
	t.Parallel()
	for host, want := range map[string][]string{
		"localhost":                    {""},
		"127.0.0.1:8080":               {""},
		"[::1]:8080":                   {""},
		"example.com":                  {"", "example.com"},
		"App.Example.com:443":          {"", "app.example.com", "example.com"},
		"a.b.c.example.com":            {"", "a.b.c.example.com", "b.c.example.com", "c.example.com"},
		"a.b.example.com":              {"", "a.b.example.com", "b.example.com", "example.com"},
		"com.":                         {""},
		"one.two.three.four.five.test": {"", "one.two.three.four.five.test", "two.three.four.five.test", "three.four.five.test"},
		"my_app.example.com":           {"", "example.com"},
		"app..example.com":             {"", "example.com"},
		"a%00.example.com":             {"", "example.com"},
		"[fe80::1%25a.b]":              {""},
		"":                             {""},
		":443":                         {""},

		strings.Repeat("_.", 200) + "example.com": {""},
	} {
		if got := domainsOf(host); !slices.Equal(got, want) {
			t.Errorf("%s: domains %q, want %q", host, got, want)
		}
	}
	for path, want := range map[string][]string{
		"":             nil,
		"/":            nil,
		"/a":           {"/a"},
		"/a/":          {"/a", "/a/"},
		"/a/b":         {"/a", "/a/", "/a/b"},
		"/a/b/c":       {"/a", "/a/", "/a/b", "/a/b/", "/a/b/c"},
		"/a/b/c/":      {"/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/"},
		"/a/b/c/d":     {"/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/"},
		"/a b/c":       nil,
		"/a/b;c":       {"/a", "/a/"},
		"/a/\x7f":      {"/a", "/a/"},
		"/a/~":         {"/a", "/a/", "/a/~"},
		"/a/é":         {"/a", "/a/"},
		"/!/line\nend": {"/!", "/!/"},
		"/a/b/c/d/e":   {"/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/"},
	} {
		if got := pathsAbove(path); !slices.Equal(got, want) {
			t.Errorf("%q: paths %q, want %q", path, got, want)
		}
	}
}

func TestCookieForABrowserThatIsOpenHasNoAge(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Secure: "on"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	c.SetUntilClosed(w, httptest.NewRequest(http.MethodGet, "/", nil), "v")
	if got := w.Header()["Set-Cookie"]; !slices.Equal(got, []string{"__Host-sesame=v; Path=/; HttpOnly; Secure; SameSite=Lax"}) {
		t.Errorf("%q", got)
	}
}
