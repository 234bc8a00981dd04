package sesame_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// trustedByOthers are fields that applications behind other gateways trust.
var trustedByOthers = []string{
	"Remote-Groups", "Remote-Name", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
	"X-Forwarded-Preferred-Username", "X-Auth-Request-User", "X-WEBAUTH-USER", "REDIRECT_REMOTE_USER", "X-Authenticated-User",
	"Cf-Access-Authenticated-User-Email", "Tailscale-User-Login",
}

// expectedByCaddy has Caddy pass spellings that it drops by itself otherwise.
func expectedByCaddy() string {
	var underscores, dots string
	for _, name := range trustedByOthers {
		underscore := strings.ReplaceAll(name, "-", "_")
		dot := strings.NewReplacer("-", ".", "_", ".").Replace(name)
		underscores += " " + underscore + " " + strings.ToLower(underscore)
		dots += " " + dot + " " + strings.ToLower(dot)
	}
	return "expected_underscore_headers" + underscores + "\nexpected_dot_headers" + dots
}

// wantNoForgery fails the test if an upstream got anything with a value that
// says it is forged.
func wantNoForgery(t *testing.T, got *recordedRequest) {
	t.Helper()
	for _, fields := range []http.Header{got.header, got.trailer} {
		for name, values := range fields {
			if strings.Contains(strings.Join(values, ","), "forged") {
				t.Errorf("the upstream got %s: %q", name, values)
			}
		}
	}
}

// TestTrustedFieldsReachNoUpstream sends fields of other gateways over each version
// of HTTP, with a valid token and without one.
func TestTrustedFieldsReachNoUpstream(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	quic := startRawQUIC(t)
	plain, secure, dir := freeAddr(t), freeAddr(t), t.TempDir()
	certificate, key := writeCertificate(t, dir)
	handler := fmt.Sprintf("sesame {\nsecret_key %q\nlimit_failures off\noptional\nidentity {\nX-Who {http.auth.user.username}\n}\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}\n}\nreverse_proxy %s", secretKey, db.dsn, up.addr)
	loadCaddyfile(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\ngrace_period 100ms\nservers {\n%s\n}\n}\nhttp://%s {\n%s\n}\nhttps://:%s {\nbind 127.0.0.1\ntls %s %s\n%s\n}\n",
		expectedByCaddy(), plain, handler, portOf(secure), certificate, key, handler))

	for user, token := range map[string]string{"alice": tokenFor(t, alice), "": ""} {
		credentials := ""
		if user != "" {
			credentials = "\nAuthorization: Bearer " + token
		}
		for _, trusted := range trustedByOthers {
			for _, name := range append(disguises(trusted), "Connection") {
				value := "forged"
				if name == "Connection" {
					value = "X-Who, " + trusted
				}
				t.Run(fmt.Sprintf("HTTP/1.1 of %q, %s %s", user, trusted, name), func(t *testing.T) {
					(&gateway{addr: plain}).raw(t, "GET / HTTP/1.1\nHost: "+plain+credentials+"\n"+name+": "+value+"\n"+name+": "+value+"\nConnection: close\n\n")
					got := up.takeOne(t)
					wantNoForgery(t, got)
					wantHeader(t, got.header, "X-Who", user)
				})
			}
		}
		for _, test := range []struct {
			protocol string
			send     func(r fieldsRequest)
		}{
			{"HTTP/2", func(r fieldsRequest) { sendHTTP2(t, secure, r, fieldsRequest{fields: r.fields[:4]}) }},
			{"HTTP/3", func(r fieldsRequest) {
				quic.do(t, quicOrder{Addr: secure, Fields: r.fields, Body: []byte(r.body), Trailers: r.trailers})
			}},
		} {
			t.Run(fmt.Sprintf("%s of %q", test.protocol, user), func(t *testing.T) {
				r := fieldsRequest{body: "body", fields: [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "app.example.com"}, {":path", "/"}}}
				if user != "" {
					r.fields[3][1] = "/?sesame=" + token
				}
				var announced []string
				for _, trusted := range trustedByOthers {
					for _, name := range disguises(strings.ToLower(trusted)) {
						r.fields = append(r.fields, [2]string{strings.ToLower(name), "forged"})
					}
					announced = append(announced, strings.ToLower(trusted))
					r.trailers = append(r.trailers, [2]string{strings.ToLower(trusted), "forged"})
				}
				r.fields = append(r.fields, [2]string{"trailer", strings.Join(announced, ", ")})
				test.send(r)
				requests := up.take()
				i := slices.IndexFunc(requests, func(got *recordedRequest) bool { return got.body == "body" })
				if i < 0 {
					t.Fatalf("the upstream got %d requests, but not this one", len(requests))
				}
				wantNoForgery(t, requests[i])
				wantHeader(t, requests[i].header, "X-Who", user)
			})
		}
	}
}

