package scope_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/scope"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// The placeholders that most tests use.
const (
	byPath  = "report:{http.request.uri.path.1}"
	byQuery = "report:{http.request.uri.query.id}"
	byOther = "report:{http.vars.report}"
)

// receive returns the request that Caddy's server passes to its routes. ok is
// false if the HTTP server rejects it.
func receive(t *testing.T, target string) (r *http.Request, ok bool) {
	t.Helper()
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return nil, false
		}
	}
	parsed, err := http.ReadRequest(bufioReader("GET " + target + " HTTP/1.1\r\nHost: app.example.com\r\n\r\n"))
	if err != nil {
		return nil, false
	}
	return caddyhttp.PrepareRequest(parsed, caddy.NewReplacer(), httptest.NewRecorder(), nil), true
}

func parse(t *testing.T, template string) *scope.Template {
	t.Helper()
	parsed, err := scope.Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// wantScope checks the scope of a request. An empty scope means a rejection.
func wantScope(t *testing.T, r *http.Request, template, want string) {
	t.Helper()
	got, err := parse(t, template).Of(r)
	rejection, isRejection := errors.AsType[*scope.Rejection](err)
	switch {
	case want != "" && (err != nil || got != want):
		t.Errorf("%s: scope %q, error %v; want %q", r.RequestURI, got, err, want)
	case want == "" && (!isRejection || !errors.Is(err, token.NoScope) || got != ""):
		t.Errorf("%s: scope %q, error %v; want a rejection", r.RequestURI, got, err)
	case isRejection && strings.Contains(rejection.Error(), "secret"):
		t.Errorf("the error quotes the target: %v", rejection)
	}
}

func TestTemplatesWithoutATargetLeaveItAlone(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"":                        "",
		"report":                  "report",
		`a\}b`:                    `a\}b`,
		`\{b`:                     "{b",
		"{b":                      "{b",
		"{http.request.host}":     "app.example.com",
		"m:{http.request.method}": "m:GET",
	} {
		r, _ := receive(t, "/a//../%2f;b\\c?id=1&id=2&%zz")
		if got, err := parse(t, template).Of(r); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", template, got, err, want)
		}
	}
}

func TestATemplateThatComesOutEmptyIsNotTheDefaultScope(t *testing.T) {
	t.Parallel()
	for _, template := range []string{"{http.request.uri.query}", "{http.vars.none}", "{http.request.uri.path.5}", "{env.NONE}"} {
		r, _ := receive(t, "/7")
		if got, err := parse(t, template).Of(r); got != "" || !errors.Is(err, token.NoScope) {
			t.Errorf("%s: %q, %v", template, got, err)
		}
	}
}

func TestConfigurationsThatCannotBeSafeAreRejected(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"t:{http.request.header.X-Tenant}":                         "{http.request.header.X-Tenant} is a part of the request that its client chooses freely",
		"{http.request.cookie.tenant}":                             "Take the scope from the path",
		"{http.request.body}":                                      "client chooses freely",
		"{http.request.body_base64}":                               "client chooses freely",
		"{http.request.uri.query.a[]}":                             "use a name of letters",
		"{http.request.uri.query.a.b}":                             "use a name of letters",
		"{http.request.uri.query.}":                                "use a name of letters",
		"{http.request.uri.path.0}{http.request.uri.path.1}":       "nothing separates {http.request.uri.path.0} from {http.request.uri.path.1}",
		"{http.vars.a}{env.NONE}:{http.request.uri.path.1}":        "nothing separates {http.vars.a}",
		"{http.request.uri.path.0}{http.request.uri.query.report}": "such as a colon",
		"{http.request.host.labels.2}{http.request.uri.path.1}":    "nothing separates {http.request.host.labels.2}",
		"{http.request.uri.path.1}{http.request.host.labels.2}":    "nothing separates {http.request.uri.path.1}",
		"{http.request.host}{env.NONE}{http.request.uri.path.1}":   "nothing separates {http.request.host}",
		"a\x00{http.vars.a}":                                       "NUL byte",
	} {
		if _, err := scope.Parse(template); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "scope ") {
			t.Errorf("%q: %v, want %q", template, err, want)
		}
	}
	for _, template := range []string{
		"{http.request.host}{http.request.uri.path}", "{http.request.uri.path}{http.request.uri.prefixed_query}",
		"{http.request.uri.path.0}{env.SUFFIX}", "{http.request.uri.query.a-b_1}", "{http.regexp.report.1}:{http.request.host}",
	} {
		parse(t, template)
	}
}

