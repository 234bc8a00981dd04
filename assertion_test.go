package sesame_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
)

// assertedClaims are what the tests' assertions say.
type assertedClaims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  any    `json:"aud"`
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
	Username  string `json:"preferred_username"`
	Email     string `json:"email"`
	Role      string `json:"role"`

	Groups      []string `json:"groups"`
	Permissions []string `json:"permissions"`
}

// keySet reads the keys that a gateway publishes.
func (g *gateway) keySet(t *testing.T, path string) jose.JSONWebKeySet {
	t.Helper()
	answer := g.get(t, path)
	answer.wantStatus(t, http.StatusOK)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(answer.body), &set); err != nil {
		t.Fatalf("%v: %s", err, answer.body)
	}
	return set
}

// verified are the claims of an assertion that one of the keys has signed.
func verified(t *testing.T, keys jose.JSONWebKeySet, assertion string) assertedClaims {
	t.Helper()
	signed, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatalf("%v: %q", err, assertion)
	}
	header := signed.Signatures[0].Protected
	found := keys.Key(header.KeyID)
	if len(found) != 1 {
		t.Fatalf("%d keys have the id %q", len(found), header.KeyID)
	}
	if header.ExtraHeaders["typ"] != "JWT" {
		t.Errorf("typ is %v", header.ExtraHeaders["typ"])
	}
	payload, err := signed.Verify(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var claims assertedClaims
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// assertionOf is the assertion that the upstream got with its one request.
func (up *upstream) assertionOf(t *testing.T) string {
	t.Helper()
	values := up.takeOne(t).header["Authorization"]
	if len(values) != 1 {
		t.Fatalf("the upstream got the assertions %q, want one", values)
	}
	assertion, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok {
		t.Fatalf("the upstream got the assertion %q", values[0])
	}
	return assertion
}

// asName makes a test's name of options. Braces are removed, since Caddy would take
// them for a placeholder in the name of the test's directory.
func asName(options string) string {
	return strings.NewReplacer("{", "(", "}", ")", "\n", "").Replace(options)
}

const appAssertion = "assertion {\n audience app\n}"

// TestRequestsOfEveryKindCarryAnAssertion has requests of every kind carry an assertion.
func TestRequestsOfEveryKindCarryAnAssertion(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "session {\n redirect off\n}\nassertion {\n audience app\n issuer https://app.example.com\n ttl 30s\n}"})
		valid := tokenFor(t, alice)
		cookie := sessionCookie(t, g.get(t, "/?sesame="+valid))
		up.take()

		before := metricValues(t)["assertions_signed_total"]
		keys := g.keySet(t, "/_sesame/jwks.json")
		var first string
		for _, request := range []struct {
			uri    string
			header []string
		}{
			{"/?sesame=" + valid, nil},
			{"/", []string{"Authorization", "Bearer " + valid}},
			{"/", []string{"Cookie", cookie}},
			{"/", []string{"Cookie", cookie, "Authorization", "Basic eDp5"}},
		} {
			g.get(t, request.uri, request.header...).wantStatus(t, http.StatusOK)
			got := up.assertionOf(t)
			claims := verified(t, keys, got)
			if claims.Issuer != "https://app.example.com" || claims.Subject != "1" || claims.Audience != "app" ||
				claims.Username != "alice" || claims.Email != "alice@example.com" {
				t.Errorf("the claims are %+v", claims)
			}
			if age := time.Now().Unix() - claims.IssuedAt; age < 0 || age > 15 || claims.NotBefore != claims.IssuedAt || claims.Expires != claims.IssuedAt+30 {
				t.Errorf("at %d, the times are %+v", time.Now().Unix(), claims)
			}
			if first == "" {
				first = got
			}
		}
		if signed := metricValues(t)["assertions_signed_total"] - before; signed > 2 { // the window may have ended once
			t.Errorf("%v assertions were signed for one user", signed)
		}
		g.wantNoToken(t, first)

		t.Run("another user", func(t *testing.T) {
			g.get(t, "/", "Authorization", "Bearer "+tokenFor(t, carol)).wantStatus(t, http.StatusOK)
			if claims := verified(t, keys, up.assertionOf(t)); claims.Subject != "3" || claims.Username != "carol" || claims.Email != "" {
				t.Errorf("the claims are %+v", claims)
			}
		})
		t.Run("refused", func(t *testing.T) {
			g.get(t, "/", "Authorization", "Bearer "+first).wantStatus(t, http.StatusUnauthorized) // it is no token
			g.get(t, "/").wantStatus(t, http.StatusUnauthorized)
			up.takeNone(t)
		})
	})
}

