package origin_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/origin"
)

// from is the expected result for a request.
type from struct{ initiator, mayLogIn, isForced string }

const (
	yes = "yes"
	no  = "no"
)

func TestWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	const (
		chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
		page   = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
		image  = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
	)
	metadata := func(site, mode, destination string) []string {
		return []string{"Sec-Fetch-Site", site, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", destination}
	}
	for name, test := range map[string]struct {
		method string
		header []string
		want   from
	}{
		// Over HTTPS.
		"the address bar":                       {"GET", metadata("none", "navigate", "document"), from{"own", yes, no}},
		"a link of this site":                   {"GET", metadata("same-origin", "navigate", "document"), from{"own", yes, no}},
		"a form of this site":                   {"POST", append(metadata("same-origin", "navigate", "document"), "Origin", "https://app.example.com"), from{"own", yes, no}},
		"a form of this site with no-referrer":  {"POST", append(metadata("same-origin", "navigate", "document"), "Origin", "null"), from{"own", yes, no}},
		"a script of this site":                 {"GET", metadata("same-origin", "cors", "empty"), from{"own", yes, no}},
		"a frame of this site":                  {"GET", metadata("same-origin", "navigate", "iframe"), from{"own", no, yes}},
		"a link of another site":                {"GET", metadata("cross-site", "navigate", "document"), from{"other", yes, no}},
		"a link of a sibling host":              {"GET", metadata("same-site", "navigate", "document"), from{"other", yes, no}},
		"a form of another site":                {"POST", append(metadata("cross-site", "navigate", "document"), "Origin", "https://evil.example"), from{"other", no, yes}},
		"a form of a sibling host":              {"POST", metadata("same-site", "navigate", "document"), from{"other", no, yes}},
		"a form of a sandboxed page":            {"POST", append(metadata("cross-site", "navigate", "document"), "Origin", "null"), from{"other", no, yes}},
		"a frame of another site":               {"GET", metadata("cross-site", "navigate", "iframe"), from{"other", no, yes}},
		"a frame of a frameset":                 {"GET", metadata("cross-site", "navigate", "frame"), from{"other", no, yes}},
		"an embedded page":                      {"GET", metadata("cross-site", "navigate", "embed"), from{"other", no, yes}},
		"an object":                             {"GET", metadata("cross-site", "navigate", "object"), from{"other", no, yes}},
		"a fenced frame":                        {"GET", metadata("cross-site", "navigate", "fencedframe"), from{"other", no, yes}},
		"a frame typed in":                      {"GET", metadata("none", "navigate", "iframe"), from{"own", no, yes}},
		"a frame of an old Chrome":              {"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "nested-navigate"}, from{"other", no, yes}},
		"an image of another site":              {"GET", metadata("cross-site", "no-cors", "image"), from{"other", no, yes}},
		"a script of another site that fetches": {"GET", metadata("cross-site", "cors", "empty"), from{"other", no, yes}},
		"a WebSocket of another site":           {"GET", append(metadata("cross-site", "websocket", "empty"), "Upgrade", "websocket"), from{"other", no, yes}},
		"a site of a kind that isn't known":     {"GET", metadata("other", "no-cors", "empty"), from{"other", no, yes}},
		"two sites":                             {"POST", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, from{"other", no, yes}},
		"a cross-site form with the own Origin": {"POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.example.com"}, from{"other", no, yes}},

		// Over plain HTTP, and in old browsers.
		"a page over HTTP":                           {"GET", []string{"User-Agent", chrome, "Accept", page}, from{"unknown", yes, no}},
		"an image over HTTP":                         {"GET", []string{"User-Agent", chrome, "Accept", image}, from{"unknown", no, yes}},
		"a script over HTTP":                         {"GET", []string{"User-Agent", chrome, "Accept", "*/*"}, from{"unknown", no, yes}},
		"a form of this site over HTTP":              {"POST", []string{"Origin", "http://app.example.com"}, from{"own", yes, no}},
		"a form of this site with its port":          {"POST", []string{"Origin", "http://APP.example.com:80"}, from{"own", yes, no}},
		"a form of a page that hides its origin":     {"POST", []string{"User-Agent", chrome, "Accept", page, "Origin", "null"}, from{"opaque", no, yes}},
		"a form of another site over HTTP":           {"POST", []string{"Origin", "http://evil.example"}, from{"other", no, yes}},
		"a form of a sibling host over HTTP":         {"POST", []string{"Origin", "http://other.example.com"}, from{"other", no, yes}},
		"a form of another port":                     {"POST", []string{"Origin", "http://app.example.com:8080"}, from{"other", no, yes}},
		"a form of a host with this one in its name": {"POST", []string{"Origin", "http://app.example.com.evil.example"}, from{"other", no, yes}},
		"a form of this host as user":                {"POST", []string{"Origin", "http://app.example.com@evil.example"}, from{"other", no, yes}},
		"two origins":                                {"POST", []string{"Origin", "http://app.example.com", "Origin", "http://evil.example"}, from{"other", no, yes}},
		"an empty origin":                            {"POST", []string{"Origin", ""}, from{"other", no, yes}},
		"a page that says its origin":                {"GET", []string{"Accept", page, "Origin", "null"}, from{"opaque", no, yes}},
		"a WebSocket of a sandboxed frame over HTTP": {"GET", []string{"Upgrade", "websocket", "Origin", "null"}, from{"opaque", no, yes}},
		"a WebSocket of another site over HTTP":      {"GET", []string{"Upgrade", "websocket", "Origin", "http://evil.example"}, from{"other", no, yes}},

		// Programs.
		"a page over HTTP whose types are in capitals": {"GET", []string{"User-Agent", chrome, "Accept", "TEXT/HTML"}, from{"unknown", yes, no}},

		"curl":                       {"GET", []string{"User-Agent", "curl/8", "Accept", "*/*"}, from{"unknown", yes, no}},
		"PowerShell":                 {"GET", []string{"User-Agent", "Mozilla/5.0 (Windows NT; Windows NT 10.0) WindowsPowerShell/5.1"}, from{"unknown", yes, no}},
		"a program that posts":       {"POST", []string{"User-Agent", "curl/8"}, from{"unknown", no, no}},
		"a program with a WebSocket": {"GET", []string{"Upgrade", "websocket"}, from{"unknown", no, no}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(test.method, test.header...)
			if got := told(origin.Of(r)); got != test.want {
				t.Errorf("it is %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestOriginBehindAProxy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		isTrusted bool
		tls       bool
		header    []string
		want      string
	}{
		"the proxy speaks HTTPS":                       {false, false, []string{"Origin", "https://app.example.com"}, "own"},
		"the own host over HTTP, we speak HTTPS":       {false, true, []string{"Origin", "http://app.example.com"}, "other"},
		"the host that a trusted proxy forwards":       {true, false, []string{"Origin", "https://public.example", "X-Forwarded-Host", "public.example"}, "own"},
		"another than a trusted proxy forwards":        {true, false, []string{"Origin", "https://evil.example", "X-Forwarded-Host", "public.example"}, "other"},
		"the host that any other client says it is":    {false, false, []string{"Origin", "https://evil.example", "X-Forwarded-Host", "evil.example"}, "other"},
		"no host, from a trusted proxy that says none": {true, false, []string{"Origin", "https://"}, "other"},
		"a port alone, with a proxy that says no host": {true, false, []string{"Origin", "https://:443"}, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(http.MethodPost, test.header...)
			if test.tls {
				r.TLS = new(tls.ConnectionState)
			}
			vars := map[string]any{caddyhttp.TrustedProxyVarKey: test.isTrusted}
			r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
			if got := told(origin.Of(r)).initiator; got != test.want {
				t.Errorf("it is %s, want %s", got, test.want)
			}
		})
	}
}

func request(method string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Host = "app.example.com"
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func told(r origin.Request) from {
	names := map[origin.Initiator]string{origin.Unknown: "unknown", origin.Own: "own", origin.Opaque: "opaque", origin.Other: "other"}
	word := map[bool]string{true: yes, false: no}
	return from{names[r.Initiator], word[r.MayLogIn()], word[r.IsForced()]}
}

// TestOriginOfAHostWithAPortOrAnAddress compares the Origin of a page with the
// host of the request: either may leave out the default port of the page's
// scheme.
func TestOriginOfAHostWithAPortOrAnAddress(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ host, origin, want string }{
		"the same port":                       {"app.example.com:8080", "http://app.example.com:8080", "own"},
		"a port only here":                    {"app.example.com:8080", "http://app.example.com", "other"},
		"the default port only here":          {"app.example.com:80", "http://app.example.com", "own"},
		"the port of the other scheme here":   {"app.example.com:443", "http://app.example.com", "other"},
		"the default port of HTTPS only here": {"app.example.com:443", "https://app.example.com", "own"},
		"the port of HTTP with HTTPS":         {"app.example.com:80", "https://app.example.com", "other"},
		"an IPv4 address":                     {"192.0.2.1:80", "http://192.0.2.1", "own"},
		"an IPv6 address":                     {"[2001:db8::1]", "http://[2001:db8::1]", "own"},
		"an IPv6 address, its port only here": {"[2001:db8::1]:80", "http://[2001:db8::1]", "own"},
		"an IPv6 address, its port only there": {
			"[2001:db8::1]", "http://[2001:db8::1]:80", "own",
		},
		"an IPv6 address with another port": {"[2001:db8::1]:8080", "http://[2001:db8::1]", "other"},
		"another IPv6 address":              {"[2001:db8::1]:80", "http://[2001:db8::2]", "other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(http.MethodPost, "Origin", test.origin)
			r.Host = test.host
			if got := told(origin.Of(r)).initiator; got != test.want {
				t.Errorf("it is %s, want %s", got, test.want)
			}
		})
	}
}

func TestOriginWithoutAHostIsNotThatOfARequestWithoutOne(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", ":443"} {
		r := request(http.MethodPost, "Origin", "https://:443")
		r.Host = host
		if got := told(origin.Of(r)).initiator; got != "other" {
			t.Errorf("Host %q: it is %s, want other", host, got)
		}
	}
}

