package identity

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
)

func TestAssertionOfACaddyfile(t *testing.T) {
	t.Parallel()
	read := func(block string) (*AssertionConfig, error) {
		var cfg *AssertionConfig
		d := caddyfile.NewTestDispenser("sesame {\n\tassertion {\n" + block + "\n\t}\n}")
		_, err := directive.Read(d, directive.Options{"assertion": AssertionOption(&cfg)})
		return cfg, err
	}
	got, err := read("audience app api\nheader X-Assertion\nissuer gate\nttl 30s\nclaim name {http.auth.user.username}\nclaim mail {http.auth.user.email}\n" +
		"claim roles {http.auth.user.groups} {\nmap \"Old name\" new\nmap b c\nunmapped keep\n}\nclaim rights {http.auth.user.permissions} {\nmap b c\n}\nmax_size 2kB\nkeys one two")
	want := &AssertionConfig{
		Audience: []string{"app", "api"}, Header: "X-Assertion", Issuer: "gate", TTL: caddy.Duration(30 * time.Second), Keys: []string{"one", "two"},
		Claims: []AssertionClaim{
			{Name: "name", Value: "{http.auth.user.username}"},
			{Name: "mail", Value: "{http.auth.user.email}"},
			{Name: "roles", Value: "{http.auth.user.groups}", Map: []GroupMapping{{"Old name", "new"}, {"b", "c"}}, Unmapped: "keep"},
			{Name: "rights", Value: "{http.auth.user.permissions}", Map: []GroupMapping{{"b", "c"}}},
		},
		MaxSize: 2000,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for block, part := range map[string]string{
		"audience": "one name or more", "header": "the name of a header field", "issuer a b": "a name", "ttl soon": "ttl", "claim name": "a name and a value",
		"claim name a b": "a name and a value", "claim name a\nclaim name b": "name", "keys": "one key or more", "header A\nheader B": "header",
		"claim name a {\nmap b\n}": "the name of a group", "claim name a {\nmap b c\nmap b d\n}": "already set", "claim name a {\nunmapped\n}": "keep or drop",
		"claim name a {\nunmaped keep\n}": "did you mean unmapped?", "max_size big": "a size such as",
	} {
		if _, err := read(block); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", block, err, part)
		}
	}
}

func TestFieldsOfACaddyfile(t *testing.T) {
	t.Parallel()
	read := func(block string) ([]Header, error) {
		var headers []Header
		d := caddyfile.NewTestDispenser("sesame {\n\tidentity {\n" + block + "\n\t}\n}")
		_, err := directive.Read(d, directive.Options{"identity": Option(&headers)})
		return headers, err
	}
	got, err := read("X-User {http.auth.user.username} {\nencoding percent\n}\nX-Id {http.auth.user.id}\n" +
		"X-Groups {http.auth.user.groups} {\nseparator |\nmap \"Old name\" new\nmap b c\nunmapped keep\nmax_size 2kB\n}")
	want := []Header{
		{Name: "X-User", Value: "{http.auth.user.username}", Encoding: "percent"},
		{Name: "X-Id", Value: "{http.auth.user.id}"},
		{Name: "X-Groups", Value: "{http.auth.user.groups}", Separator: "|", Map: []GroupMapping{{"Old name", "new"}, {"b", "c"}}, Unmapped: "keep", MaxSize: 2000},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for block, part := range map[string]string{
		"":                                     "identity is empty",
		"X-User: a":                            "a colon stands behind",
		"X-User a b":                           "quote a value that has spaces",
		"X-User a {\nencodin percent\n}":       "did you mean encoding?",
		"X-User a {\nencoding\n}":              "percent, base64 or rfc2047",
		"X-User a {\nmap b\n}":                 "the name of a group",
		"X-User a {\nmap b c\nmap b d\n}":      "already set",
		"X-User a {\nmax_size big\n}":          "a size such as",
		"X-User a {\nseparator a\n}\nX b c":    "quote a value that has spaces",
		"X-User a {\nunmapped keep drop\n}":    "unmapped",
		"X-User a {\nseparator |\nseparator ;": "already set",
	} {
		if _, err := read(block); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", block, err, part)
		}
	}
}
