package sesame

import (
	"reflect"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
)

func TestWrongOptionsOfPasswordNameTheRightValue(t *testing.T) {
	t.Parallel()
	const names = "name a hasher as its hashes begin: pbkdf2_sha256, pbkdf2_sha1, argon2, bcrypt_sha256, bcrypt, scrypt, md5, sha1, unsalted_md5 or unsalted_sha1"
	wantWrong(t, []wrongConfig{
		{options: "password {\nhashers django.contrib.auth.hashers.BCryptSHA256PasswordHasher\n}", line: 4, want: `password: hashers "django.contrib.auth.hashers.BCryptSHA256PasswordHasher": ` + names + "; write bcrypt_sha256"},
		{options: "password {\nhashers argon2 pbkdf2-sha1\n}", line: 4, want: `password: hashers "pbkdf2-sha1": ` + names + "; did you mean pbkdf2_sha1?"},
		{options: "password {\nhashers argon2id\n}", line: 4, want: `password: hashers "argon2id": ` + names + "; did you mean argon2?"},
		{options: "password {\nhashers rot13\n}", line: 4, want: `password: hashers "rot13": ` + names},
		{options: "password {\nmfa_totp_digits 12\n}", line: 4, want: "password: mfa_totp_digits must be from 1 to 9"},
		{options: "password {\nmfa_totp_tolerance -1\n}", line: 4, want: "mfa_totp_tolerance: it must be a whole number of at least 0, not \"-1\""},
		{options: "password {\nmax_concurrent 100000\n}", line: 4, want: "password: max_concurrent 100000: it must be a number of hashes from 1 to 32767"},
	})
}

// TestDefaultsOfSecondFactorsCanBeWritten: operators copy what Django's settings have,
// which may be the libraries' defaults.
func TestDefaultsOfSecondFactorsCanBeWritten(t *testing.T) {
	t.Parallel()
	const defaults = "password {\notp_totp_sync on\notp_totp_throttle_factor 1\notp_static_throttle_factor 1\nmfa_totp_period 30\nmfa_totp_digits 6\n" +
		"mfa_totp_tolerance 0\nmfa_recovery_code_count 10\nmfa_recovery_code_digits 8\n}"
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(wrongConfig{options: defaults}.String())); err != nil {
		t.Fatal(err)
	}
	written, err := h.Password.FactorSettings()
	if err != nil {
		t.Fatal(err)
	}
	left, err := new(authn.PasswordConfig).FactorSettings()
	if err != nil || !reflect.DeepEqual(written, left) {
		t.Errorf("the defaults are %+v if they are written, and %+v otherwise (%v)", written, left, err)
	}
}
