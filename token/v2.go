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

// minV2Size is the length of the shortest token that django-sesame recognizes.
const minV2Size = 4

// scratch is reusable memory for reading or signing a token: arguments of a
// Packer or a hash would otherwise be allocated each time.
type scratch struct {
	hash      resumableHash
	text      [maxTokenSize]byte
	data      [maxDataSize]byte
	message   []byte
	signature [maxSignatureSize]byte
}

// sign returns the signature of s.message with the key in state. It is valid
// until the next call.
func (s *scratch) sign(state blake2bState) []byte {
	return state.sum(s.hash, s.signature[:0], s.message)
}

// decode reads base64 without padding. Unused bits of the last character are
// ignored, as in Python. The data is valid until the next call.
func (s *scratch) decode(text string) (data []byte, ok bool) {
	if base64.RawURLEncoding.DecodedLen(len(text)) > len(s.data) {
		return nil, false
	}
	src := s.text[:copy(s.text[:], text)]
	n, err := base64.RawURLEncoding.Decode(s.data[:], src)
	return s.data[:n:n], err == nil // no Packer can read data of an earlier token
}

// deriveV2Keys derives the keys, also from settings that change a token's
// meaning, so that a token isn't accepted with another packer, for example.
func (t *Tokens) deriveV2Keys() error {
	t.scratches.New = func() any {
		h, err := newBlake2b()
		if err != nil {
			// unreachable: deriveV2Keys has made one before
			panic("token: " + err.Error())
		}
		return &scratch{hash: h}
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
	return nil
}

// isV2 recognizes the same texts as django-sesame's regular expression:
// [A-Za-z0-9-_]{4,}.
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

	s := t.scratches.Get().(*scratch)
	defer t.scratches.Put(s)
	s.message = append(s.message[:0], data...)
	s.message, err = t.appendRevocationKey(s.message, user)
	if err != nil {
		return "", err
	}
	s.message = append(s.message, scope...)
	data = append(data, s.sign(t.verify[0])...)
	return base64.RawURLEncoding.EncodeToString(data), nil
}

func (t *Tokens) parseV2(p *Parsed, token string, want Expectation) Reason {
	p.version = V2
	s := t.scratches.Get().(*scratch)
	defer t.scratches.Put(s)
	data, ok := s.decode(token)
	if !ok {
		return Malformed
	}
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
		p.setCreated(v2Epoch + int64(timestamp))
		rest = rest[4:]
	}
	if len(rest) != t.settings.SignatureSize {
		return NoSignature
	}
	p.keep(data, rest)

	if t.settings.MaxAge == nil {
		return 0
	}
	maxAge := *t.settings.MaxAge
	if want.MaxAge != nil {
		maxAge = *want.MaxAge
	}
	age := want.Now.Unix() - p.created // in whole seconds, and of any size
	if float64(age) >= maxAge.Seconds() {
		return Expired
	}
	return 0
}

func (t *Tokens) verifyV2(p *Parsed, user User) Reason {
	s := t.scratches.Get().(*scratch)
	defer t.scratches.Put(s)
	var err error
	s.message = append(s.message[:0], p.data[:p.mark]...)
	s.message, err = t.appendRevocationKey(s.message, user)
	if err != nil {
		return IncompleteUser
	}
	s.message = append(s.message, p.scope...)

	signature := p.data[p.mark:p.size]
	for _, state := range t.verify {
		if subtle.ConstantTimeCompare(signature, s.sign(state)) == 1 {
			return 0
		}
	}
	return BadSignature
}

// appendRevocationKey appends the columns of the row whose change revokes a
// token.
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

// passwordHash returns the hash without parameters and salt if the hashes of
// the algorithm have a known length, or else the whole column.
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
	if n <= len(s) && isASCII(s[len(s)-n:]) {
		return s[len(s)-n:] // as of almost all tokens
	}
	for ; n > 0 && start > 0; n-- {
		size := 1
		if s[start-1] >= utf8.RuneSelf {
			_, size = utf8.DecodeLastRuneInString(s[:start])
		}
		start -= size
	}
	return s[start:]
}

// isASCII reports whether each byte of a text is a character.
func isASCII(s string) bool {
	var all byte
	for i := range len(s) {
		all |= s[i]
	}
	return all < utf8.RuneSelf
}
