package identity

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestTemplatesKeepBracesThatArentPlaceholders(t *testing.T) {
	t.Parallel()
	repl := caddy.NewReplacer()
	repl.Set("http.auth.user.username", "alice")
	repl.Set("http.auth.user.id", "7")
	repl.Set("evil", `x","admin":true,"y":"\`)
	repl.Set("a", "one letter")
	for value, want := range map[string]string{
		"{http.auth.user.username}":                       "alice",
		"{http.auth.user.username} ({http.auth.user.id})": "alice (7)",
		"{unknown}":                                 "",
		"{a}{":                                      "one letter{",
		"{}{1}":                                     "{}{1}",
		"[{http.auth.user.username}]":               `["alice"]`,
		`  {"name":{evil}}`:                         `  {"name":"x\",\"admin\":true,\"y\":\"\\"}`,
		`{"name":"{http.auth.user.username}"}`:      `{"name":"alice"}`,
		`{"id":{http.auth.user.id}}`:                `{"id":7}`,
		`{"id":{http.auth.user.username}}`:          `{"id":"alice"}`,
		`{"id":{unknown}}`:                          `{"id":""}`,
		`[{"a":{"b":["{http.auth.user.id}"]}}, {}]`: `[{"a":{"b":["7"]}}, {}]`,
		`{"name":"{evil}"}`:                         `{"name":"x\",\"admin\":true,\"y\":\"\\"}`,
		`{"name":{evil}}`:                           `{"name":"x\",\"admin\":true,\"y\":\"\\"}`,
		`{"na\"me":"{http.auth.user.username}"}`:    `{"na\"me":"alice"}`,
		`{"na\"me":{http.auth.user.username}}`:      `{"na\"me":"alice"}`,
		`\{http.auth.user.username\}`:               "{http.auth.user.username}",
		"{":                                         "{",
		"{}":                                        "{}",
		"{{http.auth.user.id}}":                     "{7}",
		"{http.auth.user.id":                        "{http.auth.user.id",
		`name="{evil}"`:                             `name="x","admin":true,"y":"\"`,
		`{"a":1,"b":{"name":"{http.auth.user.username}"},"c":"{x y}"}`: `{"a":1,"b":{"name":"alice"},"c":"{x y}"}`,
	} {
		parsed := parseTemplate(value)
		got := parsed.fill(repl)
		if got != want {
			t.Errorf("%s becomes %s, want %s", value, got, want)
		}
		if parsed.isJSON && !json.Valid([]byte(got)) {
			t.Errorf("%s becomes %s, which isn't JSON", value, got)
		}
	}
}

