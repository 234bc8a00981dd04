package cookie_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
)

// TestCookieOfDjangoIsReadAsDjangoReadsIt has cookies as browsers, other hosts and
// clients may send them. The wanted values are those of Django's parse_cookie, but
// all of them where Django takes the last.
func TestCookieOfDjangoIsReadAsDjangoReadsIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lines []string
		want  []string
		rest  []string
	}{
		"alone":                         {[]string{"sessionid=abc"}, []string{"abc"}, nil},
		"among others":                  {[]string{"a=1; sessionid=abc; b=2"}, []string{"abc"}, []string{"a=1; b=2"}},
		"twice":                         {[]string{"sessionid=abc; sessionid=def"}, []string{"abc", "def"}, nil},
		"in two fields":                 {[]string{"sessionid=abc", "sessionid=def; a=1"}, []string{"abc", "def"}, []string{"a=1"}},
		"in quotes":                     {[]string{`sessionid="abc"`}, []string{"abc"}, nil},
		"in quotes with escapes":        {[]string{`sessionid="a\"b\\c\101"`}, []string{`a"b\cA`}, nil},
		"with one quote":                {[]string{`sessionid="abc`}, []string{`"abc`}, nil},
		"with spaces":                   {[]string{"a=1;\tsessionid \t=  abc  ;b=2"}, []string{"abc"}, []string{"a=1;b=2"}},
		"with a space that isn't ASCII": {[]string{"\u00a0sessionid\u2003=\u00a0abc"}, []string{"abc"}, nil},
		"with equals signs":             {[]string{"sessionid=a=b=c"}, []string{"a=b=c"}, nil},
		"empty":                         {[]string{"sessionid="}, []string{""}, nil},
		"without a value":               {[]string{"sessionid"}, nil, []string{"sessionid"}},
		"with a prefix":                 {[]string{"__Host-sessionid=abc"}, nil, []string{"__Host-sessionid=abc"}},
		"in other case":                 {[]string{"SessionID=abc"}, nil, []string{"SessionID=abc"}},
		"with another name's end":       {[]string{"mysessionid=abc"}, nil, []string{"mysessionid=abc"}},
		"as another cookie's value":     {[]string{"a=sessionid=abc"}, nil, []string{"a=sessionid=abc"}},
		"others byte for byte":          {[]string{"a=1;;  b = 2 ; c"}, nil, []string{"a=1;;  b = 2 ; c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := cookie.NewExact(cookie.Config{Name: "sessionid"})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["Cookie"] = test.lines
			if got := c.Values(r); !slices.Equal(got, test.want) || !slices.Equal(r.Header["Cookie"], test.lines) {
				t.Errorf("read %q, want %q; the request has %q", got, test.want, r.Header["Cookie"])
			}
			if got := c.Take(r); !slices.Equal(got, test.want) {
				t.Errorf("took %q, want %q", got, test.want)
			}
			if rest := r.Header["Cookie"]; !slices.Equal(rest, test.rest) {
				t.Errorf("the request keeps %q, want %q", rest, test.rest)
			}
		})
	}
}

func TestCookieOfDjangoIsSetAsDjangoSetsIt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		cfg  cookie.Config
		age  time.Duration
		url  string
		want string
	}{
		"over HTTP":         {cookie.Config{Name: "sessionid"}, time.Hour, "http://a.example.com/", "sessionid=v; Path=/; Expires=Fri, 02 Jan 2026 04:04:05 GMT; Max-Age=3600; HttpOnly; SameSite=Lax"},
		"over HTTPS":        {cookie.Config{Name: "sessionid"}, time.Hour, "https://a.example.com/", "sessionid=v; Path=/; Expires=Fri, 02 Jan 2026 04:04:05 GMT; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
		"with all":          {cookie.Config{Name: "__Secure-s", Domain: ".example.com", Path: "/app/", SameSite: "Strict", Secure: "on"}, time.Hour, "http://a.example.com/", "__Secure-s=v; Path=/app/; Domain=example.com; Expires=Fri, 02 Jan 2026 04:04:05 GMT; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"},
		"for the browser's": {cookie.Config{Name: "sessionid"}, 0, "http://a.example.com/", "sessionid=v; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := cookie.NewExact(test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			c.Set(w, httptest.NewRequest(http.MethodGet, test.url, nil), "v", test.age, now)
			if got := w.Header().Get("Set-Cookie"); got != test.want {
				t.Errorf("set %q, want %q", got, test.want)
			}
		})
	}
}

func TestCookieOfDjangoExpiresOthersOfItsHostAndDomain(t *testing.T) {
	t.Parallel()
	c, err := cookie.NewExact(cookie.Config{Name: "sessionid", Domain: ".example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	c.Expire(w, httptest.NewRequest(http.MethodGet, "http://a.example.com/", nil), "csrftoken")
	got := strings.Join(w.Header()["Set-Cookie"], "\n")
	if want := "csrftoken=; Path=/; Max-Age=0\ncsrftoken=; Path=/; Domain=example.com; Max-Age=0"; got != want {
		t.Errorf("set %q, want %q", got, want)
	}
}

func TestCookieOfDjangoNeedsAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a;b", "ä"} {
		if _, err := cookie.NewExact(cookie.Config{Name: name}); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}
