package identity

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// newRequest returns a request with one header field, prepared as by Caddy.
func newRequest(t *testing.T, name, value string) *http.Request {
	t.Helper()
	ctx := context.WithValue(t.Context(), caddyhttp.VarsCtxKey, make(map[string]any))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://app.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header[name] = []string{value}
	return r
}

// spellings are ways to write a name that some server reads as this name.
func spellings(name string) []string {
	var all []string
	for _, separator := range []string{"-", "_", ".", "~", "--", "'", ""} {
		spelled := strings.ReplaceAll(name, "-", separator)
		all = append(all, spelled, strings.ToLower(spelled), strings.ToUpper(spelled), separator+spelled)
	}
	return all
}

func TestTrustedFieldsOfClientsAreRemovedInAnySpelling(t *testing.T) {
	t.Parallel()
	fields, err := New([]Header{{Name: "X-Who", Value: "{http.auth.user.id}"}}, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"Remote-User", "Remote-User-Id", "Remote-Email", "Remote-Groups", "Remote-Name", "Remote-Full-Name",
		"X-Remote-User", "X-Remote-Group", "X-Remote-Extra-Scopes", "X-WEBAUTH-USER", "X-WEBAUTH-EMAIL", "X-WebAuth-Name", "X-WEBAUTH",
		"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Login",
		"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Access-Token", "X-Auth-User", "X-Auth-Roles", "User-Name", "User_Mail", "Auth-Mail", "Auth-Groups",
		"Redirect-Remote-User", "REDIRECT_REDIRECT_REMOTE_USER", "Redirect-Http-Authorization", "Http-Remote-User",
		"X-Authenticated-User", "X-Authenticated-Userid", "X-Consumer-Username", "X-User", "X-Username", "X-User-Groups",
		"X-authentik-username", "X-Vouch-User", "X-Vouch-IdP-Claims-Name", "X-Token-User-Email", "X-Token-Subject",
		"X-Goog-Authenticated-User-Email", "X-Goog-IAP-JWT-Assertion", "X-Amzn-Oidc-Identity", "X-MS-CLIENT-PRINCIPAL-NAME",
		"Cf-Access-Authenticated-User-Email", "Tailscale-User-Login", "Shib-Session-Id", "OIDC-CLAIM-sub", "SM_USER", "iv-user",
		"SSL-Client-S-DN", "X-SSL-Client-Verify", "Client-Cert", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
		"X-Who", strings.Repeat("-", 100) + "Remote-User", "X-Remote-" + strings.Repeat("a", 100),
	} {
		for _, spelled := range spellings(name) {
			r := newRequest(t, spelled, "admin")
			r.Header["Connection"] = []string{"close, " + spelled}
			r.Trailer = http.Header{spelled: {"admin"}}
			fields.Remove(r)
			if len(r.Header[spelled]) > 0 || len(r.Trailer) > 0 || r.Header.Get("Connection") != "close" {
				t.Errorf("%s: left are %v, trailers %v", spelled, r.Header, r.Trailer)
			}
		}
	}
}

func TestFieldsThatProgramsSendPass(t *testing.T) {
	t.Parallel()
	fields, err := New(nil, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"Accept", "Authorization", "Cookie", "User-Agent", "Referer", "Origin", "X-Requested-With", "X-Csrftoken", "X-Csrf-Token",
		"X-Xsrf-Token", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Server", "X-Forwarded-Uri", "X-Forwarded-Ssl", "X-Forwarded-User-Agent", "X-Real-Ip", "X-Request-Id",
		"X-Auth-Token", "X-Auth-Key", "X-User-Id", "X-User-Email", "X-User-Agent", "X-Api-Key", "X-Token", "X-Token-Id",
		"X-Wp-Nonce", "X-Http-Method-Override", "Cf-Connecting-Ip", "Cf-Ray", "X-Goog-Api-Key", "X-Goog-Upload-Protocol",
		"X-Amz-Date", "X-Amzn-Trace-Id", "X-Ms-Version", "X-Ms-Date", "Impersonate-User", "Traceparent", "Sentry-Trace",
		"Upgrade", "Sec-Websocket-Key", "Ssl-Offloaded", "X-Ssl-Offload", "-", "~",
	} {
		r := newRequest(t, name, "x")
		fields.Remove(r)
		if len(r.Header[name]) != 1 {
			t.Errorf("%s is removed", name)
		}
	}
}

