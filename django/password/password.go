// Package password checks and makes the password hashes of Django's
// django.contrib.auth.hashers, as they are in the column password of a user.
//
// All hashers that Django has shipped since 1.4 are there, except crypt:
// PBKDF2, Argon2, bcrypt, scrypt, MD5 and SHA-1. Which of them are in use, and
// with what parameters, is Django's PASSWORD_HASHERS. Parameters in a row
// decide how much memory and time a check takes; [Limits] bounds both.
//
// The format is defined by Django's source, contrib/auth/hashers.py of 4.2 to
// 6.2. Passwords are UTF-8, and aren't normalized. Nothing here does any I/O.
package password

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Algorithm is the name of a hasher, which a hash starts with.
type Algorithm string

// The algorithms. The salt of the last two is empty, and SHA-1 was removed in
// Django 5.1: such hashes are in old databases only.
const (
	PBKDF2SHA256 Algorithm = "pbkdf2_sha256"
	PBKDF2SHA1   Algorithm = "pbkdf2_sha1"
	Argon2       Algorithm = "argon2"
	BcryptSHA256 Algorithm = "bcrypt_sha256"
	Bcrypt       Algorithm = "bcrypt"
	Scrypt       Algorithm = "scrypt"
	MD5          Algorithm = "md5"
	SHA1         Algorithm = "sha1"
	UnsaltedMD5  Algorithm = "unsalted_md5"
	UnsaltedSHA1 Algorithm = "unsalted_sha1"
)

// DefaultHashers are Django's PASSWORD_HASHERS by default.
func DefaultHashers() []Algorithm {
	return []Algorithm{PBKDF2SHA256, PBKDF2SHA1, Argon2, BcryptSHA256, Scrypt}
}

// Why a password isn't accepted, besides LimitError. Errors never repeat a
// hash or a password.
var (
	// ErrMismatch: it is another password.
	ErrMismatch = errors.New("the password doesn't match the hash")
	// ErrUnusable: no password matches, as set_unusable_password has it.
	ErrUnusable = errors.New("the user has no usable password")
	// ErrUnknownHasher: none of the hashers in use has made the hash.
	ErrUnknownHasher = errors.New("the hash is of none of the hashers in use")
	// ErrMalformed: the hash isn't in the format of its hasher.
	ErrMalformed = errors.New("the hash is malformed")
	// ErrUnsupported: a variant that isn't implemented: argon2d, or Argon2
	// before version 1.3.
	ErrUnsupported = errors.New("the hash is of a variant of Argon2 that isn't supported: only argon2id and argon2i of version 19 are")
)

// LimitError says that a hash's parameters exceed Limits.
type LimitError struct {
	Algorithm    Algorithm
	Parameter    string // as Limits names it
	Value, Limit uint64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the %s hash asks for %s %d, and the limit is %d", e.Algorithm, e.Parameter, e.Value, e.Limit)
}

// Hashers checks and makes hashes under given settings. It is safe for
// concurrent use.
type Hashers struct{ settings Settings }

// New returns Hashers, or an error that names the setting that can't be right.
func New(settings Settings) (*Hashers, error) {
	settings, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Hashers{settings}, nil
}

// Settings returns the settings with every default filled in.
func (h *Hashers) Settings() Settings { return h.settings }

// hash is a hash whose format was checked.
type hash interface {
	// check returns an error if the parameters exceed the limits.
	check(Limits) error
	// matches hashes a password, and compares in constant time.
	matches(password string) bool
	// mustUpdate is Django's must_update.
	mustUpdate(Parameters) bool
	// harden is Django's harden_runtime: it does the work that a hash with
	// current parameters takes in addition.
	harden(password string, p Parameters)
}

// Identify returns the algorithm of a hash, or ErrUnusable or
// ErrUnknownHasher. That Django ships the hasher suffices: it needn't be in
// use.
func Identify(encoded string) (Algorithm, error) {
	switch {
	case strings.HasPrefix(encoded, unusablePrefix):
		return "", ErrUnusable
	case len(encoded) == 32 && !strings.Contains(encoded, "$"),
		len(encoded) == 37 && strings.HasPrefix(encoded, "md5$$"):
		return UnsaltedMD5, nil
	case len(encoded) == 46 && strings.HasPrefix(encoded, "sha1$$"):
		return UnsaltedSHA1, nil
	}
	name, _, _ := strings.Cut(encoded, "$")
	if parserOf(Algorithm(name)) == nil {
		return "", ErrUnknownHasher
	}
	return Algorithm(name), nil
}

