package token

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// The personalizations, and the epoch of timestamps, of django-sesame's
// settings.py and tokens_v2.py.
const (
	v2KeyPerson   = "sesame.settings"
	v2TokenPerson = "sesame.tokens_v2"
	v2Epoch       = 1577836800 // 2020-01-01T00:00:00Z
)

// minV2Size is the shortest token that django-sesame recognizes.
const minV2Size = 4

// v2Hash is what signing needs, kept for reuse.
type v2Hash struct {
	resumableHash
	message   []byte
	signature [maxSignatureSize]byte
}

// deriveV2Keys makes the keys. Settings that change a token's meaning are a
// part of them, so that a token isn't read with another packer, for example.
func (t *Tokens) deriveV2Keys() error {
	t.hashes.New = func() any {
		h, err := newBlake2b()
		if err != nil {
			// unreachable: deriveV2Keys has made one before
			panic("token: " + err.Error())
		}
		return &v2Hash{resumableHash: h}
	}
	derivation, err := newBlake2bState(64, nil, v2KeyPerson)
	if err != nil {
		return err
	}
	h, err := newBlake2b()
	if err != nil {
		return err
	}
	hasMaxAge := ""
	if t.settings.MaxAge != nil {
		hasMaxAge = "max_age"
	}
	for _, secretKey := range append([]string{t.settings.SecretKey}, t.settings.SecretKeyFallbacks...) {
		input := strings.Join([]string{
			secretKey, t.settings.Key, hasMaxAge, t.settings.Packer, t.settings.PrimaryKeyField,
		}, "|")
		key := derivation.sum(h, nil, []byte(input))
		state, err := newBlake2bState(t.settings.SignatureSize, key, v2TokenPerson)
		if err != nil {
			return err
		}
		t.verify = append(t.verify, state)
	}
	t.signing = t.verify[0]
	return nil
}

// isV2 tells what django-sesame's regular expression does: [A-Za-z0-9-_]{4,}.
func isV2(token string) bool {
	return len(token) >= minV2Size && isBase64URL(token)
}

func (t *Tokens) createV2(pk PrimaryKey, user User, scope string, now time.Time) (string, error) {
	data, err := t.settings.Encoding.Pack(make([]byte, 0, maxDataSize), pk)
	if err != nil {
		return "", err
	}
	if t.settings.MaxAge != nil {
		timestamp := now.Unix() - v2Epoch
		if timestamp < math.MinInt32 || timestamp > math.MaxInt32 {
			return "", fmt.Errorf("a v2 token can't hold the time %s", now.UTC().Format(time.RFC3339))
		}
		data = binary.BigEndian.AppendUint32(data, uint32(timestamp)) //nolint:gosec // two's complement is the format
	}

	h := t.hashes.Get().(*v2Hash)
	defer t.hashes.Put(h)
	h.message = append(h.message[:0], data...)
	h.message, err = t.appendRevocationKey(h.message, user)
	if err != nil {
		return "", err
	}
	h.message = append(h.message, scope...)
	data = t.signing.sum(h.resumableHash, data, h.message)
	return base64.RawURLEncoding.EncodeToString(data), nil
}

func (t *Tokens) parseV2(p *Parsed, token string, want Expectation) Reason {
	p.version = V2
	if !p.decode(token) {
		return Malformed
	}
	data := p.data[:p.size]
	pk, rest, err := t.settings.Encoding.Unpack(data)
	if err != nil {
		return NoPrimaryKey
	}
	p.pk = pk

	if t.settings.MaxAge != nil {
		if len(rest) < 4 {
			return NoTimestamp
		}
		timestamp := int32(binary.BigEndian.Uint32(rest)) //nolint:gosec // two's complement is the format
		p.created = v2Epoch + int64(timestamp)
		rest = rest[4:]
	}
	if len(rest) != t.settings.SignatureSize {
		return NoSignature
	}
	p.mark = p.size - len(rest)

	if t.settings.MaxAge == nil {
		return 0
	}
	maxAge := t.settings.MaxAge
	if want.MaxAge != nil {
		maxAge = want.MaxAge
	}
	age := want.Now.Unix() - p.created
	if float64(age) >= maxAge.Seconds() {
		return Expired
	}
	return 0
}

// decode reads base64 without padding into p.data. Bits that are left over in
// the last character are ignored, as Python does.
func (p *Parsed) decode(text string) bool {
	var src [maxTokenSize]byte
	n := copy(src[:], text)
	if base64.RawURLEncoding.DecodedLen(n) > len(p.data) {
		return false
	}
	size, err := base64.RawURLEncoding.Decode(p.data[:], src[:n])
	p.size = size
	return err == nil
}

func (t *Tokens) verifyV2(p *Parsed, user User) Reason {
	h := t.hashes.Get().(*v2Hash)
	defer t.hashes.Put(h)
	var err error
	h.message = append(h.message[:0], p.data[:p.mark]...)
	h.message, err = t.appendRevocationKey(h.message, user)
	if err != nil {
		return IncompleteUser
	}
	h.message = append(h.message, p.scope...)

	signature := p.data[p.mark:p.size]
	for _, state := range t.verify {
		expected := state.sum(h.resumableHash, h.signature[:0], h.message)
		if subtle.ConstantTimeCompare(signature, expected) == 1 {
			return 0
		}
	}
	return BadSignature
}

// appendRevocationKey appends what ends a token's life when it changes.
func (t *Tokens) appendRevocationKey(dst []byte, user User) ([]byte, error) {
	if *t.settings.InvalidateOnPasswordChange && user.Password != nil {
		dst = append(dst, passwordHash(*user.Password)...)
	}
	if t.settings.InvalidateOnEmailChange {
		if user.Email == nil {
			return dst, incomplete("e-mail")
		}
		dst = append(dst, *user.Email...)
	}
	if t.settings.OneTime && user.LastLogin != nil {
		dst = t.appendDateTime(dst, *user.LastLogin, 'T')
	}
	return dst, nil
}

// passwordHash returns the hash alone, without parameters and salt, where the
// algorithm is one whose hashes have a known length, or else all of it.
func passwordHash(password string) string {
	algorithm, _, _ := strings.Cut(password, "$")
	switch algorithm {
	case "pbkdf2_sha256":
		return lastCharacters(password, 44)
	case "pbkdf2_sha1":
		return lastCharacters(password, 28)
	case "argon2":
		return lastCharacters(password, 22)
	case "bcrypt_sha256", "bcrypt":
		return lastCharacters(password, 31) // salt (22) and hash (31) are not separated
	case "sha1":
		return lastCharacters(password, 40)
	case "md5":
		return lastCharacters(password, 32)
	case "crypt":
		return lastCharacters(password, 11)
	}
	return password
}

// lastCharacters returns the last n characters, not bytes, of s.
func lastCharacters(s string, n int) string {
	start := len(s)
	for ; n > 0 && start > 0; n-- {
		_, size := utf8.DecodeLastRuneInString(s[:start])
		start -= size
	}
	return s[start:]
}
