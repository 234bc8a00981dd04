// Package signing makes and checks the signed texts of Django's
// django.core.signing: session data, signed cookies, links.
//
// A signed text is value, separator and signature. The signature is unpadded
// URL-safe base64 of HMAC-SHA256, whose key is SHA-256 of salt, "signer" and
// SECRET_KEY. [TimestampSigner] puts the time in between, in base 62.
// [TimestampSigner.Dumps] signs bytes as base64, after a dot where they are
// compressed by zlib.
//
// The format is defined by Django's source: django/core/signing.py and
// django/utils/crypto.py of 4.2 to 6.2, which are the same in this. Nothing
// here does any I/O.
package signing

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// Why a signed text is refused. Errors never quote the text.
var (
	// ErrBadSignature: none of the keys has made the signature, or there is
	// none. Django's BadSignature.
	ErrBadSignature = errors.New("the signature doesn't match: the text was altered, or signed with another key or salt")
	// ErrExpired: the signature is valid, but older than allowed. Django's
	// SignatureExpired.
	ErrExpired = errors.New("the signature has expired")
	// ErrMalformed: the signature is valid, but the signed value hasn't the format.
	// Django raises various exceptions.
	ErrMalformed = errors.New("the signed text is malformed: something else than Django's TimestampSigner made it")
	// ErrTooLarge: the signature is valid, but the data inflates to more than
	// Settings.MaxInflated. Django has no such bound.
	ErrTooLarge = errors.New("the signed data is too large when decompressed")
)

// DefaultMaxInflated is the default limit of decompressed data, in bytes.
const DefaultMaxInflated = 1 << 20

const (
	signatureSize = 43       // characters of 32 bytes in base64
	saltSuffix    = "signer" // Django's Signer adds it to its salt
)

// Settings are what signatures depend on.
type Settings struct {
	// SecretKey is Django's SECRET_KEY. It signs.
	SecretKey string
	// SecretKeyFallbacks are Django's SECRET_KEY_FALLBACKS: signatures made
	// with these are accepted, too.
	SecretKeyFallbacks []string
	// Salt keeps signatures of different uses apart. It is
	// "django.core.signing" for Django's dumps and loads, and has no default.
	Salt string
	// Separator stands between value, timestamp and signature. Default: ":".
	// Like in Django it can't consist of characters of base64 alone.
	Separator string
	// MaxInflated bounds, in bytes, what Loads decompresses. Default: 1 MiB.
	MaxInflated int
}

// Signer signs texts without a timestamp, like Django's class of that name.
// It is safe for concurrent use.
type Signer struct {
	settings Settings
	macs     []*SaltedHMAC // of SecretKey, which signs, then of each fallback
}

// New returns a Signer, or an error that names the setting that can't be
// right. It never repeats a key.
func New(settings Settings) (*Signer, error) {
	if settings.SecretKey == "" {
		return nil, errors.New("SecretKey must be set to Django's SECRET_KEY")
	}
	if settings.Salt == "" {
		return nil, errors.New(`the Salt must be set: Django's dumps has "django.core.signing"`)
	}
	if settings.Separator == "" {
		settings.Separator = ":"
	}
	if isSeparatorUnsafe(settings.Separator) {
		return nil, errors.New("the Separator can't consist of A-z, 0-9, -, _ and = alone, as those are in what it separates")
	}
	if settings.MaxInflated < 0 {
		return nil, errors.New("MaxInflated can't be negative")
	}
	if settings.MaxInflated == 0 {
		settings.MaxInflated = DefaultMaxInflated
	}
	s := &Signer{settings: settings, macs: []*SaltedHMAC{NewSaltedHMAC(settings.Salt+saltSuffix, settings.SecretKey)}}
	for _, key := range settings.SecretKeyFallbacks {
		if key == "" {
			return nil, errors.New("SecretKeyFallbacks can't have an empty key: any client could sign with it")
		}
		s.macs = append(s.macs, NewSaltedHMAC(settings.Salt+saltSuffix, key))
	}
	return s, nil
}

// isSeparatorUnsafe is Django's ^[A-z0-9-_=]*$, in which A-z has six more
// characters than letters.
func isSeparatorUnsafe(separator string) bool {
	for i := range len(separator) {
		c := separator[i]
		if (c < 'A' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '=' {
			return false
		}
	}
	return true
}

// Signature returns the signature of a value, with SecretKey.
func (s *Signer) Signature(value string) string {
	var signature [signatureSize]byte
	sign(&signature, s.macs[0], value)
	return string(signature[:])
}

// Sign returns the value with its signature.
func (s *Signer) Sign(value string) string {
	return value + s.settings.Separator + s.Signature(value)
}

// Unsign returns the value of a signed text, or ErrBadSignature.
func (s *Signer) Unsign(signed string) (string, error) {
	value, signature, found := cutLast(signed, s.settings.Separator)
	if !found {
		return "", ErrBadSignature
	}
	var expected [signatureSize]byte
	for _, mac := range s.macs {
		sign(&expected, mac, value)
		if subtle.ConstantTimeCompare([]byte(signature), expected[:]) == 1 {
			return value, nil
		}
	}
	return "", ErrBadSignature
}

// sign writes the signature of a value.
func sign(signature *[signatureSize]byte, mac *SaltedHMAC, value string) {
	sum := mac.Sum(value)
	base64.RawURLEncoding.Encode(signature[:], sum[:])
}

// TimestampSigner signs texts together with the time, like Django's class of
// that name. It is safe for concurrent use.
type TimestampSigner struct{ signer *Signer }

// NewTimestamp returns a TimestampSigner, with New's errors.
func NewTimestamp(settings Settings) (*TimestampSigner, error) {
	signer, err := New(settings)
	if err != nil {
		return nil, err
	}
	return &TimestampSigner{signer}, nil
}

// Sign returns the value with the time, in whole seconds, and the signature of
// both.
func (t *TimestampSigner) Sign(value string, now time.Time) string {
	return t.signer.Sign(value + t.signer.settings.Separator + EncodeBase62(now.Unix()))
}

// Unsign returns the value of a signed text and when it was signed. A maxAge
// of nil accepts any age, and a time in the future is accepted, as in Django.
// The error is ErrBadSignature, ErrExpired or ErrMalformed.
func (t *TimestampSigner) Unsign(signed string, maxAge *time.Duration, now time.Time) (string, time.Time, error) {
	signedPart, err := t.signer.Unsign(signed)
	if err != nil {
		return "", time.Time{}, err
	}
	value, encoded, found := cutLast(signedPart, t.signer.settings.Separator)
	if !found {
		return "", time.Time{}, ErrMalformed
	}
	timestamp, err := DecodeBase62(encoded)
	if err != nil {
		return "", time.Time{}, err
	}
	if maxAge != nil && now.Sub(timestamp) > *maxAge {
		return "", time.Time{}, ErrExpired
	}
	return value, timestamp, nil
}

// cutLast splits a text at the last separator, like Python's rsplit.
func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}