// parserOf returns the parser for hashes of an algorithm, or nil.
func parserOf(algorithm Algorithm) func(encoded string) (hash, error) {
	switch algorithm {
	case PBKDF2SHA256, PBKDF2SHA1:
		return parsePBKDF2
	case Argon2:
		return parseArgon2
	case BcryptSHA256, Bcrypt:
		return parseBcrypt
	case Scrypt:
		return parseScrypt
	case MD5, SHA1, UnsaltedMD5, UnsaltedSHA1:
		return parseDigest
	}
	return nil
}

// parse reads a hash of a hasher in use, within the limits.
func (h *Hashers) parse(encoded string) (Algorithm, hash, error) {
	algorithm, err := Identify(encoded)
	if err != nil {
		return "", nil, err
	}
	if !slices.Contains(h.settings.Hashers, algorithm) {
		return "", nil, ErrUnknownHasher
	}
	parsed, err := parserOf(algorithm)(encoded)
	if err != nil {
		return "", nil, err
	}
	return algorithm, parsed, parsed.check(h.settings.Limits)
}

// Verify checks a password against the column password. It returns nil if the
// password is right; mustUpdate then reports whether Django would store a new hash,
// because it prefers another hasher or other parameters now.
//
// A wrong password takes the time of a hash with current parameters, where the
// hasher is the preferred one. So does a hash that can't be checked, which gives an
// error other than ErrMismatch. Call HardenRuntime if the user doesn't exist.
func (h *Hashers) Verify(password, encoded string) (mustUpdate bool, err error) {
	algorithm, parsed, err := h.parse(encoded)
	if err != nil {
		h.HardenRuntime(password)
		return false, err
	}
	isPreferred := algorithm == h.settings.Hashers[0]
	mustUpdate = !isPreferred || parsed.mustUpdate(h.settings.Parameters)
	if parsed.matches(password) {
		return mustUpdate, nil
	}
	if isPreferred && mustUpdate {
		parsed.harden(password, h.settings.Parameters)
	}
	return false, ErrMismatch
}

// MustUpdate reports whether Django would replace a hash at the next login:
// because another hasher is preferred, or other parameters, or a longer salt.
// The error says why the hash can't be checked.
func (h *Hashers) MustUpdate(encoded string) (bool, error) {
	algorithm, parsed, err := h.parse(encoded)
	if err != nil {
		return false, err
	}
	return algorithm != h.settings.Hashers[0] || parsed.mustUpdate(h.settings.Parameters), nil
}

// HardenRuntime takes as long as hashing a password does. Call it if a user doesn't
// exist, so that the time doesn't tell.
func (h *Hashers) HardenRuntime(password string) {
	if _, err := h.Make(password); err != nil {
		_, _ = h.Make("") // bcrypt refuses some passwords before it does any work
	}
}

// Make hashes a password with the preferred hasher and a new salt. It fails
// only for bcrypt, which takes neither NUL nor more than 72 bytes.
func (h *Hashers) Make(password string) (string, error) {
	p := h.settings.Parameters
	switch algorithm := h.settings.Hashers[0]; algorithm {
	case PBKDF2SHA256, PBKDF2SHA1:
		return makePBKDF2(algorithm, password, p)
	case Argon2:
		return makeArgon2(password, p), nil
	case BcryptSHA256, Bcrypt:
		return makeBcrypt(algorithm, password, p)
	case Scrypt:
		return makeScrypt(password, p)
	default:
		return makeDigest(algorithm, password), nil
	}
}

const (
	unusablePrefix     = "!"
	unusableSuffixSize = 40
	saltSize           = 22 // characters: the least with 128 bits
	saltAlphabet       = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

// MakeUnusable makes the value that is stored for a user without a password. Each
// call returns another value, so that it ends sessions as a new password does.
func MakeUnusable() string { return unusablePrefix + randomText(unusableSuffixSize) }

// randomText is Django's get_random_string.
func randomText(size int) string {
	const usable = 256 - 256%len(saltAlphabet) // beyond, some characters would be likelier
	text := make([]byte, 0, size)
	var random [64]byte
	for {
		_, _ = rand.Read(random[:]) // it never fails
		for _, b := range random {
			if int(b) >= usable {
				continue
			}
			if len(text) == size {
				return string(text)
			}
			text = append(text, saltAlphabet[int(b)%len(saltAlphabet)])
		}
	}
}

// isShortSalt is Django's must_update_salt: it reports whether a salt has less than
// 128 bits, if each character is one of 62.
func isShortSalt(salt string) bool { return utf8.RuneCountInString(salt) < saltSize }

// parseCount reads a positive number in the form of Python's %d. Any other text
// can't equal the text that Django writes for a comparison.
func parseCount(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 || text[0] == '0' || text[0] == '+' {
		return 0, ErrMalformed
	}
	return n, nil
}
