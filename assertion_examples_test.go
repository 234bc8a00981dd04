package sesame_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// exampleApps are the applications in examples/assertion, by language.
var exampleApps = []struct {
	language string
	find     func() (program, lack string)
	command  func(program, code, addr, keysURL, dir string) *exec.Cmd
}{
	{
		"php",
		func() (string, string) {
			return lookFor("-r", "exit(function_exists('sodium_crypto_sign') ? 0 : 1);",
				"there is no php with sodium (Debian: apt-get install php-cli)", "php")
		},
		func(program, code, addr, keysURL, dir string) *exec.Cmd {
			app := exec.Command(program, "-S", addr, filepath.Join(code, "app.php"))
			app.Env = append(os.Environ(), "KEYS_URL="+keysURL, "AUDIENCE=app", "KEYS_DIR="+dir)
			return app
		},
	},
	{
		"python",
		func() (string, string) {
			return lookFor("-c", "import jwt, cryptography",
				"there is no python3 with PyJWT and cryptography (Debian: apt-get install python3-jwt python3-cryptography)",
				"/usr/bin/python3", "python3")
		},
		func(program, code, addr, keysURL, _ string) *exec.Cmd {
			return exec.Command(program, "-B", filepath.Join(code, "app.py"), portOf(addr), keysURL, "app")
		},
	},
	{
		"node",
		func() (string, string) {
			return lookFor("-e", "process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)",
				"there is no node of version 18 or later (Debian: apt-get install nodejs)", "node")
		},
		func(program, code, addr, keysURL, _ string) *exec.Cmd {
			return exec.Command(program, filepath.Join(code, "app.mjs"), portOf(addr), keysURL, "app")
		},
	},
}

// lookFor finds the first program that can run a piece of code, or says which
// programs are missing.
func lookFor(flag, code, lack string, programs ...string) (program, lacking string) {
	for _, program := range programs {
		if exec.Command(program, flag, code).Run() == nil {
			return program, ""
		}
	}
	return "", lack
}