func TestPassHeaderPassesOnlyTheNameAsWritten(t *testing.T) {
	t.Parallel()
	fields, err := New(nil, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	if err := fields.Pass([]string{"x-forwarded-user", "X-Remote-Extra-*"}); err != nil {
		t.Fatal(err)
	}
	for name, passes := range map[string]bool{
		"X-Forwarded-User": true, "X_forwarded_user": false, "X-Forwarded.user": false, "X-Forwarded-Email": false,
		"X-Remote-Extra-Scopes": true, "X-Remote-User": false, "X_remote_extra_scopes": false, "Remote-User": false,
	} {
		r := newRequest(t, name, "x")
		fields.Remove(r)
		if got := len(r.Header[name]) == 1; got != passes {
			t.Errorf("%s passes: %v, want %v", name, got, passes)
		}
	}
}

func TestPassHeaderThatCantBeRightIsRejected(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Remote-User":         "the gateway itself sets this field",
		"remote_user":         "the gateway itself sets this field",
		"Remote-*":            "the gateway itself sets this field",
		"X-Forwarded-Usr":     "passes this field on anyway",
		"X-Foo-*":             "passes this field on anyway",
		"Proxy-Authorization": "never passed on",
		"*":                   "would let clients set every field",
		"X-*-User":            "a star can stand at the end only",
		"X-*-*":               "a star can stand at the end only",
		"_":                   "not a valid header field name",
		"-*":                  "not a valid header field name",
		"a b":                 "not a valid header field name",
		"":                    "not a valid header field name",
	} {
		fields, err := New(nil, Columns{})
		if err != nil {
			t.Fatal(err)
		}
		if err := fields.Pass([]string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v doesn't say %q", name, err, want)
		}
	}
}

func TestCredentialsFromWhichServersDeriveANameAreRemoved(t *testing.T) {
	t.Parallel()
	for value, stays := range map[string]string{
		"Basic YWRtaW46eA==":                               "none",
		"basic YWRtaW46eA==":                               "none",
		"BASIC\tYWRtaW46eA==":                              "none",
		"  Basic  YWRtaW46eA==":                            "none",
		"Basic":                                            "none",
		"Basic YWRtaW46eA==,Basic":                         "none",
		"Digest username=\"admin\", uri=":                  "none",
		"dIgEsT username=admin":                            "none",
		"Bearer app, Digest username=\"a, Basic b\", uri=": "none",
		"Bearer app, Basic YWRtaW46eA==":                   "Bearer app",
		"Basic YWRtaW46eA==, Bearer app":                   "Bearer app",
		"Bearer app, basic:YWRtaW46eA==,Token b":           "Bearer app,Token b",
		"Bearer app":                                       "Bearer app",
		"Token app":                                        "Token app",
		"Basically app":                                    "Basically app",
		"Basic-App x":                                      "Basic-App x",
		"":                                                 "",
	} {
		header := http.Header{headerAuthorization: {value}, headerProxyAuthorization: {"Basic YWRtaW46eA=="}}
		removeCredentials(header)
		got := "none"
		if values, ok := header[headerAuthorization]; ok {
			got = strings.Join(values, "|")
		}
		if got != stays {
			t.Errorf("of %q stays %q, want %q", value, got, stays)
		}
		if len(header[headerProxyAuthorization]) > 0 {
			t.Error("Proxy-Authorization stays")
		}
	}
	header := http.Header{headerAuthorization: {"Bearer app", "Basic YWRtaW46eA=="}}
	if removeCredentials(header); !slices.Equal(header[headerAuthorization], []string{"Bearer app"}) {
		t.Errorf("of two fields, %v stay", header)
	}
}

func TestGuideNamesEveryTrustedField(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range trustedNames {
		isNamed := func(text string) bool {
			return strings.Contains(strings.ToLower(string(guide)), "`"+strings.ToLower(text)+"`")
		}
		if isNamed(name) {
			continue
		}
		// Several are written as one: `X-Auth-` with `User`, `Username`.
		grouped := false
		for i := range name {
			grouped = grouped || name[i] == '-' && isNamed(name[:i+1]) && isNamed(name[i+1:])
		}
		if !grouped {
			t.Errorf("docs/identity.md doesn't name %s", name)
		}
	}
}