// TestAssertionIsFresh changes a user's row between two requests.
func TestAssertionIsFresh(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			options: "assertion {\n audience app\n ttl 1h\n claim email {http.auth.user.email}\n claim role \"{http.auth.user.last_name}, {http.auth.user.is_staff}\"\n}",
			store:   "columns last_name is_staff",
		})
		keys := g.keySet(t, "/_sesame/jwks.json")
		valid := tokenFor(t, alice)
		ask := func() (string, assertedClaims) {
			g.get(t, "/", "Authorization", "Bearer "+valid).wantStatus(t, http.StatusOK)
			assertion := up.assertionOf(t)
			return assertion, verified(t, keys, assertion)
		}
		first, claims := ask()
		if claims.Email != alice.email || claims.Role != "Last, 0" || claims.Username != "" {
			t.Errorf("the claims are %+v", claims)
		}
		if again, _ := ask(); again != first {
			t.Error("nothing changed, and the assertion did")
		}
		db.mustExec(t, "UPDATE auth_user SET email = 'new@example.com' WHERE id = 1")
		if _, claims = ask(); claims.Email != "new@example.com" || claims.Role != "Last, 0" {
			t.Errorf("with a new address, the claims are %+v", claims)
		}
		db.mustExec(t, "UPDATE auth_user SET is_staff = 1 WHERE id = 1")
		if _, claims = ask(); claims.Role != "Last, 1" {
			t.Errorf("as staff, the claims are %+v", claims)
		}
		db.mustExec(t, "UPDATE auth_user SET is_active = 0 WHERE id = 1")
		g.get(t, "/", "Authorization", "Bearer "+valid).wantStatus(t, http.StatusUnauthorized)
	})
}

// TestAssertionOfGroups changes a user's groups between two requests. The
// assertion has all of them, also those that a list with commas can't have.
func TestAssertionOfGroups(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		db = db.asAdministrator()
		db.addRights(t)
		up := startUpstream(t)
		valid := tokenFor(t, alice)
		ask := func(g *gateway, token string) assertedClaims {
			g.get(t, "/", "Authorization", "Bearer "+token).wantStatus(t, http.StatusOK)
			return verified(t, g.keySet(t, "/_sesame/jwks.json"), up.assertionOf(t))
		}
		want := func(claims assertedClaims, groups ...string) {
			t.Helper()
			if claims.Groups == nil || !slices.Equal(claims.Groups, groups) {
				t.Errorf("the groups are %q, want %q", claims.Groups, groups)
			}
		}
		t.Run("by default", func(t *testing.T) {
			// Remote-Groups is no field here, and still a name that no client may use.
			g := startGateway(t, db, up, site{options: "identity {\n X-User {http.auth.user.id}\n}\nassertion {\n audience app\n ttl 1h\n}", store: "groups"})
			want(ask(g, valid), "admins", "editors")
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 3)")
			db.mustExec(t, "UPDATE auth_group SET name = 'a,b' WHERE id = 3")
			want(ask(g, valid), "a,b", "admins", "editors")
			db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 1 AND group_id = 3")
			want(ask(g, valid), "admins", "editors")
			db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 1")
			want(ask(g, valid))
		})
		t.Run("in the application's names", func(t *testing.T) {
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 3)")
			g := startGateway(t, db, up, site{
				options: "assertion {\n audience app\n claim groups {http.auth.user.groups} {\n map a,b \"papers, old\"\n map editors writers\n }\n}", store: "groups",
			})
			want(ask(g, tokenFor(t, carol)), "papers, old", "writers")
			db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 3 AND group_id = 1")
			want(ask(g, tokenFor(t, carol)), "papers, old")
			db.mustExec(t, "INSERT INTO auth_user_groups (user_id, group_id) VALUES (3, 1)")
			db.mustExec(t, "DELETE FROM auth_user_groups WHERE user_id = 3 AND group_id = 3")
		})
		t.Run("claims of one's own", func(t *testing.T) {
			g := startGateway(t, db, up, site{
				options: "assertion {\n audience app\n ttl 1h\n claim permissions {http.auth.user.permissions}\n claim role \"in {http.auth.user.groups}; {http.auth.user.is_staff}\"\n}",
				store:   "groups\npermissions\nis_staff",
			})
			claims := ask(g, tokenFor(t, carol))
			if !slices.Equal(claims.Permissions, []string{"blog.change_post"}) || claims.Role != "in editors; 0" || claims.Groups != nil {
				t.Errorf("the claims are %+v", claims)
			}
			db.mustExec(t, "DELETE FROM auth_user_user_permissions WHERE user_id = 3")
			if claims := ask(g, tokenFor(t, carol)); claims.Permissions == nil || len(claims.Permissions) > 0 {
				t.Errorf("without permissions, the claims are %+v", claims)
			}
		})
	})
}