// TestSeparatorsInValues: two targets must not have the same scope.
func TestSeparatorsInValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ template, target, want string }{
		{"{http.request.uri.path.0}:{http.request.uri.path.1}", "/a/b", "a:b"},
		{"{http.request.uri.path.0}:{http.request.uri.path.1}", "/a/b:c", "a:b:c"},
		{"{http.request.uri.path.0}:{http.request.uri.path.1}", "/a:b/c", ""},
		{"{http.request.uri.path.0}:{http.request.uri.path.1}", "/a%3ab/c", ""},
		{"{http.request.uri.path.0}--{http.request.uri.path.1}", "/a-/-b", ""},
		{"{http.request.uri.path.0}--{http.request.uri.path.1}", "/a-b/-c", "a-b---c"},
		{"{http.request.host}:{http.request.uri.path.1}", "/a:b/c:d", "app.example.com:c:d"},
		{"{http.request.host}{http.request.uri.path}", "/a/b", "app.example.com/a/b"},
		{"{http.request.uri.query.a}:{http.request.uri.query.b}", "/?a=1&b=2%3A3", "1:2:3"},
		{"{http.request.uri.query.a}:{http.request.uri.query.b}", "/?a=1%3A2&b=3", ""},
	} {
		r, ok := receive(t, test.target)
		if !ok {
			t.Fatal(test.target)
		}
		wantScope(t, r, test.template, test.want)
	}
}

// TestSeparatorsInHosts: on a site for *.example.com, the client chooses the
// host, as it chooses the path.
func TestSeparatorsInHosts(t *testing.T) {
	t.Parallel()
	const hostFirst, pathFirst = "{http.request.host.labels.2}-{http.request.uri.path.1}", "{http.request.uri.path.1}-{http.request.host.labels.2}"
	for _, test := range []struct{ template, host, target, want string }{
		{hostFirst, "acme.example.com", "/reports/7", "acme-7"},
		{hostFirst, "acme.example.com", "/reports/eu-7", "acme-eu-7"},
		{hostFirst, "acme-eu.example.com", "/reports/7", ""},
		{pathFirst, "acme.example.com", "/reports/7", "7-acme"},
		{pathFirst, "eu-acme.example.com", "/reports/7", "7-eu-acme"},
		{pathFirst, "acme.example.com", "/reports/7-eu", ""},
		{"{http.request.host.labels.2}:{http.request.uri.path.1}", "acme-eu.example.com", "/reports/7", "acme-eu:7"},
		{"{http.request.host.labels.2}{http.request.uri.path}", "acme-eu.example.com", "/reports/7", "acme-eu/reports/7"},
		{"{http.request.method}-{http.request.host.labels.2}", "acme-eu.example.com", "/..", "GET-acme-eu"},
		{"{http.request.host.labels.2}-{http.request.host.labels.1}", "a-b.c.com", "/..", ""},
	} {
		r, _ := receive(t, test.target)
		r.Host = test.host
		wantScope(t, r, test.template, test.want)
	}
}