// TestAssertionExamples runs the applications in examples/assertion: behind the
// gateway, and with forged assertions that are sent straight to them.
func TestAssertionExamples(t *testing.T) {
	const keysPath = "/_sesame/jwks.json"
	db := anyDatabase(t)
	text := newAssertionKey(t)
	t.Setenv("ASSERTION_KEY", text)
	t.Setenv("ASSERTION_KEY_NEXT", newAssertionKey(t))

	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	addrs := make(map[string]string) // by language
	proxies := ""
	for _, app := range exampleApps {
		addrs[app.language] = unboundAddr(t)
		proxies += "reverse_proxy /" + app.language + " " + addrs[app.language] + "\n"
	}
	config := func(keys string) string {
		return g.caddyfile(db, nil, site{options: "assertion {\n audience app\n keys " + keys + "\n}", after: proxies})
	}
	loadCaddyfile(t, config("{env.ASSERTION_KEY}"))
	keys := g.keySet(t, keysPath)
	forger := newForger(t, text, keys)
	valid := tokenFor(t, alice)

	code := copyExamples(t)
	for _, app := range exampleApps {
		program, lack := app.find()
		addr := addrs[app.language]
		if lack == "" {
			testprogram.Listen(t, app.command(program, code, addr, "http://"+g.addr+keysPath, t.TempDir()), addr, os.Kill)
		}
		t.Run(app.language, func(t *testing.T) {
			switch {
			case lack != "" && os.Getenv("CI") != "":
				t.Fatal(lack)
			case lack != "":
				t.Skip(lack)
			}
			answer := g.get(t, "/"+app.language, "Authorization", "Bearer "+valid)
			if answer.status != http.StatusOK || answer.body != "user 1, alice\n" {
				t.Errorf("behind the gateway, the answer is %d: %s", answer.status, answer.body)
			}
			direct := &gateway{addr: addr}
			for _, request := range forger.requests() {
				var header []string
				for _, value := range request.authorization {
					header = append(header, "Authorization", value)
				}
				answer := direct.get(t, "/", header...)
				if request.holds && (answer.status != http.StatusOK || answer.body != "user 7, mallory\n") {
					t.Errorf("%s: %d: %s", request.name, answer.status, answer.body)
				}
				if !request.holds && answer.status != http.StatusUnauthorized {
					t.Errorf("%s: %d, want 401: %s", request.name, answer.status, answer.body)
				}
			}
			wantFewReads(t, direct, forger)
		})
	}

	// The next key wasn't published before it signs. An application that has just
	// read the keys waits a while before it reads them again.
	if err := tryCaddyfile(config("{env.ASSERTION_KEY_NEXT} {env.ASSERTION_KEY}")); err != nil {
		t.Fatal(err)
	}
	for _, app := range exampleApps {
		if _, lack := app.find(); lack != "" {
			continue
		}
		t.Run(app.language+" with the next key", func(t *testing.T) {
			deadline := time.Now().Add(time.Minute)
			for g.get(t, "/"+app.language, "Authorization", "Bearer "+valid).status != http.StatusOK {
				if time.Now().After(deadline) {
					t.Fatal("the application doesn't read the next key")
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
}

// examplesPause is how long the applications wait between two attempts to read the
// keys, in seconds, in the place of 10.
const examplesPause = 2

// copyExamples copies examples/assertion, with examplesPause.
func copyExamples(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	files, err := filepath.Glob("examples/assertion/*.*")
	if err != nil {
		t.Fatal(err)
	}
	pauses := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pauses += strings.Count(string(text), "PAUSE = 10")
		text = []byte(strings.Replace(string(text), "PAUSE = 10", fmt.Sprint("PAUSE = ", examplesPause), 1))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pauses != len(exampleApps) {
		t.Fatalf("%d of %d applications have a pause", pauses, len(exampleApps))
	}
	return dir
}

// wantFewReads sends unknown key ids, for which an application must not read the
// gateway's keys each time.
func wantFewReads(t *testing.T, direct *gateway, f *forger) {
	t.Helper()
	const page = `requests_total{outcome="page",reason=""}`
	before, started := metricValues(t)[page], time.Now()
	for range 30 {
		header := jose.JSONWebKey{Key: f.other, KeyID: rand.Text()}
		direct.get(t, "/", "Authorization", "Bearer "+f.signed(jose.EdDSA, header, f.claims(nil))).wantStatus(t, http.StatusUnauthorized)
	}
	most := 1 + time.Since(started).Seconds()/examplesPause
	if reads := metricValues(t)[page] - before; reads > most {
		t.Errorf("the keys were read %v times in %s", reads, time.Since(started))
	}
}

// forger makes assertions, with the gateway's key and without.
type forger struct {
	t      *testing.T
	key    jose.JSONWebKey // the gateway's
	public ed25519.PublicKey
	other  ed25519.PrivateKey
}

func newForger(t *testing.T, text string, keys jose.JSONWebKeySet) *forger {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &forger{
		t: t, key: jose.JSONWebKey{Key: private, KeyID: keys.Keys[0].KeyID},
		public: keys.Keys[0].Key.(ed25519.PublicKey), other: other,
	}
}

// claims are valid claims with changes. A claim changed to nil is left out.
func (f *forger) claims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": "caddy-sesame", "sub": "7", "aud": "app", "iat": now, "nbf": now, "exp": now + 60, "preferred_username": "mallory",
	}
	for name, value := range changes {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// signed is an assertion of claims.
func (f *forger) signed(alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	f.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		f.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		f.t.Fatal(err)
	}
	made, err := signer.Sign(payload)
	if err != nil {
		f.t.Fatal(err)
	}
	text, err := made.CompactSerialize()
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// unsigned is an assertion with a header of one's own, and a signature.
func (f *forger) unsigned(header map[string]any, signature string) string {
	f.t.Helper()
	encode := func(part any) string {
		text, err := json.Marshal(part)
		if err != nil {
			f.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return encode(header) + "." + encode(f.claims(nil)) + "." + signature
}

// forgedRequest is a request for an application, and whether the application must
// accept it.
type forgedRequest struct {
	name          string
	authorization []string
	holds         bool
}

// requests are what an application gets. It must accept only the first ones.
func (f *forger) requests() []forgedRequest {
	good := f.signed(jose.EdDSA, f.key, f.claims(nil))
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	der, err := x509.MarshalPKIXPublicKey(f.public)
	if err != nil {
		f.t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: f.other}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		f.t.Fatal(err)
	}
	payload, err := json.Marshal(f.claims(nil))
	if err != nil {
		f.t.Fatal(err)
	}
	withKey, err := embedded.Sign(payload)
	if err != nil {
		f.t.Fatal(err)
	}
	withItsKey, err := withKey.CompactSerialize()
	if err != nil {
		f.t.Fatal(err)
	}

	one := func(name, assertion string) forgedRequest {
		return forgedRequest{name, []string{"Bearer " + assertion}, false}
	}
	changed := func(name string, changes map[string]any) forgedRequest {
		return one(name, f.signed(jose.EdDSA, f.key, f.claims(changes)))
	}
	symmetric := func(name string, secret []byte) forgedRequest {
		return one(name, f.signed(jose.HS256, jose.JSONWebKey{Key: secret, KeyID: f.key.KeyID}, f.claims(nil)))
	}
	now := time.Now().Unix()
	several := changed("for several audiences", map[string]any{"aud": []string{"other", "app"}})
	several.holds = true
	return []forgedRequest{
		{"good", []string{"Bearer " + good}, true},
		several,
		changed("a wrong audience", map[string]any{"aud": "other"}),
		changed("wrong audiences", map[string]any{"aud": []string{"other", "app2"}}),
		changed("no audience", map[string]any{"aud": nil}),
		changed("another issuer", map[string]any{"iss": "other"}),
		changed("no issuer", map[string]any{"iss": nil}),
		changed("expired", map[string]any{"iat": now - 120, "nbf": now - 120, "exp": now - 60}),
		changed("no end", map[string]any{"exp": nil}),
		changed("not valid yet", map[string]any{"iat": now + 300, "nbf": now + 300, "exp": now + 360}),
		changed("no user", map[string]any{"sub": nil}),
		one("another key with the id", f.signed(jose.EdDSA, jose.JSONWebKey{Key: f.other, KeyID: f.key.KeyID}, f.claims(nil))),
		one("another key with no id", f.signed(jose.EdDSA, f.other, f.claims(nil))),
		one("another key that it brings along", withItsKey),
		one("no algorithm", f.unsigned(map[string]any{"alg": "none", "kid": f.key.KeyID}, "")),
		one("no algorithm, in capitals", f.unsigned(map[string]any{"alg": "NONE", "kid": f.key.KeyID}, "")),
		one("no algorithm and a signature", f.unsigned(map[string]any{"alg": "none", "kid": f.key.KeyID}, signature)),
		one("no id that is text", f.unsigned(map[string]any{"alg": "EdDSA", "kid": []string{f.key.KeyID}}, signature)),
		symmetric("the public key as a secret", f.public),
		symmetric("the public key in PEM as a secret", asPEM),
		one("other claims", head+"."+strings.Split(f.unsigned(nil, ""), ".")[1]+"x."+signature),
		one("no signature", head+"."+body+"."),
		one("half of a signature", head+"."+body+"."+signature[:len(signature)/2]),
		one("no body", head+".."+signature),
		one("no JSON", "AAAA.AAAA."+signature),
		one("a token", tokenFor(f.t, alice)),
		one("nothing", ""),
		{"no header field", nil, false},
		{"no scheme", []string{good}, false},
		{"another scheme", []string{"Basic " + good}, false},
		{"twice", []string{"Bearer " + good, "Bearer " + good}, false},
		{"two in one", []string{"Bearer " + good + ", Bearer " + good}, false},
	}
}
