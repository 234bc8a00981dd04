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
	got, err := read("audience app api\nheader X-Assertion\nissuer gate\nttl 30s\nclaim name {http.auth.user.username}\nclaim mail {http.auth.user.email}\nkeys one two")
	want := &AssertionConfig{
		Audience: []string{"app", "api"}, Header: "X-Assertion", Issuer: "gate", TTL: caddy.Duration(30 * time.Second), Keys: []string{"one", "two"},
		Claims: []AssertionClaim{{"name", "{http.auth.user.username}"}, {"mail", "{http.auth.user.email}"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for block, part := range map[string]string{
		"audience": "one name or more", "header": "the name of a header field", "issuer a b": "a name", "ttl soon": "ttl", "claim name": "a name and a value",
		"claim name a b": "a name and a value", "claim name a\nclaim name b": "name", "keys": "one key or more", "header A\nheader B": "header",
	} {
		if _, err := read(block); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", block, err, part)
		}
	}
}