// TestPassHeaderPassesAFieldOfAnotherGateway names a field that a gateway in
// front sets.
func TestPassHeaderPassesAFieldOfAnotherGateway(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{options: "optional\npass_header X-Forwarded-Groups Cf-Access-*"})
	for _, header := range [][]string{nil, bearer(tokenFor(t, alice))} {
		g.get(t, "/", append(slices.Clone(header), "X-Forwarded-Groups", "a", "Cf-Access-Jwt-Assertion", "b", "X-Forwarded-User", "c")...).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "X-Forwarded-Groups", "a")
		wantHeader(t, got.header, "Cf-Access-Jwt-Assertion", "b")
		wantHeader(t, got.header, "X-Forwarded-User", "")
	}
}

// TestFieldsOfAnOuterHandlerStay has an outer handler set a field that is
// removed from the requests of clients, and an inner one set others.
func TestFieldsOfAnOuterHandlerStay(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	g := startGateway(t, db, up, site{
		options: "optional\nidentity {\nX-Forwarded-User {http.auth.user.username}\n}",
		after:   fmt.Sprintf("route {\nsesame {\nsecret_key x\noptional\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}\n}\nreverse_proxy %s\n}", db.dsn, up.addr),
	})
	g.get(t, "/", append(bearer(tokenFor(t, alice)), "X-Forwarded-User", "forged", "X-Forwarded-Email", "forged")...).wantStatus(t, http.StatusOK)
	got := up.takeOne(t)
	wantNoForgery(t, got)
	wantHeader(t, got.header, "X-Forwarded-User", "alice")
	wantHeader(t, got.header, "Remote-User", "alice")
	g.get(t, "/", "X-Forwarded-User", "forged").wantStatus(t, http.StatusOK)
	wantNoForgery(t, up.takeOne(t))
}