func TestRewrittenTargetsAreCheckedInBothForms(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, template, target, path, query, want string }{
		{"a prefix was stripped", byPath, "/app/reports/7", "/reports/7", "", "report:7"},
		{"of a path with dot segments", byPath, "/app/reports/8/..%2f7", "/reports/7", "", ""},
		{"the rewritten path is ambiguous", byPath, "/app/reports/7", "/reports/7//x", "", ""},
		{"the parameter is in the new query alone", byQuery, "/reports/7", "/index.php", "id=7", "report:7"},
		{"the parameter is the same in both", byQuery, "/reports?id=7", "/index.php", "p=reports&id=7", "report:7"},
		{"the parameter differs", byQuery, "/reports/7?id=8", "/index.php", "id=7", ""},
		{"the original parameter is ambiguous", byQuery, "/reports/7?id[]=8", "/index.php", "id=7", ""},
		{"both are in the new query", byQuery, "/reports/7?id=8", "/index.php", "id=7&id=8", ""},
		{"a variable, with a repeated parameter in the original", byOther, "/reports?a=7&a=8", "/index.php", "", ""},
	} {
		r, _ := receive(t, test.target)
		caddyhttp.SetVar(r.Context(), "report", "7")
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = test.path, "", test.query
		r.RequestURI = r.URL.RequestURI()
		t.Run(test.name, func(t *testing.T) { wantScope(t, r, test.template, test.want) })
	}
}

func TestOfTargetIsThatOfARequestForIt(t *testing.T) {
	t.Parallel()
	for _, template := range []string{byPath, byQuery, "{http.request.orig_uri.path.1}", "{http.request.orig_uri}", "{http.request.uri}"} {
		for _, target := range []string{
			"/reports/7", "/reports/7?id=7", "/reports/7?id=7&id=8", "/reports/7/../8?id=1", "/reports/7/%2e%2e/8?id=1",
			"/reports/7/..%2f8", "/reports\\7?id=7", "/reports//7?id=7",
		} {
			direct, _ := receive(t, target)
			want, wantErr := parse(t, template).Of(direct)
			login, _ := receive(t, "/_sesame/login?next=x&id=9")
			got, err := parse(t, template).OfTarget(login, target+"#part/../x")
			if got != want || (err == nil) != (wantErr == nil) {
				t.Errorf("%s of %s: %q, %v; want %q, %v", template, target, got, err, want, wantErr)
			}
			original := login.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
			if login.URL.Path != "/_sesame/login" || login.URL.RawQuery != "next=x&id=9" || original.URL.Path != "/_sesame/login" ||
				original.RequestURI != "/_sesame/login?next=x&id=9" {
				t.Errorf("the request is changed: %v, %v", login.URL, original.URL)
			}
		}
	}
	for _, target := range []string{"", "x", "http://evil.example/reports/7", "//evil.example/reports/7", "/%zz"} {
		login, _ := receive(t, "/_sesame/login")
		if got, err := parse(t, byPath).OfTarget(login, target); !errors.Is(err, token.NoScope) {
			t.Errorf("%q: %q, %v", target, got, err)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	for name, template := range map[string]string{"path": byPath, "query": byQuery} {
		b.Run(name, func(b *testing.B) {
			parsed, err := scope.Parse(template)
			if err != nil {
				b.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, "/reports/7?id=7&page=2", nil)
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parsed.Of(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// setPlaceholder sets a placeholder as matchers and other handlers do.
func setPlaceholder(r *http.Request, key, value string) {
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set(key, value)
}

func TestPlaceholdersThatCaddyKnowsAreAcceptedAndOthersNamed(t *testing.T) {
	t.Parallel()
	for _, template := range []string{
		"{http.request.host.labels.1}", "{http.request.local.port}", "{http.request.tls.client.subject}", "{http.request.orig_uri.path.2}", "{http.request.uri.path.file}",
		"{http.request.uri.path.dir}", "{http.request.scheme}", "{http.request.remote.host}", "{env.SCOPE}", "{another.module}", "text",
	} {
		if _, err := scope.Parse(template); err != nil {
			t.Errorf("%s: %v", template, err)
		}
	}
	for template, want := range map[string]string{
		"{http.request.uri.path.x}": "write its number", "{http.request.uri.path.}": "write its number", "{http.auth.user.id}": "is known only after the token is checked",
		"{http.request.hots}": "http.request.host", "{http.reqest.uri}": "http.request.uri", "{http.request.nothing}": "http.request.nothing", "report:{http.request.uri.path.1": "brace",
	} {
		if _, err := scope.Parse(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", template, err, want)
		}
	}
}