// TestAssertionIsSignedOnce has a user send many requests at once.
func TestAssertionIsSignedOnce(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, site{options: "assertion {\n audience app\n ttl 1h\n}"})
	before := metricValues(t)["assertions_signed_total"]
	valid := tokenFor(t, alice)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			request, err := http.NewRequest(http.MethodGet, "http://"+g.addr+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			request.Header.Set("Authorization", "Bearer "+valid)
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
		})
	}
	all.Wait()
	seen := make(map[string]bool)
	for _, request := range up.take() {
		seen[request.header.Get("Authorization")] = true
	}
	if signed := metricValues(t)["assertions_signed_total"] - before; signed != 1 || len(seen) != 1 {
		t.Errorf("%v assertions were signed, the upstream saw %d", signed, len(seen))
	}
}

// TestClientsCantSetAssertion sends assertions in disguise, with a valid token and
// without one.
func TestClientsCantSetAssertion(t *testing.T) {
	for _, header := range []string{"Authorization", "X-Assertion"} {
		up := startUpstream(t)
		g := startGateway(t, anyDatabase(t), up, site{
			options: "optional\ntoken_from query bearer\nassertion {\n audience app\n header " + header + "\n}",
			global:  "servers {\n expected_underscore_headers X_* \n expected_dot_headers X.* \n}",
		})
		folded := strings.ToUpper(strings.ReplaceAll(header, "-", ""))
		for _, disguise := range []string{
			header + ": forged",
			strings.ToLower(header) + ": forged",
			header + ": forged\n" + header + ": forged",
			strings.ReplaceAll(header, "-", "_") + ": forged",
			strings.ReplaceAll(header, "-", ".") + ": forged",
			header + "~: forged",
			"Connection: " + header,
		} {
			t.Run(disguise, func(t *testing.T) {
				for _, uri := range []string{"/?sesame=" + tokenFor(t, alice), "/"} {
					g.raw(t, "GET "+uri+" HTTP/1.1\nHost: app.example.com\n"+disguise+"\nConnection: close\n\n")
					for name, values := range up.takeOne(t).header {
						name = strings.ToUpper(strings.NewReplacer("-", "", "_", "", ".", "", "~", "").Replace(name))
						if name != folded {
							continue
						}
						if uri == "/" || len(values) != 1 || strings.Contains(values[0], "forged") {
							t.Errorf("%s: the upstream got %s: %q", uri, header, values)
						}
						uri = ""
					}
					if strings.Contains(uri, "sesame=") {
						t.Error("the upstream got no assertion")
					}
				}
			})
		}
		t.Run("trailers", func(t *testing.T) {
			g.raw(t, "POST / HTTP/1.1\nHost: app.example.com\nTransfer-Encoding: chunked\nTrailer: "+header+"\nConnection: close\n\n"+
				"4\nbody\n0\n"+header+": forged\n\n")
			if got := up.takeOne(t); len(got.trailer[header]) > 0 {
				t.Errorf("the upstream got the trailers %v", got.trailer)
			}
		})
	}
}

