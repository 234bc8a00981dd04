package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestHelpURLsThatLeadNowhereAreRejected(t *testing.T) {
	t.Parallel()
	for helpURL, want := range map[string]string{
		"help.example.com":                     "write https://help.example.com",
		"www.example.com/help?x=1":             "write https://www.example.com/help",
		"//help.example.com/x":                 "write https://help.example.com/x",
		"help":                                 "write /help",
		"./help":                               "must begin with a slash",
		"?help":                                "must begin with a slash",
		"localhost:8080/help":                  "it must be an https: or mailto: URL, or a path",
		"https:/help":                          "it must be an https: or mailto: URL, or a path",
		"https:help.example.com":               "it must be an https: or mailto: URL, or a path",
		"javascript:alert(1)":                  "it must be an https: or mailto: URL, or a path",
		"data:text/html,x":                     "it must be an https: or mailto: URL, or a path",
		"mailto:":                              "must be followed by an address",
		"https://{http.request.host}/help":     "placeholders can stand in its parameters only",
		"/{http.request.uri.path}":             "placeholders can stand in its parameters only",
		"{http.vars.help}":                     "placeholders can stand in its parameters only",
		"/help?x={http.request.header.Cookie}": "{http.request.header.Cookie} may hold a credential",
		"/help?x={http.request.cookie.sesame}": "may hold a credential",
		"/help?x={http.request.body}":          "may hold a credential",
		"/help?x={http.reqest.uri}":            "{http.reqest.uri} may hold a credential, or is unknown",
		"//help/x":                             "write https://help/x",
		"ftp://files.example.com/help":         "it must be an https: or mailto: URL, or a path",
		"https://:443/help":                    "it must be an https: or mailto: URL, or a path",
		"http://[::1/help":                     "it must be an https: or mailto: URL, or a path",
		"/%zz":                                 "it must be an https: or mailto: URL, or a path",
		"/help?x={http.request.uri":            "a brace of a placeholder is missing",
		"/help?x={http.request.body}&y={http.request.cookie.x}": "may hold a credential",
		"/help#x={http.request.tls.client.issuer}":              "or is unknown",
	} {
		_, err := New(&Config{HelpURL: helpURL})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "help_url ") {
			t.Errorf("%q: %v, want %q", helpURL, err, want)
		}
	}
	for _, helpURL := range []string{
		"", "/", "/help", "/help?x=1", "https://help.example.com", "http://localhost:8080/help#x", "HTTPS://help.example.com/x.y",
		"mailto:help@example.com", "mailto:help@example.com?subject=Link&body={http.request.uri}", "/help?next={http.request.uri}", "/help#next={http.request.orig_uri}",
	} {
		if _, err := New(&Config{HelpURL: helpURL}); err != nil {
			t.Errorf("%q: %v", helpURL, err)
		}
	}
}

func TestPlaceholdersOfHelpURLsArePercentEncoded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ helpURL, target, want string }{
		{"/help?next={http.request.uri}", "/reports/7?a=1&b=2", "/help?next=%2Freports%2F7%3Fa%3D1%26b%3D2"},
		{"/help?next={http.request.uri}&x=1", "/a%26x=2", "/help?next=%2Fa%2526x%3D2&x=1"},
		{"/help?next={http.request.uri_escaped}", "/a?b=1", "/help?next=%2Fa%3Fb%3D1"},
		{"/help?next={http.request.uri.path}", "/a%20b+c%22%3Cscript%3E", "/help?next=%2Fa%20b%2Bc%22%3Cscript%3E"},
		{"mailto:help@example.com?body=Page:%20{http.request.uri}", "/a?b=1", "mailto:help@example.com?body=Page:%20%2Fa%3Fb%3D1"},
		{"/help?next={http.request.uri}", "/a?secret", "/help?next=%2Fa%3Fclean"},
		{"/help", "/a", "/help"},
	} {
		p, err := New(&Config{HelpURL: test.helpURL})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, test.target, nil)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
		if plain := httptest.NewRequest(http.MethodGet, test.target, nil); !strings.Contains(test.helpURL, "{") && p.HelpURL(plain, nil) != test.want {
			t.Errorf("%s needs what Caddy has of a request", test.helpURL)
		}
		if got := p.HelpURL(r, func(text string) string { return strings.ReplaceAll(text, "secret", "clean") }); got != test.want {
			t.Errorf("%s of %s is %s, want %s", test.helpURL, test.target, got, test.want)
		}
	}
}

// TestRequestsOfTheHelpPageAreToldByHostAndPath: that page is served without a
// link.
func TestRequestsOfTheHelpPageAreToldByHostAndPath(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		helpURL, target string
		want            bool
	}{
		{"/help?next={http.request.uri}", "http://app.example.com/help?x=1", true},
		{"/help", "http://app.example.com/help/", false},
		{"/help", "http://app.example.com/", false},
		{"/", "http://app.example.com/", true},
		{"https://app.example.com/help", "http://APP.example.com/help", true},
		{"https://www.example.com/help", "http://app.example.com/help", false},
		{"https://app.example.com", "http://app.example.com/", true},
		{"https://app.example.com?x", "http://app.example.com/", true},
		{"https://app.example.com", "http://app.example.com/help", false},
		{"mailto:help@example.com", "http://app.example.com/", false},
		{"", "http://app.example.com/", false},
		{"", "http://app.example.com", false},
		{"mailto:help@example.com", "http://app.example.com", false},
	} {
		p, err := New(&Config{HelpURL: test.helpURL})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, test.target, nil)
		if got := p.IsHelp(caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)); got != test.want {
			t.Errorf("help_url %s: %s is for it: %t", test.helpURL, test.target, got)
		}
		// A directive in front may have rewritten the path.
		rewritten := caddyhttp.PrepareRequest(httptest.NewRequest(http.MethodGet, test.target, nil), caddy.NewReplacer(), httptest.NewRecorder(), nil)
		rewritten.URL.Path = "/index.php"
		if got := p.IsHelp(rewritten); got != test.want {
			t.Errorf("help_url %s: %s, rewritten, is for it: %t", test.helpURL, test.target, got)
		}
	}
}
