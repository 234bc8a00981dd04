package sesame

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// caddyfileOptions are the options that fuzzing begins with, each in a block
// that nothing is wrong with.
var caddyfileOptions = []string{
	"", "secret_key_fallbacks hush-hush-1 hush-hush-2", "token_name token", "token_from bearer query header X-Token", "max_age 1.5", "max_age 10m",
	"one_time", "max_age 1d\n invalidate_on_password_change off", "invalidate_on_email_change on", "packer app.Packer\n packer_encoding hex:24",
	"primary_key_field uuid", "tokens v1 v2", "key hush-hush-3", "signature_size 16", "salt hush-hush-4", "digest sha256", "iterations 5", "use_tz off\n time_zone Europe/Paris",
	"scope a:{http.request.uri.path.0}", "optional\n preflight pass", "realm \"my app\"", "identity {\n X-User {http.auth.user.id}\n }",
	"cache 5s {\n max_users 1000\n max_size 8MiB\n }", "session {\n name s\n max_age 1h\n idle 10m\n domain example.com\n path /app\n same_site strict\n secure on\n redirect safari_off\n }",
	"confirm always\n reserved_path /-/\n watch 10s", "watch off", "pages {\n help_url /help\n expired_hint\n text confirm.title Hallo\n color accent teal \"#0fa\"\n }",
	"key hush-hush-3 x", "secret_key hush-hush-5", "salt", "userstore mysql",
}

// FuzzCaddyfile reads any directive. A directive that is accepted must come back the
// same from its JSON. The error for a rejected one must hold no secret.
func FuzzCaddyfile(f *testing.F) {
	for _, option := range caddyfileOptions {
		f.Add("sesame {\n secret_key hush-hush\n userstore mysql {\n dsn root:hush-hush-0@tcp(db)/app\n table people\n }\n " + option + "\n}")
	}
	f.Add("sesame {\n secret_key \"hush hush\n}")
	f.Add("sesame {\n userstore mysql {\n dsn hush:hush-hush@udp(x)/y z\n } x\n}")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := caddyfile.Tokenize([]byte(text), "Testfile")
		if err != nil || strings.Contains(text, "template") { // which would read any file
			return
		}
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			wantNoSecret(t, err, text, secretsOf(tokens))
			return
		}
		again := wantSameJSON(t, h)
		if err := again.Validate(); err != nil {
			t.Errorf("accepted in a Caddyfile, and not in JSON: %v", err)
		}
	})
}

// secretsOf finds the secrets in a directive: what stands behind their options.
func secretsOf(tokens []caddyfile.Token) []string {
	var secrets []string
	option, line, depth := "", 0, 0
	for _, token := range tokens {
		switch {
		case strings.Contains(token.Text, "\n"):
			return nil // where lines begin is for Caddy to say then
		case token.Line != line:
			option, line = token.Text, token.Line
		case depth == 1 && slices.Contains([]string{"secret_key", "secret_key_fallbacks", "key", "salt"}, option):
			secrets = append(secrets, token.Text)
		case depth == 2 && option == "dsn":
			secrets = append(secrets, passwordOf(token.Text))
		}
		switch token.Text {
		case "{":
			depth++
		case "}":
			depth--
		}
	}
	return secrets
}

// passwordOf is the password in a DSN that has one.
func passwordOf(dsn string) string {
	account := dsn[:max(strings.LastIndexByte(dsn, '@'), 0)]
	_, password, _ := strings.Cut(account, ":")
	return password
}

// wantNoSecret fails the test if an error repeats a secret: one that is marked,
// and isn't said elsewhere, too.
func wantNoSecret(t *testing.T, err error, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(secret, "hush") && strings.Count(text, secret) == 1 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error repeats the secret %q: %v", secret, err)
		}
	}
}

// wantSameJSON writes a handler as JSON and reads it again.
func wantSameJSON(t *testing.T, h *Handler) *Handler {
	t.Helper()
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	again := new(Handler)
	if err := caddy.StrictUnmarshalJSON(raw, again); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	twice, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != string(twice) {
		t.Errorf("%s\nbecame\n%s", raw, twice)
	}
	return again
}

// FuzzJSON reads any configuration in JSON, checks it as Provision does, short of
// connecting to MySQL, and looks for secrets in its errors.
func FuzzJSON(f *testing.F) {
	for _, option := range caddyfileOptions {
		text := "sesame {\n secret_key hush-hush\n userstore mysql {\n dsn root:hush-hush-0@tcp(db)/app\n table people\n }\n " + option + "\n}"
		h := new(Handler)
		if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
			continue
		}
		raw, err := json.Marshal(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	f.Add(`{"secret_key":"hush-hush","packer":"app.Packer","userstore":{"dsn":"hush-hush-0"}}`)
	f.Add(`{"secret_key":"hush-hush","signature_size":-1,"iterations":-1,"max_age":-1,"watch":-1,"cache":{"for":-1,"max_size":-1},"session":{"max_age":-1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		h := new(Handler)
		if err := caddy.StrictUnmarshalJSON([]byte(text), h); err != nil || strings.Contains(text, "template") {
			return
		}
		wantSameJSON(t, h)
		secrets := append([]string{h.SecretKey, h.Key, h.Salt, passwordOf(h.UserStore.DSN)}, h.SecretKeyFallbacks...)
		asTheyAre := func(_, secret string) (string, error) { return secret, nil }
		settings, err := h.tokenSettings(asTheyAre)
		if err != nil {
			wantNoSecret(t, err, text, secrets)
			return
		}
		store := h.storeConfig()
		for _, check := range []func() error{
			func() error { return h.checkSettings(settings) },
			func() error {
				g, err := newRequestGate(h, new(tally))
				if err != nil {
					return err
				}
				return g.makeKeys(settings)
			},
			store.Validate,
			h.Validate,
		} {
			if err := check(); err != nil {
				wantNoSecret(t, err, text, secrets)
			}
		}
	})
}