// TestAssertionsInARow has a request pass several handlers, each with an
// assertion for its own audience, or with none.
func TestAssertionsInARow(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	for _, test := range []struct {
		name, inner string
		want        string // the audience of the last
	}{
		{"another audience", "assertion {\n audience inner\n}", "inner"},
		{"none", "", "app"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := startGateway(t, db, up, site{
				options: appAssertion,
				after: fmt.Sprintf(`route {
					sesame {
						secret_key %q
						optional
						%s
						userstore mysql {
							dsn %q
							query_timeout 20s
						}
					}
					reverse_proxy %s
				}`, secretKey, test.inner, db.dsn, up.addr),
			})
			keys := g.keySet(t, "/_sesame/jwks.json")
			g.get(t, "/", "Authorization", "Bearer "+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
			if claims := verified(t, keys, up.assertionOf(t)); claims.Audience != test.want || claims.Subject != "1" {
				t.Errorf("the claims are %+v", claims)
			}
		})
	}
}

// TestKeySetAnswersEveryWayOfAsking asks for the public keys by each method and
// path.
func TestKeySetAnswersEveryWayOfAsking(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	for _, test := range []struct{ options, path string }{
		{appAssertion, "/_sesame/jwks.json"},
		{appAssertion + "\noptional", "/_sesame/jwks.json"},
		{appAssertion + "\nsession", "/_sesame/jwks.json"},
		{appAssertion + "\nreserved_path /auth/", "/auth/jwks.json"},
	} {
		t.Run(asName(test.options), func(t *testing.T) {
			g := startGateway(t, db, up, site{options: test.options})
			answer := g.get(t, test.path, "Authorization", "Bearer nonsense")
			answer.wantStatus(t, http.StatusOK)
			for name, want := range map[string]string{
				"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff",
			} {
				wantHeader(t, answer.header, name, want)
			}
			var set struct {
				Keys []map[string]string `json:"keys"`
			}
			if err := json.Unmarshal([]byte(answer.body), &set); err != nil {
				t.Fatalf("%v: %s", err, answer.body)
			}
			if len(set.Keys) != 1 {
				t.Fatalf("the keys are %v", set.Keys)
			}
			for name, want := range map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "d": ""} {
				if set.Keys[0][name] != want {
					t.Errorf("%s is %q, want %q", name, set.Keys[0][name], want)
				}
			}
			if head := g.do(t, http.MethodHead, test.path); head.status != http.StatusOK || head.body != "" {
				t.Errorf("HEAD is answered %d with %q", head.status, head.body)
			}
			post := g.do(t, http.MethodPost, test.path)
			post.wantStatus(t, http.StatusMethodNotAllowed)
			wantHeader(t, post.header, "Allow", "GET, HEAD")
			up.takeNone(t)
		})
	}
	t.Run("nothing else is taken from the application", func(t *testing.T) {
		g := startGateway(t, db, up, site{options: appAssertion})
		for _, path := range []string{"/_sesame/login", "/_sesame/", "/_sesame/jwks.json/", "/jwks.json"} {
			g.get(t, path, "Authorization", "Bearer "+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
			up.takeOne(t)
		}
	})
	t.Run("without assertions", func(t *testing.T) {
		g := startGateway(t, db, up, site{options: "session"})
		g.get(t, "/_sesame/jwks.json").wantStatus(t, http.StatusNotFound)
	})
}

