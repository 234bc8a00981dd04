package token

import (
	"crypto/md5"  //nolint:gosec // v1 tokens use it; see Settings.Digest
	"crypto/sha1" //nolint:gosec // v1 tokens use it; see Settings.Digest
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Settings are django-sesame's settings, without the prefix SESAME_, and the
// settings of Django that tokens depend on. A zero value means django-sesame's
// default. Tokens are accepted on both sides only if the settings are equal.
type Settings struct {
	// SecretKey is Django's SECRET_KEY. Required.
	SecretKey string
	// SecretKeyFallbacks are Django's SECRET_KEY_FALLBACKS: former keys, with
	// which tokens are accepted but not made.
	SecretKeyFallbacks []string

	// MaxAge is how long a token is valid; nil means forever. Tokens with and
	// without it have different formats, and only one is accepted.
	MaxAge *time.Duration
	// OneTime ties tokens to the user's last login.
	OneTime bool
	// InvalidateOnPasswordChange ties tokens to the password; nil means true.
	// It may be false only with a MaxAge.
	InvalidateOnPasswordChange *bool
	// InvalidateOnEmailChange ties tokens to the e-mail address.
	InvalidateOnEmailChange bool

	// Packer is the PACKER setting, a dotted path, or empty for None: then
	// django-sesame picks one from the type of the primary key. The string
	// itself is a part of the signing key.
	Packer string
	// Encoding implements the packer. It is required if Packer is empty or
	// names a class that isn't django-sesame's, and optional otherwise.
	Encoding Packer
	// PrimaryKeyField names the field in tokens that identifies users.
	// Default: pk.
	PrimaryKeyField string

	// Versions are the accepted versions; new tokens have the first. Default:
	// V2, V1. It is django-sesame's TOKENS.
	Versions []Version

	// Key is for v2: changing it revokes all tokens.
	Key string
	// SignatureSize is for v2: the bytes of a signature, 1 to 64. Default: 10.
	SignatureSize int

	// Salt is for v1: changing it revokes all tokens. Default: sesame.
	Salt string
	// Digest is for v1: md5, sha1, sha256 or sha512. Default: md5.
	Digest string
	// Iterations is for v1: the iterations of PBKDF2. Default: 10000.
	Iterations int

	// UseTZ is Django's USE_TZ; nil means true. With it last_login is signed
	// as an aware datetime, without it as a naive one.
	UseTZ *bool
}

// Version is a version of django-sesame's tokens.
type Version uint8

// The versions of tokens. V1 dates from before django-sesame 2.0.
const (
	V1 Version = 1
	V2 Version = 2
)

// String returns v1 or v2.
func (v Version) String() string {
	if v == V1 {
		return "v1"
	}
	return "v2"
}

// VersionByName finds a version by django-sesame's module ("sesame.tokens_v2")
// or its short name ("v2").
func VersionByName(name string) (Version, error) {
	switch strings.TrimPrefix(strings.TrimPrefix(name, "sesame.tokens_"), "v") {
	case "1":
		return V1, nil
	case "2":
		return V2, nil
	}
	return 0, setting.Errorf("tokens", "unknown version of tokens %q: it must be v2 or v1", name)
}

// ErrInsecure is returned for settings that django-sesame rejects, too: with
// them, neither age nor a new password would ever end a token.
var ErrInsecure = errors.New("insecure configuration: set max_age to a low value, or invalidate_on_password_change to true")

// withDefaults returns a copy with every default filled in, or an error.
func (s Settings) withDefaults() (Settings, error) {
	if s.SecretKey == "" {
		return s, setting.Errorf("secret_key", "secret_key is empty: set it to Django's SECRET_KEY")
	}
	if slices.Contains(s.SecretKeyFallbacks, "") {
		return s, setting.Errorf("secret_key_fallbacks", "secret_key_fallbacks: a key is empty")
	}
	setDefault(&s.InvalidateOnPasswordChange, new(true))
	setDefault(&s.UseTZ, new(true))
	if s.MaxAge == nil && !*s.InvalidateOnPasswordChange {
		return s, ErrInsecure
	}

	setDefault(&s.PrimaryKeyField, "pk")
	named, err := PackerByName(s.Packer)
	isDjangos := strings.HasPrefix(s.Packer, djangoModule)
	switch {
	case isDjangos && err != nil:
		return s, setting.Of("packer", err)
	case isDjangos && s.Encoding != nil && s.Encoding != named:
		return s, setting.Errorf("packer_encoding", "packer %s can't have another encoding (%s)", s.Packer, s.Encoding.Name())
	case isDjangos:
		s.Encoding = named
	case s.Encoding == nil && s.Packer == "":
		return s, setting.Errorf("packer", "no packer: name the one for the type of the primary key")
	case s.Encoding == nil && slices.Contains(packerNames, s.Packer):
		return s, setting.Errorf("packer", "packer %s lacks its module: write sesame.packers.%[1]s if SESAME_PACKER is that in Django's settings; "+
			"else remove packer, and write packer_encoding %[1]s", s.Packer)
	case s.Encoding == nil:
		return s, setting.Errorf("packer", "packer %s is not one of django-sesame's: say how it encodes keys, with packer_encoding (LongPacker, StrPacker, hex:24, …)", s.Packer)
	}

	if len(s.Versions) == 0 {
		s.Versions = []Version{V2, V1}
	}
	for _, v := range s.Versions {
		if v != V1 && v != V2 {
			return s, setting.Errorf("tokens", "unknown version of tokens %d", v)
		}
	}
	setDefault(&s.SignatureSize, 10)
	if s.SignatureSize < 1 || s.SignatureSize > maxSignatureSize {
		return s, setting.Errorf("signature_size", "signature_size %d: it must be from 1 to %d bytes", s.SignatureSize, maxSignatureSize)
	}
	setDefault(&s.Salt, "sesame")
	setDefault(&s.Digest, "md5")
	if _, err := digestByName(s.Digest); err != nil {
		return s, err
	}
	setDefault(&s.Iterations, 10000)
	if s.Iterations < 1 {
		return s, setting.Errorf("iterations", "iterations %d: it must be at least 1", s.Iterations)
	}
	return s, nil
}

// setDefault sets *field if it has its zero value.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// digestByName finds a hash by its name in Python's hashlib.
func digestByName(name string) (func() hash.Hash, error) {
	switch strings.TrimPrefix(name, "hashlib.") {
	case "md5":
		return md5.New, nil
	case "sha1":
		return sha1.New, nil
	case "sha256":
		return sha256.New, nil
	case "sha512":
		return sha512.New, nil
	}
	return nil, setting.Errorf("digest", "unknown digest %q: it must be md5, sha1, sha256 or sha512", name)
}
