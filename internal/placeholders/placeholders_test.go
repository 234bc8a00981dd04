package placeholders_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/placeholders"
)

func TestMisspelledNamesOfCaddysAreErrors(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"http.request.hots":            "did you mean {http.request.host}?",
		"http.request.uri.pth":         "did you mean {http.request.uri.path}?",
		"http.request.uri.path.first":  "write its number",
		"http.request.uri.path.flie":   "did you mean {http.request.uri.path.file}?",
		"http.request.orig_uri.path.x": "write its number",
		"http.request.nothing.of.it":   "Caddy knows no such placeholder",
		"system.hostnam":               "did you mean {system.hostname}?",
		"time.now.yaer":                "did you mean {time.now.year}?",
	} {
		if err := placeholders.Check(name); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "{"+name+"}") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for _, name := range []string{
		"http.request.host", "http.request.uri.path.7", "http.request.uri.path.2*", "http.request.orig_uri.path.3", "http.request.uri.path.file.ext", "http.request.uri.query.id",
		"http.request.host.labels.5", "http.request.header.X-A", "http.request.cookie.a", "http.request.tls.client.subject", "http.request.uuid",
		"http.request.duration_ms", "http.request.local.port", "http.request.body", "system.hostname", "time.now.unix", "env.NOSUCH", "tenant", "geoip2.country_code",
	} {
		if err := placeholders.Check(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesOfOtherDirectivesAreForeign(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"tenant": "", "geoip2.country_code": "", "pth": "http.request.uri.path", "mehtod": "http.request.method", "envv.X": "env.X", "http.var.x": "http.vars.x",
	} {
		if meant, isForeign := placeholders.Foreign(name); !isForeign || meant != want {
			t.Errorf("%s: foreign %t, meant %q; want %q", name, isForeign, meant, want)
		}
	}
	for _, name := range []string{"http.request.host", "http.vars.x", "http.regexp.a.1", "http.auth.user.id", "env.X", "file./a", "system.os", "time.now", "http.reverse_proxy.upstream.host"} {
		if meant, isForeign := placeholders.Foreign(name); isForeign || meant != "" {
			t.Errorf("%s is foreign, for %q", name, meant)
		}
	}
}

func TestPlaceholdersThatNothingReplacesAreFound(t *testing.T) {
	t.Parallel()
	config := map[string]any{
		"realm":   "{env.REALM}",
		"key":     "{env.KEY}",
		"require": []map[string]any{{"group": []string{"staff", "a-{http.request.host}"}}},
		"session": map[string]string{"domain": `{file./etc/domain}`, "name": "{n} of {unknown} {}"},
	}
	found, err := placeholders.FindUnreplaced(config, func(option string) bool { return option == "key" })
	want := []placeholders.Unreplaced{{"realm", "env.REALM"}, {"require.group", "http.request.host"}, {"session.domain", "file./etc/domain"}}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%v, %v; want %v", found, err, want)
	}
}
