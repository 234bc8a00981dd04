// Package token makes and checks the tokens of django-sesame, bit for bit, in
// both of its formats: a token made by one is accepted by the other if the
// settings are the same, and rejected for the same reasons.
//
// A token holds the primary key of a user, an optional timestamp and a
// signature. The signature covers data of the user's row, so checking takes
// two steps: Parse reads the token and returns the primary key of the row that
// is needed, Verify checks against that row. Neither does any I/O.
//
// The formats are defined by django-sesame's source: sesame/tokens_v2.py,
// tokens_v1.py, packers.py and settings.py.
package token

import (
	"fmt"
	"hash"
	"slices"
	"sync"
	"time"
)

// Tokens makes and checks tokens under given settings. It is safe for
// concurrent use.
type Tokens struct {
	settings Settings

	// v2
	verify []blake2bState // with SecretKey, which signs, then each fallback

	// v1
	newDigest  func() hash.Hash
	signerKeys [][]byte // for SecretKey, which signs, then each fallback

	scratches sync.Pool // of *scratch
}

// New returns Tokens for the settings, or an error that names the wrong
// setting. The error never contains a key.
func New(settings Settings) (*Tokens, error) {
	settings, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	// Copies, since the caller could change its own values, and the keys
	// derived from them would stay the same.
	settings.Versions = slices.Clone(settings.Versions)
	settings.SecretKeyFallbacks = slices.Clone(settings.SecretKeyFallbacks)
	if settings.MaxAge != nil {
		settings.MaxAge = new(*settings.MaxAge)
	}
	settings.InvalidateOnPasswordChange = new(*settings.InvalidateOnPasswordChange)
	settings.UseTZ = new(*settings.UseTZ)
	t := &Tokens{settings: settings}
	if err := t.deriveV2Keys(); err != nil {
		return nil, err
	}
	t.deriveV1Keys()
	return t, nil
}

// Settings returns the settings with every default filled in.
func (t *Tokens) Settings() Settings { return t.settings }

// Create makes a token of the first of Settings.Versions for a user, like
// django-sesame's get_token. The scope must be empty for v1. It fails if the
// primary key doesn't fit the packer, or if a signed column is NULL.
func (t *Tokens) Create(pk PrimaryKey, user User, scope string, now time.Time) (string, error) {
	if t.settings.Versions[0] == V1 {
		return t.createV1(pk, user, scope, now)
	}
	return t.createV2(pk, user, scope, now)
}

// Expectation is what a token is checked for, besides the settings and the user's
// row.
type Expectation struct {
	// Scope is the scope that the token must be made for.
	Scope string
	// MaxAge overrides that of the settings. Without a MaxAge in the settings
	// it is ignored, as tokens have no timestamp then. v1 doesn't support it.
	MaxAge *time.Duration
	// Now is the time of the check.
	Now time.Time
}

// Parsed is a token that was read and checked as far as possible without the
// user's row.
type Parsed struct {
	version Version
	refused Reason // why Parse refused it, or 0
	pk      PrimaryKey
	dated   bool   // whether the token has a timestamp
	created int64  // that timestamp, in Unix seconds
	scope   string // the expected scope

	// The decoded data. In v2, all except the last SignatureSize bytes is
	// signed; in v1, the revocation key follows the primary key.
	data [maxDataSize]byte
	size int
	mark int // where the signature (v2) or the revocation key (v1) starts
}

// The largest parts of a token, in bytes.
const (
	maxSignatureSize = 64
	maxDataSize      = 1 + maxKeyBytes + 4 + maxSignatureSize
	// maxTokenSize is the length of the longest token: v1 with the longest
	// data in base64, a timestamp, and a signature.
	maxTokenSize = (maxDataSize*4+2)/3 + len(":xxxxxx:") + v1SignatureLen
)

// Version is the token's version.
func (p *Parsed) Version() Version { return p.version }