// TestPHPDerivesNoUserFromCredentials sends credentials beside a token, of which
// PHP makes PHP_AUTH_USER, PHP_AUTH_PW and PHP_AUTH_DIGEST.
func TestPHPDerivesNoUserFromCredentials(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "index.php"), []byte(phpPage), 0o644); err != nil {
		t.Fatal(err)
	}
	fpm := testprogram.PHP(t, "-n")
	basic := []string{"Authorization", "Basic YWRtaW46Zm9yZ2Vk"} // admin:forged
	digest := []string{"Authorization", `Digest username="admin", realm="forged"`}
	for _, test := range []struct {
		name, options, env string
		header             []string
		anonymous          bool
		want               map[string]any
	}{
		{"basic", "", "", basic, false, map[string]any{"PHP_AUTH_USER": nil, "PHP_AUTH_PW": nil, "HTTP_AUTHORIZATION": nil}},
		{"basic, and the user named by env", "", "env PHP_AUTH_USER {http.auth.user.username}", basic, false, map[string]any{"PHP_AUTH_USER": "alice", "PHP_AUTH_PW": nil}},
		{"basic in capitals", "", "", []string{"Authorization", "BASIC YWRtaW46Zm9yZ2Vk"}, false, map[string]any{"PHP_AUTH_USER": nil}},
		{"basic twice", "", "", append(slices.Clone(basic), basic...), false, map[string]any{"PHP_AUTH_USER": nil, "HTTP_AUTHORIZATION": nil}},
		{"digest", "", "", digest, false, map[string]any{"PHP_AUTH_DIGEST": nil, "HTTP_AUTHORIZATION": nil}},
		{"basic for a proxy", "", "", []string{"Proxy-Authorization", basic[1]}, false, map[string]any{"HTTP_PROXY_AUTHORIZATION": nil}},
		{"basic, which passes", "pass_header Authorization", "", basic, false, map[string]any{"PHP_AUTH_USER": "admin", "PHP_AUTH_PW": "forged"}},
		{"the application's own scheme", "", "", []string{"Authorization", "Token app"}, false, map[string]any{"HTTP_AUTHORIZATION": "Token app"}},
		{"basic without a user", "optional", "", basic, true, map[string]any{"PHP_AUTH_USER": "admin", "HTTP_REMOTE_USER": nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGateway(t, anyDatabase(t), new(upstream), site{
				options: test.options, after: fmt.Sprintf("root * %s\nphp_fastcgi %s {\n%s\n}", root, fpm, test.env),
			})
			uri := "/?sesame=" + tokenFor(t, alice)
			if test.anonymous {
				uri = "/"
			}
			answer := g.get(t, uri, test.header...)
			answer.wantStatus(t, http.StatusOK)
			var got phpRequest
			if err := json.Unmarshal([]byte(answer.body), &got); err != nil {
				t.Fatalf("%v: %s", err, answer.body)
			}
			for _, name := range slices.Sorted(maps.Keys(test.want)) {
				if got.Server[name] != test.want[name] {
					t.Errorf("%s is %v, want %v", name, got.Server[name], test.want[name])
				}
			}
		})
	}
}

// TestNameThatNoHeaderCarriesIsWarnedOfOnce has a user whose name has a tab send
// many requests.
func TestNameThatNoHeaderCarriesIsWarnedOfOnce(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	for _, u := range []testUser{{101, "a\tb", "p", "", "", true}, {102, "c\td", "p", "", "", true}} {
		db.insert(t, u)
	}
	g := startGateway(t, db, up, site{})
	for range 10 {
		for _, u := range []testUser{{101, "a\tb", "p", "", "", true}, {102, "c\td", "p", "", "", true}} {
			g.get(t, "/", bearer(tokenFor(t, u))...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "")
		}
	}
	if n := strings.Count(string(g.log(t)), "identity header left out"); n != 2 {
		t.Errorf("%d warnings of two users", n)
	}
}

// TestUnknownPlaceholderDoesntStart misspells a column: the error names the right
// one and the line.
func TestUnknownPlaceholderDoesntStart(t *testing.T) {
	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	err := tryCaddyfile(g.caddyfile(anyDatabase(t), startUpstream(t), site{
		options: "identity {\nX-Name {http.auth.user.fristname}\n}", store: "columns first_name",
	}))
	for _, part := range []string{"identity X-Name", "did you mean {http.auth.user.first_name}", "Caddyfile:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v doesn't say %q", err, part)
		}
	}
}

// TestJSONInAHeaderFieldStaysJSON has a user whose name would add a member.
func TestJSONInAHeaderFieldStaysJSON(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	mallory := testUser{103, `x","admin":true,"y":"`, "p", "", "", true}
	db.insert(t, mallory)
	g := startGateway(t, db, up, site{options: "identity {\nX-Who `{\"id\":{http.auth.user.id},\"name\":\"{http.auth.user.username}\"}`\n}"})
	g.get(t, "/", bearer(tokenFor(t, mallory))...).wantStatus(t, http.StatusOK)
	var who map[string]any
	if err := json.Unmarshal([]byte(up.takeOne(t).header.Get("X-Who")), &who); err != nil {
		t.Fatal(err)
	}
	if len(who) != 2 || who["id"] != 103.0 || who["name"] != mallory.username {
		t.Errorf("the upstream got %v", who)
	}
}
