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
		"a quote alone":                 {[]string{`sessionid="`}, []string{`"`}, nil},
		"nothing in quotes":             {[]string{`sessionid=""`}, []string{""}, nil},
		"with a quote at the end":       {[]string{`sessionid=abc"`}, []string{`abc"`}, nil},
		"octal before a character":      {[]string{`sessionid="\101b"`}, []string{"Ab"}, nil},
		"the last octal of a byte":      {[]string{`sessionid="\176\377"`}, []string{"~\xff"}, nil},
		"octal that is no byte":         {[]string{`sessionid="\400"`}, []string{"400"}, nil},
		"octal of two digits":           {[]string{`sessionid="\10"`}, []string{"10"}, nil},
		"octal with digits up to 8":     {[]string{`sessionid="\178\187"`}, []string{"178187"}, nil},
		"octal of other characters":     {[]string{`sessionid="\/01\0/1\00/\:00\0:0"`}, []string{"/010/100/:000:0"}, nil},
		"a backslash at the end":        {[]string{`sessionid="abc\"`}, []string{`abc\`}, nil},
		"between separators":            {[]string{"\x1csessionid\x1d=\x1eabc\x1f"}, []string{"abc"}, nil},
		"after another control":         {[]string{"\x1bsessionid=abc"}, nil, []string{"\x1bsessionid=abc"}},
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
	for _, test := range []struct{ domain, want string }{
		{"", "csrftoken=; Path=/; Max-Age=0"},
		{".example.com", "csrftoken=; Path=/; Max-Age=0\ncsrftoken=; Path=/; Domain=example.com; Max-Age=0"},
	} {
		c, err := cookie.NewExact(cookie.Config{Name: "sessionid", Domain: test.domain})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		c.Expire(w, httptest.NewRequest(http.MethodGet, "http://a.example.com/", nil), "csrftoken")
		if got := strings.Join(w.Header()["Set-Cookie"], "\n"); got != test.want {
			t.Errorf("with the domain %q it sets %q, want %q", test.domain, got, test.want)
		}
	}
}

// TestCookieOfDjangoIsForgotten where it was set, and with ClearAll also where
// another host may have set it.
func TestCookieOfDjangoIsForgotten(t *testing.T) {
	t.Parallel()
	c, err := cookie.NewExact(cookie.Config{Name: "sessionid", Domain: "example.com", Path: "/app"})
	if err != nil {
		t.Fatal(err)
	}
	const own = "sessionid=; Path=/app; Domain=example.com; Max-Age=0; HttpOnly; SameSite=Lax"
	r := httptest.NewRequest(http.MethodGet, "http://a.example.com/app", nil)
	w := httptest.NewRecorder()
	c.Clear(w, r)
	if got := w.Header()["Set-Cookie"]; !slices.Equal(got, []string{own}) {
		t.Errorf("set %q, want %q", got, own)
	}
	w = httptest.NewRecorder()
	c.ClearAll(w, r)
	got := w.Header()["Set-Cookie"]
	for _, want := range []string{own, "sessionid=; Path=/; Max-Age=0", "sessionid=; Path=/; Domain=a.example.com; Max-Age=0"} {
		if !slices.Contains(got, want) {
			t.Errorf("set %q, want %q among them", got, want)
		}
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

func TestCookieOfDjangoWithAnAttributeThatCannotBeIsRejected(t *testing.T) {
	t.Parallel()
	for _, cfg := range []cookie.Config{{Path: "app"}, {Domain: "*.example.com"}, {Secure: "yes"}, {SameSite: "loose"}} {
		cfg.Name = "sessionid"
		if _, err := cookie.NewExact(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
