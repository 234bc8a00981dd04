package token_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

func TestDefaultsAreDjangoSesames(t *testing.T) {
	t.Parallel()
	tokens, err := token.New(token.Settings{SecretKey: "k", Packer: "sesame.packers.LongPacker"})
	if err != nil {
		t.Fatal(err)
	}
	got := tokens.Settings()
	switch {
	case got.MaxAge != nil, got.OneTime, !*got.InvalidateOnPasswordChange, got.InvalidateOnEmailChange:
		t.Errorf("life: %v %v %v %v", got.MaxAge, got.OneTime, *got.InvalidateOnPasswordChange, got.InvalidateOnEmailChange)
	case got.PrimaryKeyField != "pk", got.Encoding != token.LongPacker:
		t.Errorf("keys: %q %v", got.PrimaryKeyField, got.Encoding)
	case len(got.Versions) != 2, got.Versions[0] != token.V2, got.Versions[1] != token.V1:
		t.Errorf("versions: %v", got.Versions)
	case got.Key != "", got.SignatureSize != 10:
		t.Errorf("v2: %q %d", got.Key, got.SignatureSize)
	case got.Salt != "sesame", got.Digest != "md5", got.Iterations != 10000:
		t.Errorf("v1: %q %q %d", got.Salt, got.Digest, got.Iterations)
	case !*got.UseTZ:
		t.Error("USE_TZ is off")
	}
}

func TestWrongSettingsAreRejected(t *testing.T) {
	t.Parallel()
	const secret, fallback = "the-very-secret-key", "the-fallback-key"
	for name, test := range map[string]struct {
		change func(*token.Settings)
		err    string
	}{
		"no secret key": {
			func(s *token.Settings) { s.SecretKey = "" },
			"secret_key is empty: set it to Django's SECRET_KEY",
		},
		"empty fallback": {
			func(s *token.Settings) { s.SecretKeyFallbacks = append(s.SecretKeyFallbacks, "") },
			"secret_key_fallbacks: a key is empty",
		},
		"insecure": {
			func(s *token.Settings) { s.InvalidateOnPasswordChange = new(false) },
			"insecure configuration: set max_age to a low value, or invalidate_on_password_change to true",
		},
		"no packer": {
			func(s *token.Settings) { s.Packer = "" },
			"no packer: name the one for the type of the primary key",
		},
		"unknown packer of django-sesame": {
			func(s *token.Settings) { s.Packer = "sesame.packers.XPacker" },
			`unknown packer "sesame.packers.XPacker": it must be a class of sesame.packers, such as LongPacker, or hex:N`,
		},
		"packer of the app without encoding": {
			func(s *token.Settings) { s.Packer = "app.packers.Packer" },
			"packer app.packers.Packer is not one of django-sesame's: say how it encodes keys, with packer_encoding (LongPacker, StrPacker, hex:24, …)",
		},
		"two encodings": {
			func(s *token.Settings) { s.Encoding = token.StrPacker },
			"packer sesame.packers.LongPacker can't have another encoding (StrPacker)",
		},
		"unknown version": {
			func(s *token.Settings) { s.Versions = []token.Version{token.V2, 3} },
			"unknown version of tokens 3",
		},
		"negative signature size": {
			func(s *token.Settings) { s.SignatureSize = -1 },
			"signature_size -1: it must be from 1 to 64 bytes",
		},
		"signature size too large": {
			func(s *token.Settings) { s.SignatureSize = 65 },
			"signature_size 65: it must be from 1 to 64 bytes",
		},
		"unknown digest": {
			func(s *token.Settings) { s.Digest = "md4" },
			`unknown digest "md4": it must be md5, sha1, sha256 or sha512`,
		},
		"negative iterations": {
			func(s *token.Settings) { s.Iterations = -1 },
			"iterations -1: it must be at least 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := token.Settings{
				SecretKey: secret, SecretKeyFallbacks: []string{fallback}, Key: "another-key",
				Packer: "sesame.packers.LongPacker",
			}
			test.change(&settings)
			_, err := token.New(settings)
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != test.err {
				t.Errorf("error %q, want %q", err, test.err)
			}
			for _, key := range []string{secret, fallback, settings.Key} {
				if strings.Contains(err.Error(), key) {
					t.Errorf("%q holds a key", err)
				}
			}
			if errors.Is(err, token.ErrInsecure) != (name == "insecure") {
				t.Errorf("ErrInsecure: %v", err)
			}
		})
	}
}

func TestUnusualSettingsAreAccepted(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*token.Settings){
		"no invalidation, but an age": func(s *token.Settings) {
			s.InvalidateOnPasswordChange, s.MaxAge = new(false), new(time.Minute)
		},
		"an age of nothing":   func(s *token.Settings) { s.MaxAge = new(time.Duration(0)) },
		"the packer, twice":   func(s *token.Settings) { s.Encoding = token.LongPacker },
		"a packer of the app": func(s *token.Settings) { s.Packer, s.Encoding = "app.packers.Packer", mustHexPacker(24) },
		"no packer setting":   func(s *token.Settings) { s.Packer, s.Encoding = "", token.UUIDPacker },
		"hashlib.sha512":      func(s *token.Settings) { s.Digest = "hashlib.sha512" },
		"one byte":            func(s *token.Settings) { s.SignatureSize = 1 },
		"64 bytes":            func(s *token.Settings) { s.SignatureSize = 64 },
		"v1 alone":            func(s *token.Settings) { s.Versions = []token.Version{token.V1} },
	} {
		settings := token.Settings{SecretKey: "k", Packer: "sesame.packers.LongPacker"}
		change(&settings)
		if _, err := token.New(settings); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSettingsAreCopied: Tokens doesn't change when the caller changes its
// Settings.
func TestSettingsAreCopied(t *testing.T) {
	t.Parallel()
	settings := token.Settings{
		SecretKey: "k", SecretKeyFallbacks: []string{"f"}, MaxAge: new(time.Minute), Encoding: token.LongPacker,
		InvalidateOnPasswordChange: new(true), Versions: []token.Version{token.V2}, UseTZ: new(true),
	}
	tokens, err := token.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	settings.SecretKeyFallbacks[0], settings.Versions[0] = "", token.V1
	*settings.MaxAge, *settings.InvalidateOnPasswordChange, *settings.UseTZ = 0, false, false
	got := tokens.Settings()
	if got.SecretKeyFallbacks[0] != "f" || got.Versions[0] != token.V2 ||
		*got.MaxAge != time.Minute || !*got.InvalidateOnPasswordChange || !*got.UseTZ {
		t.Errorf("changed to %v", got)
	}
}

func TestVersionsAreFoundByName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]token.Version{
		"v1": token.V1, "v2": token.V2, "sesame.tokens_v1": token.V1, "sesame.tokens_v2": token.V2,
	} {
		if got, err := token.VersionByName(name); err != nil || got != want {
			t.Errorf("VersionByName(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "v", "v3", "app.tokens_v2", "sesame.tokens"} {
		if got, err := token.VersionByName(name); err == nil || got != 0 {
			t.Errorf("VersionByName(%q) = %d, %v", name, got, err)
		}
	}
}