func TestUnknownPlaceholdersAreRejectedWithTheRightOne(t *testing.T) {
	t.Parallel()
	columns := Columns{Store: userstore.Config{Columns: userstore.Columns{Extra: []string{"first_name", "is_staff"}}}}
	for value, want := range map[string]string{
		"{http.auth.user.fristname}":                 "did you mean {http.auth.user.first_name}",
		"{http.auth.user.firstname} x":               "did you mean {http.auth.user.first_name}",
		`{"name":"{http.auth.user.user_name}"}`:      "did you mean {http.auth.user.username}",
		"{http.auth.user.phone}":                     "name it in columns of userstore",
		"{http.auth.user.password}":                  "the password's hash is never passed on; remove the placeholder",
		"{http.auth.user.groups}":                    "add groups to userstore",
		"{http.auth.users.username}":                 "did you mean {http.auth.user.username}",
		"{auth.user.email}":                          "did you mean {http.auth.user.email}",
		"{user.first_name}":                          "did you mean {http.auth.user.first_name}",
		"{username}":                                 "did you mean {http.auth.user.username}",
		"{http.request.hots}":                        "did you mean {http.request.host}",
		"{http.request.hotsport}":                    "did you mean {http.request.hostport}",
		"{http.request.prot}":                        "did you mean {http.request.port}",
		"{http.request.metohd}":                      "did you mean {http.request.method}",
		"{http.request.prtoo}":                       "did you mean {http.request.proto}",
		"{http.request.shceme}":                      "did you mean {http.request.scheme}",
		"{http.request.url}":                         "did you mean {http.request.uri}",
		"{http.request.uri.qurey}":                   "did you mean {http.request.uri.query}",
		"{http.request.uri.path.flie}":               "did you mean {http.request.uri.path.file}",
		"{http.request.uri.path.dri}":                "did you mean {http.request.uri.path.dir}",
		"{http.request.orig_url}":                    "did you mean {http.request.orig_uri}",
		"{http.request.orig_uri.paht}":               "did you mean {http.request.orig_uri.path}",
		"{http.request.orig_uri.qurey}":              "did you mean {http.request.orig_uri.query}",
		"{http.request.orig_metohd}":                 "did you mean {http.request.orig_method}",
		"{http.request.rmeote}":                      "did you mean {http.request.remote}",
		"{http.request.remote.hots}":                 "did you mean {http.request.remote.host}",
		"{http.request.remote.prot}":                 "did you mean {http.request.remote.port}",
		"{http.request.uudi}":                        "did you mean {http.request.uuid}",
		"{http.request.lcoal}":                       "did you mean {http.request.local}",
		"{http.request.lcoal.host}":                  "did you mean {http.request.local.host}",
		"{http.request.lcoal.port}":                  "did you mean {http.request.local.port}",
		"{http.request.duraiton}":                    "did you mean {http.request.duration}",
		"{http.request.uri.pth}":                     "did you mean {http.request.uri.path}",
		"{system.hostnam}":                           "Caddy knows no such placeholder",
		"{http.auth.user.id}":                        "",
		"{http.auth.user.IS_STAFF}":                  "",
		"{http.request.host}{http.request.uri.path}": "",
		"{http.request.header.X-Tenant}{http.request.cookie.a}{http.request.uri.query.q}{http.request.uri.path.3}": "",
		"{http.request.host.labels.1}{http.request.orig_uri.query}{http.request.remote.host}{http.request.uuid}":   "",
		"{http.request.tls.client.subject}{http.vars.x}{http.regexp.x.1}{env.NOT_SET}":                             "",
		"{system.hostname}{time.now.unix}{file./etc/hostname}":                                                     "",
		"{geoip.country}{tenant}{id}": "",
		"{http.vars.auth.user.email}": "", // of another module, whatever its name resembles
		`{"a":{"b":"c"}}`:             "",
	} {
		_, err := New([]Header{{Name: "X-A", Value: value}}, columns)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", value, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "identity X-A")):
			t.Errorf("%s: %v doesn't say %q", value, err, want)
		}
	}
}

func TestFieldsThatProxiesDropAreNamed(t *testing.T) {
	t.Parallel()
	fields, err := New([]Header{{Name: "REMOTE_USER", Value: "x"}, {Name: "X-Mail", Value: "x"}, {Name: "X.Id", Value: "x"}}, Columns{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fields.Dropped(), []string{http.CanonicalHeaderKey("REMOTE_USER"), "X.id"}; !slices.Equal(got, want) {
		t.Errorf("dropped are %q, want %q", got, want)
	}
}

func TestWarningsAreLoggedOnceInAWhileForEachUser(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := warnings{now: func() time.Time { return now }}
	due := func(user int64) bool { return w.isDue("Remote-User", token.IntKey(user)) }
	if !due(1) || due(1) || !due(2) || !w.isDue("Remote-Email", token.IntKey(1)) {
		t.Error("a warning isn't logged once for each user and field")
	}
	if now = now.Add(warnedFor); !due(1) || due(1) {
		t.Error("a warning isn't logged again after a while")
	}
	logged := 0
	for user := range int64(10 * mostWarned) {
		if due(user) {
			logged++
		}
	}
	if logged == 0 || logged > mostWarned || len(w.last) > mostWarned {
		t.Errorf("%d are logged and %d remembered, of which %d are allowed", logged, len(w.last), mostWarned)
	}
	if now = now.Add(warnedFor); !due(1) {
		t.Error("nothing is logged after many warnings")
	}
}