// TestAssertionKeys uses keys of every origin, and changes them.
func TestAssertionKeys(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	first, second := newAssertionKey(t), newAssertionKey(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ASSERTION_KEY", second)

	ids := func(set jose.JSONWebKeySet) (ids []string) {
		for _, key := range set.Keys {
			ids = append(ids, key.KeyID)
		}
		return ids
	}
	run := func(options string) ([]string, string) {
		var published []string
		var signer string
		t.Run(asName(options), func(t *testing.T) {
			g := startGateway(t, db, up, site{options: options})
			keys := g.keySet(t, "/_sesame/jwks.json")
			g.get(t, "/?sesame="+tokenFor(t, alice)).wantStatus(t, http.StatusOK)
			assertion := up.assertionOf(t)
			verified(t, keys, assertion)
			signed, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.EdDSA})
			if err != nil {
				t.Fatal(err)
			}
			published, signer = ids(keys), signed.Signatures[0].Protected.KeyID
			g.wantNoToken(t, strings.Split(first, "\n")[1], strings.Split(second, "\n")[1])
		})
		return published, signer
	}
	derived, signer := run(appAssertion)
	if t.Failed() {
		return
	}
	if len(derived) != 1 || derived[0] != signer {
		t.Errorf("derived keys are %v, the signer's is %s", derived, signer)
	}
	withFallback, signer := run(appAssertion + "\nsecret_key_fallbacks older")
	if len(withFallback) != 2 || withFallback[0] != derived[0] || signer != derived[0] {
		t.Errorf("with a fallback, the keys are %v, the signer's is %s", withFallback, signer)
	}
	given, signer := run("assertion {\n audience app\n keys {file." + file + "} {env.ASSERTION_KEY}\n}")
	if len(given) != 2 || signer != given[0] || slices.Contains(given, derived[0]) {
		t.Errorf("keys of one's own are %v, the signer's is %s", given, signer)
	}
	turned, signer := run("assertion {\n audience app\n keys {env.ASSERTION_KEY} {file." + file + "}\n}")
	if len(turned) != 2 || turned[0] != given[1] || turned[1] != given[0] || signer != given[1] {
		t.Errorf("turned around, the keys are %v, the signer's is %s", turned, signer)
	}
}

// newAssertionKey is a key as openssl writes it.
func newAssertionKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM(t, key)
}

func inPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestWrongAssertionsAreRejectedAtTheStart loads wrong configurations. Their errors hold no key.
func TestWrongAssertionsAreRejectedAtTheStart(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newAssertionKey(t)
	keys := map[string]string{
		"EC_KEY": inPEM(t, elliptical), "TWO_KEYS": good + newAssertionKey(t), "NO_KEY": "hush", "CUT_KEY": strings.Replace(good, "MC4C", "MC4D", 1),
	}
	for name, value := range keys {
		t.Setenv(name, value)
	}
	for _, test := range []struct{ options, want string }{
		{"assertion", "assertion: audience is missing"},
		{"assertion {\n header X\n}", "assertion: audience is missing"},
		{"assertion {\n audience\n}", "wrong argument count"},
		{"assertion {\n audience \"\"\n}", "audience has an empty value"},
		{"assertion {\n audience {http.request.host}\n}", "assertion: audience: a placeholder"},
		{"assertion {\n audience app\n issuer {env.THERE_IS_NONE}\n}", "assertion: issuer: the environment variable THERE_IS_NONE"},
		{"assertion {\n audience app\n ttl 1s\n}", "assertion: ttl 1s: it must be whole seconds, from 2s to 1h"},
		{"assertion {\n audience app\n ttl 2500ms\n}", "assertion: ttl 2.5s: it must be whole seconds"},
		{"assertion {\n audience app\n ttl 2h\n}", "assertion: ttl 2h0m0s"},
		{"assertion {\n audience app\n header \"a b\"\n}", `assertion: header "a b": it is not a valid header field name`},
		{"assertion {\n audience app\n header Cookie\n}", "assertion: header Cookie: this header field has another meaning"},
		{"assertion {\n audience app\n header remote_user\n}", "can't be told from another"},
		{"token_from header X-Token\nassertion {\n audience app\n header X_Token\n}", "token_from header X-Token: that is an identity header field"},
		{"assertion {\n audience app\n claim sub x\n}", "assertion: claim sub: the gateway sets this claim"},
		{"assertion {\n audience app\n claim a {http.request.host}\n}", "assertion: claim a: {http.request.host}: only {http.auth.user.<column>}"},
		{"assertion {\n audience app\n claim a {http.auth.user.is_staff}\n}", `the store reads no column "is_staff"; name it in columns of userstore`},
		{"assertion {\n audience app\n claim a {http.auth.user.groups}\n}", "{http.auth.user.groups}: the store doesn't read them; add groups to userstore"},
		{"assertion {\n audience app\n claim a x{http.auth.user.permissions}\n}", "{http.auth.user.permissions}: the store doesn't read them; add permissions to userstore"},
		{"assertion {\n audience app\n claim a {http.auth.user.password}\n}", "the password's hash is never passed on"},
		{"assertion {\n audience app\n claim a \"{http.auth.user.id\"\n}", "the brace } is missing"},
		{"assertion {\n audience app\n claim a \"\"\n}", "claim has an empty value"},
		{"assertion {\n audience app\n claim a b\n claim a c\n}", "assertion: claim a is already set"},
		{"assertion {\n audience app\n key x\n}", `unrecognized option "key" of assertion`},
		{"reserved_path off\n" + appAssertion, "reserved_path off"},
		{"assertion {\n audience app\n keys {env.EC_KEY}\n}", "keys: key 1: it isn't one Ed25519 private key in PEM"},
		{"assertion {\n audience app\n keys {env.TWO_KEYS}\n}", "keys: key 1: it isn't one Ed25519 private key in PEM"},
		{"assertion {\n audience app\n keys {env.NO_KEY}\n}", "keys: key 1: it isn't one Ed25519 private key in PEM"},
		{"assertion {\n audience app\n keys {env.CUT_KEY}\n}", "keys: key 1: it isn't one Ed25519 private key in PEM"},
		{"assertion {\n audience app\n keys {env.THERE_IS_NONE}\n}", "assertion: keys: the environment variable THERE_IS_NONE"},
	} {
		t.Run(asName(test.options), func(t *testing.T) {
			g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
			err := tryCaddyfile(g.caddyfile(db, up, site{options: test.options}))
			if err == nil {
				_ = caddy.Stop()
				t.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
			for name, key := range keys {
				for line := range strings.Lines(key) {
					if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "-----") && strings.Contains(err.Error(), line) {
						t.Errorf("the error holds %s: %v", name, err)
					}
				}
			}
		})
	}
}

// TestAssertionInLogs looks for assertions in all that Caddy logs at DEBUG,
// with no filter, also where the upstream breaks off, which makes Caddy log
// what it sent.
func TestAssertionInLogs(t *testing.T) {
	up := new(upstream)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.Header().Set("Content-Length", "1000") // the end is missing
		}
		up.ServeHTTP(w, r)
	}))
	defer server.Close()
	up.addr = server.Listener.Addr().String()
	g := startGateway(t, anyDatabase(t), up, site{options: appAssertion})
	valid := tokenFor(t, alice)
	g.get(t, "/whole", "Authorization", "Bearer "+valid).wantStatus(t, http.StatusOK)
	assertion := up.assertionOf(t)
	g.raw(t, "GET /broken HTTP/1.1\nHost: app.example.com\nAuthorization: Bearer "+valid+"\nConnection: close\n\n")
	poll(t, "a line that has the request's header", func() bool {
		for _, line := range g.lines(t, "http.handlers.reverse_proxy") {
			if strings.HasPrefix(line["msg"].(string), "aborting with incomplete response") {
				header := line["request"].(map[string]any)["headers"].(map[string]any)
				if fmt.Sprint(header["Authorization"]) != "[REDACTED]" {
					t.Errorf("Caddy logs %v", header)
				}
				return true
			}
		}
		return false
	})
	g.awaitLines(t, "http.log.access", 2)
	g.wantNoToken(t, assertion, valid)
}
