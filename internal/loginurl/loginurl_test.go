package loginurl_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/loginurl"
)

// request returns a browser's request for a page, with additional header fields.
func request(target string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Site", "none")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// trusted marks a request as sent by a trusted proxy.
func trusted(r *http.Request) *http.Request {
	vars := map[string]any{caddyhttp.TrustedProxyVarKey: true}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
}

func newPage(t *testing.T, address string) *loginurl.Page {
	t.Helper()
	page, err := loginurl.New(address, "")
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestLinkLeadsBackToThePageAsTheBrowserKnowsIt(t *testing.T) {
	t.Parallel()
	secure := request("/x")
	secure.TLS = new(tls.ConnectionState)
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "public.example.com"}
	for name, test := range map[string]struct {
		r    *http.Request
		uri  string
		want string
	}{
		"over HTTP":                      {request("http://app.example.com/x"), "/x?a=1&b=2", "http://app.example.com/x?a=1&b=2"},
		"over HTTPS":                     {secure, "/x", "https://example.com/x"},
		"with a port":                    {request("http://app.example.com:8080/"), "/", "http://app.example.com:8080/"},
		"behind a trusted proxy":         {trusted(request("http://10.0.0.1/", forwarded...)), "/x", "https://public.example.com/x"},
		"behind one that isn't":          {request("http://app.example.com/", forwarded...), "/x", "http://app.example.com/x"},
		"with an invalid forwarded host": {trusted(request("http://app.example.com/", "X-Forwarded-Host", "a, b")), "/x", "http://app.example.com/x"},
		"with a path like a host":        {request("http://app.example.com/"), "/.//evil.example", "http://app.example.com/.//evil.example"},
		"with other characters":          {request("http://app.example.com/"), "/ä?q=%26#x", "http://app.example.com/ä?q=%26#x"},
		"with a long query":              {request("http://app.example.com/"), "/x?" + strings.Repeat("a", 3000), "http://app.example.com/x"},
		"with a long path":               {request("http://app.example.com/"), "/" + strings.Repeat("a", 3000), "http://app.example.com/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link := newPage(t, "https://www.example.com/login/?lang=de").Link(test.r, test.uri)
			got, err := url.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			if next := got.Query().Get("next"); next != test.want {
				t.Errorf("next is %q, want %q", next, test.want)
			}
			if got.Query().Get("lang") != "de" || got.Host != "www.example.com" || got.Path != "/login/" || len(got.Query()) != 2 {
				t.Errorf("the link is %s", link)
			}
		})
	}
}

func TestOnlyBrowsersThatAskForAPageAreSent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		r    *http.Request
		uri  string
		want bool
	}{
		"the address bar":          {request("http://app.example.com/x"), "/x", true},
		"a link of another site":   {request("http://app.example.com/x", "Sec-Fetch-Site", "cross-site"), "/x", true},
		"a script":                 {request("http://app.example.com/x", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), "/x", false},
		"an image":                 {request("http://app.example.com/x", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"), "/x", false},
		"a frame":                  {request("http://app.example.com/x", "Sec-Fetch-Dest", "iframe"), "/x", false},
		"a WebSocket":              {request("http://app.example.com/x", "Upgrade", "websocket"), "/x", false},
		"the page itself":          {request("http://www.example.com/login/"), "/login/?next=x", false},
		"the page of another host": {request("http://app.example.com/login/"), "/login/", true},
		"the page on another port": {request("http://www.example.com:8080/login/"), "/login/", true},
		"another page of its host": {request("http://www.example.com/x"), "/x", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			sent := newPage(t, "http://www.example.com/login/").Send(w, test.r, test.uri, 0)
			if sent != test.want || sent != (w.Code == http.StatusSeeOther) || sent != (w.Header().Get("Location") != "") {
				t.Errorf("sent: %t, want %t; status %d, Location %q", sent, test.want, w.Code, w.Header().Get("Location"))
			}
			if sent && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control: %q", w.Header().Get("Cache-Control"))
			}
		})
	}
}

// TestBrowserThatComesBackAgainAndAgainIsNotSentWithoutEnd follows the redirects of
// a browser that the page sends back at once.
func TestBrowserThatComesBackAgainAndAgainIsNotSentWithoutEnd(t *testing.T) {
	t.Parallel()
	page := newPage(t, "https://www.example.com/login/")
	cookie, times := "", 0
	for ; times < 10; times++ {
		r := request("http://app.example.com/x")
		if cookie != "" {
			r.Header.Set("Cookie", "a=1; "+cookie)
		}
		before := page.Take(r)
		if got := r.Header.Get("Cookie"); cookie != "" && got != "a=1" {
			t.Fatalf("the upstream would get %q", got)
		}
		w := httptest.NewRecorder()
		if !page.Send(w, r, "/x", before) {
			break
		}
		cookie, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
	}
	if times != 3 {
		t.Errorf("the browser was sent %d times, want 3", times)
	}
	for _, value := range []string{"", "0", "x", "10", "-1"} {
		r := request("http://app.example.com/x", "Cookie", "sesame-login="+value)
		if times := page.Take(r); times != 0 {
			t.Errorf("a cookie of %q counts as %d", value, times)
		}
	}
}
