package cookie

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestEndingExpiresCookiesOnEachPathAndDomain(t *testing.T) {
	t.Parallel()
	own, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		names           []string
		host, path      string
		cookie, rest    string
		expired, absent []string
	}{
		"a name, with each domain of the host": {
			names: []string{"sid"}, host: "a.b.example.com:443", path: "/", cookie: "x=1; sid=2;y=3", rest: "x=1;y=3",
			expired: []string{"sid=; Path=/; Max-Age=0", "sid=; Path=/; Domain=a.b.example.com; Max-Age=0", "sid=; Path=/; Domain=b.example.com; Max-Age=0", "sid=; Path=/; Domain=example.com; Max-Age=0"},
			absent:  []string{"Domain=com;"},
		},
		"an address has no domains": {
			names: []string{"sid"}, host: "127.0.0.1:80", path: "/", expired: []string{"sid=; Path=/; Max-Age=0"}, absent: []string{"Domain"},
		},
		"a name that the request hasn't": {
			names: []string{"sid:/app/"}, host: "localhost", path: "/x/y", cookie: "x=1", rest: "x=1",
			expired: []string{"sid=; Path=/app/; Max-Age=0"}, absent: []string{"Path=/;", "Path=/x"},
		},
		"the paths of the URL for one that it has": {
			names: []string{"sid:/app/"}, host: "localhost", path: "/x/y", cookie: "sid=1",
			expired: []string{"sid=; Path=/app/; Max-Age=0", "sid=; Path=/x; Max-Age=0", "sid=; Path=/x/; Max-Age=0", "sid=; Path=/x/y; Max-Age=0"},
		},
		"all that begin so, of those that it has": {
			names: []string{"wp_*"}, host: "localhost", path: "/", cookie: "wp_a=1; wp=2; xwp_=3; wp_b=4", rest: "wp=2; xwp_=3",
			expired: []string{"wp_a=; Path=/; Max-Age=0", "wp_b=; Path=/; Max-Age=0"}, absent: []string{"wp=;", "xwp"},
		},
		"a name with a prefix that has conditions": {
			names: []string{"__Host-sid", "__Secure-sid"}, host: "app.example.com", path: "/x",
			expired: []string{"__Host-sid=; Path=/; Max-Age=0; Secure", "__Secure-sid=; Path=/; Domain=example.com; Max-Age=0; Secure"},
			absent:  []string{"__Host-sid=; Path=/; Domain"},
		},
		"a path that can't be in a field": {
			names: []string{"sid"}, host: "localhost", path: "/é;x/y", cookie: "sid=1", expired: []string{"sid=; Path=/; Max-Age=0"}, absent: []string{"é", ";x"},
		},
		"one that begins like a name": {
			names: []string{"sid"}, host: "localhost", path: "/", cookie: "sid2=1; sid = 2;\tsid\t=3", rest: "sid2=1",
			expired: []string{"sid=; Path=/; Max-Age=0"}, absent: []string{"sid2"},
		},
		"two patterns with the same path, and one that doesn't match": {
			names: []string{"wp_*:/blog/", "wp_a*:/blog/", "x*:/x/"}, host: "localhost", path: "/", cookie: "wp_a=1",
			expired: []string{"wp_a=; Path=/blog/; Max-Age=0"}, absent: []string{"/x/"},
		},
		"a line without one stays as it is": {
			names: []string{"sid"}, host: "localhost", path: "/", cookie: " x=1 ;y=2", rest: " x=1 ;y=2",
		},
		"a name that no cookie can have": {
			names: []string{"*"}, host: "localhost", path: "/", cookie: "a b=1; =2", absent: []string{"a b", "Max-Age"},
		},
		"the gateway's name with an asterisk": {
			names: []string{"sesame*"}, host: "localhost", path: "/", cookie: "sesame_app=1; x=2", rest: "x=2", expired: []string{"sesame_app=; Path=/; Max-Age=0"},
		},
		"none": {host: "app.example.com", path: "/", cookie: "sid=1", rest: "sid=1", absent: []string{"sid"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ending, err := ParseEnding(test.names, nil, &own)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host, r.URL.Path = test.host, test.path
			if test.cookie != "" {
				r.Header["Cookie"] = []string{test.cookie}
			}
			w := httptest.NewRecorder()
			ending.Expire(w, r)
			if got := r.Header.Get("Cookie"); got != test.rest {
				t.Errorf("%q go on, want %q", got, test.rest)
			}
			if lines, has := r.Header["Cookie"]; has && test.rest == "" {
				t.Errorf("a field without a cookie goes on: %q", lines)
			}
			set := w.Header()["Set-Cookie"]
			if sorted := slices.Sorted(slices.Values(set)); len(slices.Compact(sorted)) != len(set) {
				t.Errorf("a cookie is expired twice: %q", set)
			}
			for _, want := range test.expired {
				if !slices.Contains(set, want) {
					t.Errorf("%q isn't among %q", want, set)
				}
			}
			for _, part := range test.absent {
				if strings.Contains(strings.Join(set, "\n"), part) {
					t.Errorf("%q is in %q", part, set)
				}
			}
		})
	}
}