func TestHostIsANameOrAnAddressAsBrowsersWriteIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"app.example.com":         true,
		"app.example.com:8443":    true,
		"app.example.com:":        true,
		"my_app":                  true,
		"192.0.2.1:80":            true,
		"[2001:db8::1]":           true,
		"[2001:db8::1]:8443":      true,
		"":                        false,
		":443":                    false,
		"[]":                      false,
		"[]:443":                  false,
		"2001:db8::1":             false,
		"[2001:db8::1":            false,
		"2001:db8::1]":            false,
		"[app.example.com]":       false,
		"[192.0.2.1]":             false,
		"[fe80::1%eth0]":          false,
		"[fe80::1%25eth0]:443":    false,
		"[::%0\x00]":              false,
		"[::1]x:443":              false,
		"app.example.com:+443":    false,
		"app.example.com:65536":   false,
		"app.example.com:0":       false,
		"app.example.com:443:1":   false,
		"user@app.example.com":    false,
		"app.example.com/a":       false,
		"app.example.com\r\nX: y": false,
		"bücher.example":          false,
		"app.example.com, b":      false,
	} {
		if got := origin.IsHost(text); got != want {
			t.Errorf("%q is a host: %v, want %v", text, got, want)
		}
	}
}

func TestOnlyPagesOfThisOriginAskForChangesOrWebSockets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		header []string
		want   bool
	}{
		"a GET of a program":                     {"GET", nil, true},
		"a GET of another site":                  {"GET", []string{"Sec-Fetch-Site", "cross-site"}, true},
		"a HEAD":                                 {"HEAD", nil, true},
		"an OPTIONS":                             {"OPTIONS", []string{"Origin", "http://evil.example"}, true},
		"a POST of a program":                    {"POST", nil, false},
		"a DELETE of a program":                  {"DELETE", nil, false},
		"a method of one's own":                  {"PURGE", nil, false},
		"a POST of this origin":                  {"POST", []string{"Origin", "http://app.example.com"}, true},
		"a POST that says same-origin":           {"POST", []string{"Sec-Fetch-Site", "same-origin"}, true},
		"a POST of a sibling host":               {"POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://www.example.com"}, false},
		"a POST of another site":                 {"POST", []string{"Origin", "http://evil.example"}, false},
		"a POST of a page that hides its origin": {"POST", []string{"Origin", "null"}, false},
		"a WebSocket of a program":               {"GET", []string{"Upgrade", "websocket"}, false},
		"a WebSocket of this origin":             {"GET", []string{"Upgrade", "websocket", "Origin", "http://app.example.com"}, true},
		"a WebSocket of another site":            {"GET", []string{"Upgrade", "websocket", "Origin", "http://evil.example"}, false},
		"a WebSocket over HTTP/2":                {"CONNECT", nil, false},
	} {
		if got := origin.MayAct(request(test.method, test.header...)); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}
