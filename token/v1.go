package token

import (
	"cmp"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // v1 tokens use it
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// v1 tokens are made by Django's django.core.signing: base64 data, with
// max_age a timestamp in base 62, and an HMAC-SHA1 in base64, joined by colons.
const (
	v1SignatureLen = 27 // 20 bytes in base64
	v1TimestampLen = 6  // characters, from 1999 on
	minV1Data      = 4
)

// base62 is the alphabet of Django's timestamps.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// deriveV1Keys makes the keys as Django's salted_hmac does.
func (t *Tokens) deriveV1Keys() {
	t.newDigest, _ = digestByName(t.settings.Digest) // checked by withDefaults
	for _, secretKey := range append([]string{t.settings.SecretKey}, t.settings.SecretKeyFallbacks...) {
		key := sha1.Sum([]byte(t.settings.Salt + "signer" + secretKey)) //nolint:gosec // the format
		t.signerKeys = append(t.signerKeys, key[:])
	}
}

// isV1 recognizes the same texts as django-sesame's regular expression:
// [A-Za-z0-9-_]{4,}, a colon, and 27 characters of the same class; with
// max_age, 6 letters or digits and a colon in between.
func (t *Tokens) isV1(token string) bool {
	data, signature := cutLast(token)
	if len(signature) != v1SignatureLen || !isBase64URL(signature) {
		return false
	}
	if t.settings.MaxAge != nil {
		var timestamp string
		data, timestamp = cutLast(data)
		if len(timestamp) != v1TimestampLen || strings.Trim(timestamp, base62) != "" {
			return false
		}
	}
	return len(data) >= minV1Data && isBase64URL(data)
}

// cutLast cuts s at its last colon; without one, after is empty.
func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

func (t *Tokens) createV1(pk PrimaryKey, user User, scope string, now time.Time) (string, error) {
	if scope != "" {
		return "", ScopeUnsupported
	}
	data, err := t.settings.Encoding.Pack(nil, pk)
	if err != nil {
		return "", err
	}
	key, err := t.revocationKeyV1(user)
	if err != nil {
		return "", err
	}
	value := base64.RawURLEncoding.EncodeToString(append(data, key...))
	if t.settings.MaxAge != nil {
		timestamp, err := formatBase62(now.Unix())
		if err != nil {
			return "", err
		}
		value += ":" + timestamp
	}
	return value + ":" + signV1(t.signerKeys[0], value), nil
}

func (t *Tokens) parseV1(p *Parsed, token string, want Expectation) Reason {
	p.version = V1
	if want.Scope != "" {
		return ScopeUnsupported
	}
	if want.MaxAge != nil {
		return MaxAgeUnsupported
	}

	value, signature := cutLast(token)
	if !t.isSignedV1(value, signature) {
		return BadSignature
	}
	var refused Reason
	if t.settings.MaxAge != nil {
		var timestamp string
		value, timestamp = cutLast(value)
		p.setCreated(parseBase62(timestamp))
		// Unlike in v2, the clock isn't rounded, and a token that is exactly
		// as old as max_age is valid.
		if want.Now.Sub(time.Unix(p.created, 0)) > *t.settings.MaxAge {
			refused = Expired // the rest is read for IsAuthentic and logs
		}
	}

	// Signed but unreadable: made with another packer, or longer than with any
	// packer.
	s := t.scratches.Get().(*scratch)
	defer t.scratches.Put(s)
	data, ok := s.decode(value)
	if !ok {
		return cmp.Or(refused, NoPrimaryKey)
	}
	pk, key, err := t.settings.Encoding.Unpack(data)
	if err != nil {
		return cmp.Or(refused, NoPrimaryKey)
	}
	p.pk = pk
	p.keep(data, key)
	return refused
}

// isSignedV1 compares the signature with that of every key.
func (t *Tokens) isSignedV1(value, signature string) bool {
	for _, key := range t.signerKeys {
		if subtle.ConstantTimeCompare([]byte(signature), []byte(signV1(key, value))) == 1 {
			return true
		}
	}
	return false
}

func (t *Tokens) verifyV1(p *Parsed, user User) Reason {
	expected, err := t.revocationKeyV1(user)
	if err != nil {
		return IncompleteUser
	}
	if subtle.ConstantTimeCompare(p.data[p.mark:p.size], expected) != 1 {
		return BadSignature
	}
	return 0
}

// revocationKeyV1 is slow by design, as it uses PBKDF2. It runs only for
// tokens with a valid signature.
func (t *Tokens) revocationKeyV1(user User) ([]byte, error) {
	var data []byte
	if *t.settings.InvalidateOnPasswordChange {
		if user.Password == nil {
			return nil, incomplete("password")
		}
		data = append(data, *user.Password...)
	}
	if t.settings.InvalidateOnEmailChange {
		if user.Email == nil {
			return nil, incomplete("e-mail")
		}
		data = append(data, *user.Email...)
	}
	if t.settings.OneTime {
		if user.LastLogin == nil {
			data = append(data, "None"...)
		} else {
			data = t.appendDateTime(data, *user.LastLogin, ' ')
		}
	}
	size := t.newDigest().Size()
	key, err := pbkdf2.Key(t.newDigest, string(data), []byte(t.settings.Salt), t.settings.Iterations, size)
	if err != nil {
		return nil, fmt.Errorf("deriving the revocation key of a v1 token: %w", err)
	}
	return key, nil
}

// signV1 signs as django.core.signing.Signer does.
func signV1(key []byte, value string) string {
	mac := hmac.New(sha1.New, key)
	_, _ = mac.Write([]byte(value)) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// formatBase62 writes Unix seconds as Django does.
func formatBase62(seconds int64) (string, error) {
	if seconds < 0 {
		return "", errors.New("a v1 token can't hold a time before 1970")
	}
	if seconds == 0 {
		return base62[:1], nil
	}
	var digits []byte
	for ; seconds > 0; seconds /= int64(len(base62)) {
		digits = append(digits, base62[seconds%int64(len(base62))])
	}
	slices.Reverse(digits)
	return string(digits), nil
}

// parseBase62 reads a timestamp that isV1 has accepted.
func parseBase62(s string) int64 {
	var n int64
	for i := range len(s) {
		n = n*int64(len(base62)) + int64(strings.IndexByte(base62, s[i]))
	}
	return n
}