// TestOverHTTPSCookiesExpireWithSecure: browsers let no other response overwrite
// a cookie that is Secure.
func TestOverHTTPSCookiesExpireWithSecure(t *testing.T) {
	t.Parallel()
	own, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ending, err := ParseEnding([]string{"sid"}, nil, &own)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "https://localhost/", nil)
	w := httptest.NewRecorder()
	ending.Expire(w, r)
	if got, want := w.Header()["Set-Cookie"], []string{"sid=; Path=/; Max-Age=0; Secure"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEndingNamesOptionAndRemedyOfWrongCookies(t *testing.T) {
	t.Parallel()
	own, err := New(Config{Name: "login"})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"sid:app/":      "must begin with a slash, as in sid:/app/",
		"sid:":          "must begin with a slash",
		"sid:/a;b":      "must begin with a slash",
		"sid:/a\rb":     "must begin with a slash",
		"sid:/a\nb":     "must begin with a slash",
		"":              "not a valid cookie name",
		"a b":           "not a valid cookie name",
		"a*b":           "",
		"a=*":           "not a valid cookie name",
		"login":         "the gateway's own cookie",
		"__Host-login":  "the gateway's own cookie",
		"login:/app/":   "the gateway's own cookie",
		"login*":        "",
		"*":             "",
		"*:/app/":       "",
		"sid":           "",
		"__Secure-sid":  "",
		"__Host-login2": "",
	} {
		_, err := ParseEnding([]string{"ok", text}, nil, &own)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "end_cookies ")):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestClearAllExpiresWhatAnotherHostHasPlanted: a cookie of the domain or of a
// path would otherwise be sent on with each request.
func TestClearAllExpiresWhatAnotherHostHasPlanted(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Domain: "example.com", Path: "/a"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	c.ClearAll(w, httptest.NewRequest(http.MethodGet, "http://app.example.com/a/b", nil))
	set := w.Header()["Set-Cookie"]
	for _, path := range []string{"/", "/a", "/a/", "/a/b"} {
		for _, domain := range []string{"", "; Domain=app.example.com", "; Domain=example.com"} {
			if want := "sesame=; Path=" + path + domain + "; Max-Age=0"; !slices.Contains(set, want) {
				t.Errorf("%q isn't among %q", want, set)
			}
		}
	}
	if first := "sesame=; Path=/a; Domain=example.com; Max-Age=0; HttpOnly; SameSite=Lax"; len(set) != 13 || set[0] != first {
		t.Errorf("%d cookies, %q first; want 13 and %q", len(set), set[0], first)
	}
}

// TestEndingExpiresABoundedNumberOfCookies sends a request with very many
// cookies.
func TestEndingExpiresABoundedNumberOfCookies(t *testing.T) {
	t.Parallel()
	own, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ending, err := ParseEnding([]string{"*"}, nil, &own)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/a/b/c/d/e/f/g", nil)
	var cookies []string
	for i := range 5000 {
		cookies = append(cookies, fmt.Sprintf("c%d=x", i))
	}
	r.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	w := httptest.NewRecorder()
	ending.Expire(w, r)
	if set := w.Header()["Set-Cookie"]; len(set) != maxExpired {
		t.Errorf("%d cookies are expired, want %d", len(set), maxExpired)
	}
	if len(r.Header["Cookie"]) > 0 {
		t.Errorf("%q go on", r.Header["Cookie"])
	}
}

// TestClearSiteDataIsSentOverHTTPSOnly ends the data of an application with its
// cookies.
func TestClearSiteDataIsSentOverHTTPSOnly(t *testing.T) {
	t.Parallel()
	own, err := New(Config{Name: "login"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, url     string
		cookies, data []string
		want          string
	}{
		{"storage", "https://example.com/", nil, []string{"storage"}, `"storage"`},
		{"both, with cookies", "https://example.com/", []string{"sid"}, []string{"cache", "storage"}, `"cache", "storage"`},
		{"none", "https://example.com/", []string{"sid"}, nil, ""},
		{"plain HTTP", "http://example.com/", nil, []string{"storage"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ending, err := ParseEnding(test.cookies, test.data, &own)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			ending.Expire(w, httptest.NewRequest(http.MethodGet, test.url, nil))
			if got := w.Header().Get("Clear-Site-Data"); got != test.want {
				t.Errorf("Clear-Site-Data is %q, want %q", got, test.want)
			}
			if got := len(w.Header()["Set-Cookie"]) > 0; got != (len(test.cookies) > 0) {
				t.Errorf("cookies expire: %t", got)
			}
		})
	}
}