// PrimaryKey returns the key of the row that Verify needs. Don't trust it
// before Verify has accepted the token. It is zero if Parse failed before it
// could read a key.
func (p *Parsed) PrimaryKey() PrimaryKey { return p.pk }

// Scope returns the expected scope.
func (p *Parsed) Scope() string { return p.scope }

// Created returns when the token was made, if it has a timestamp. Don't trust
// it before Verify has accepted the token.
func (p *Parsed) Created() (at time.Time, ok bool) {
	if !p.dated {
		return time.Time{}, false
	}
	return time.Unix(p.created, 0), true
}

func (p *Parsed) setCreated(unix int64) {
	p.dated, p.created = true, unix
}

// keep copies data. rest is the end of data that isn't signed.
func (p *Parsed) keep(data, rest []byte) {
	p.size = copy(p.data[:], data)
	p.mark = p.size - len(rest)
}

// Parse reads a token and checks everything that doesn't need the user's row.
// The error is a Reason; the parts that could be read are in Parsed even then,
// for logs.
//
// A v1 token's signature is checked here, a v2 token's by Verify.
func (t *Tokens) Parse(token string, want Expectation) (Parsed, error) {
	p := Parsed{scope: want.Scope, refused: Malformed}
	if len(token) > maxTokenSize {
		return p, Malformed
	}
	for _, version := range t.settings.Versions {
		switch {
		case version == V2 && isV2(token):
			p.refused = t.parseV2(&p, token, want)
			return p, p.refused.orNil()
		case version == V1 && t.isV1(token):
			p.refused = t.parseV1(&p, token, want)
			return p, p.refused.orNil()
		}
	}
	return p, Malformed
}

// Verify checks the token against the row of the user whose primary key it
// holds. The error is a Reason. A token that Parse has rejected stays
// rejected.
func (t *Tokens) Verify(p *Parsed, user User) error {
	if p.refused != 0 {
		return p.refused
	}
	switch p.version {
	case V2:
		return t.verifyV2(p, user).orNil()
	case V1:
		return t.verifyV1(p, user).orNil()
	default:
		return Malformed // the zero Parsed
	}
}

// IsAuthentic reports whether a token that Parse has rejected as Expired is
// otherwise valid: it was made for this user, and nothing has revoked it. Use
// it to tell users that their link has expired; it doesn't authenticate a
// user.
func (t *Tokens) IsAuthentic(p *Parsed, user User) bool {
	if p.refused != Expired {
		return false
	}
	current := *p
	current.refused = 0
	return t.Verify(&current, user) == nil
}

// isBase64URL reports whether s has only characters of the URL-safe base64
// alphabet.
func isBase64URL(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// appendDateTime appends a datetime in the format of Python's isoformat(sep):
// without microseconds if they are zero, and with an offset if it is aware.
// AppendFormat would take longer than the signature itself.
func (t *Tokens) appendDateTime(dst []byte, at time.Time, sep byte) []byte {
	at = at.UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, int(month), 2), '-')
	dst = append(appendDigits(dst, day, 2), sep)
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	dst = appendDigits(dst, second, 2)
	if microsecond := at.Nanosecond() / int(time.Microsecond); microsecond != 0 {
		dst = append(dst, '.')
		dst = appendDigits(dst, microsecond, 6)
	}
	if *t.settings.UseTZ {
		dst = append(dst, "+00:00"...)
	}
	return dst
}

// appendDigits appends the last decimal digits of n, as many as digits says.
func appendDigits(dst []byte, n, digits int) []byte {
	end := len(dst) + digits
	dst = append(dst, "000000"[:digits]...)
	for i := end - 1; i >= end-digits; i-- {
		dst[i] += byte(n % 10)
		n /= 10
	}
	return dst
}

// incomplete wraps IncompleteUser, for errors of Create.
func incomplete(column string) error {
	return fmt.Errorf("%s: %w", column, IncompleteUser)
}
