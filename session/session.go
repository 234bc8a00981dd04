// Package session makes and checks signed session cookies. Nothing needs to be stored
// on the server: any number of gateways with the same keys share a session. A session
// with an ID is in a table, too, and the caller must check that it still is there.
//
// A session holds the primary key of a user and a keyed hash of the password
// in the user's row, so checking takes two steps, as it does for a token:
// Parse reads the cookie, checks its signature and age, and returns the
// primary key of the row that is needed; Verify checks against that row. A new
// password therefore ends every session of the user. The caller must check
// whether the user is deactivated or deleted. Neither step does any I/O.
//
// # Limits
//
// A copy of the cookie is a copy of the session. Logging out of a session without an
// ID removes the browser's cookie only: a copy works until its age or a time without use ends it,
// or a new password does. The cookie is signed, not encrypted: its reader learns the
// primary key and two times, but nothing about the scope or the password.
//
// # Format
//
// The value of the cookie is the following bytes in URL-safe base64 (RFC 4648,
// section 5) without padding, all unused bits zero. Integers are unsigned and
// in network byte order.
//
//	offset  size  content
//	0       1     version: 1
//	1       4     issued: when the user logged in, in Unix seconds
//	5       4     seen: when the session was last renewed, in seconds after issued
//	9       16    password tag
//	25      16    scope tag
//	41      n     the primary key, as the packer writes it, 256 bytes at most
//	41+n    16    signature of all bytes before it
//
// In version 2, a byte in front of the primary key is the Length: 0 for Default, 1 for
// Remembered, 2 for Shared. If its highest bit is set, the ID follows it, of 16 bytes.
// Sessions of the Default length without an ID have version 1, so that gateways of
// releases before version 2 accept them.
//
// Password tag, scope tag and signature are HMAC-SHA256 (RFC 2104), of which
// the first 16 bytes are kept, each with a key of its own:
//
//	password tag  uint16(n), the n bytes of the primary key, and then 0 for a
//	              password that is NULL, or 1 and the password column
//	scope tag     the scope
//	signature     all bytes of the cookie before it
//
// As the password tag covers the primary key, users of equal passwords have
// different tags. As the scope is in a tag of its own, a cookie of another
// scope can be distinguished from a forged one, and is no reason for an alarm.
//
// The keys are derived by HKDF-SHA256 (RFC 5869), of 32 bytes each:
//
//	input keying material  Django's SECRET_KEY, or a fallback
//	salt                   "caddy-sesame/session/1"
//	info                   three netstrings ("5:scope,"): "password", "scope"
//	                       or "signature"; the packer's name; the audience
//
// A token's keys are derived with BLAKE2b and other labels from the same
// SECRET_KEY: no token is a cookie, and no cookie a token. For the same reason
// a cookie signed by Django itself is none here.
//
// HMAC-SHA256 rather than BLAKE2b, which tokens use: for messages as short as
// these, and with SHA instructions in the processor, it takes about two thirds
// of the time, as BLAKE2b has to hash its key as a block of its own each time.
package session

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// The versions of the format, which are the first byte of a cookie. It is signed, so
// that no cookie can be read as one of the other version. A change of what the tags
// or the signature cover must change the label of the key derivation, too.
const (
	versionDefault = 1
	versionLength  = 2 // has a Length, and may have an ID
)

// Where the parts of a cookie start, and their sizes, in bytes.
const (
	offsetIssued   = 1
	offsetSeen     = offsetIssued + 4
	offsetPassword = offsetSeen + 4
	offsetScope    = offsetPassword + tagSize
	offsetLength   = offsetScope + tagSize // of version 2
	offsetKey      = offsetScope + tagSize // of version 1

	lengthSize = 1
	hasID      = 0x80 // in the byte of the length
	tagSize    = 16   // of each tag and of the signature; can't be guessed
	maxKeySize = 256

	minDataSize = offsetKey + tagSize
	maxDataSize = offsetKey + lengthSize + idSize + maxKeySize + tagSize
	// maxValueSize is the length of the longest cookie in base64.
	maxValueSize = (maxDataSize*8 + 5) / 6
)

// maxSkew is how far the clock of the gateway that made a session may be ahead
// of the one that checks it.
const maxSkew = time.Minute

// renewals is how often a session in constant use is renewed within Idle. Each
// renewal is a Set-Cookie, which keeps a response out of caches and can
// overtake others; on the other hand, use between two renewals isn't recorded,
// so a session may end one interval too early. A tenth, which is three minutes
// of half an hour, makes both negligible.
const renewals = 10

// encoding rejects texts that an encoder would have written differently.
var encoding = base64.RawURLEncoding.Strict()

// Sessions makes and checks session cookies under given settings. It is safe
// for concurrent use.
type Sessions struct {
	settings  Settings
	keys      []derivedKeys // of SecretKey, which signs, then of each fallback
	scratches sync.Pool     // of *scratch
}

// New returns Sessions for the settings, or an error that names the wrong
// setting. The error never contains a key.
func New(settings Settings) (*Sessions, error) {
	settings, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	// A copy, since the caller could change its own slice, and the keys
	// derived from it would stay the same.
	settings.SecretKeyFallbacks = slices.Clone(settings.SecretKeyFallbacks)
	s := &Sessions{settings: settings}
	for _, secretKey := range append([]string{settings.SecretKey}, settings.SecretKeyFallbacks...) {
		keys, err := deriveKeys(secretKey, settings.Encoding.Name(), settings.Audience)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, keys)
	}
	s.scratches.New = func() any { return newScratch(s.keys) }
	return s, nil
}

// Settings returns the settings with every default filled in.
func (s *Sessions) Settings() Settings { return s.settings }

// Parsed is a session that was read and checked as far as possible without the
// user's row.
type Parsed struct {
	by      *Sessions // what parsed it: nil in the zero value
	refused Reason    // why Parse refused it, or 0
	key     int       // which of the keys it is signed with
	pk      token.PrimaryKey
	issued  time.Time
	seen    time.Time
	expires time.Time
	length  Length
	id      ID
	scope   string

	passwordTag [tagSize]byte
}

// PrimaryKey returns the key of the row that Verify needs. It is zero if Parse
// found no valid signature, since any client could have written the key then.
func (p *Parsed) PrimaryKey() token.PrimaryKey { return p.pk }

// Issued returns when the user logged in, in UTC and whole seconds.
func (p *Parsed) Issued() time.Time { return p.issued }

// Expires returns when the session ends unless it is renewed, by the Limits of its
// length.
func (p *Parsed) Expires() time.Time { return p.expires }

// Length returns how long the session lasts.
func (p *Parsed) Length() Length { return p.length }

// ID returns the session's ID, which is zero if it is in no table.
func (p *Parsed) ID() ID { return p.id }

// Scope returns the scope that the session was made for.
func (p *Parsed) Scope() string { return p.scope }

// A Login is what a session begins with.
type Login struct {
	PrimaryKey token.PrimaryKey
	User       token.User
	Scope      string
	Length     Length
	ID         ID // zero for none
	Time       time.Time
}

// Begin makes the value of a cookie for a user who has just logged in. It fails if
// the primary key doesn't fit the packer.
func (s *Sessions) Begin(login Login) (string, error) {
	if login.Length >= lengths {
		return "", fmt.Errorf("%s: there is no such length", login.Length)
	}
	return s.encode(login, login.Time.Unix())
}

// Create is Begin for a session of the Default length.
func (s *Sessions) Create(pk token.PrimaryKey, user token.User, scope string, now time.Time) (string, error) {
	return s.Begin(Login{PrimaryKey: pk, User: user, Scope: scope, Time: now})
}

// encode makes a cookie for a login, signed with the first key.
func (s *Sessions) encode(login Login, seen int64) (string, error) {
	issued := login.Time.Unix()
	if issued < 0 || issued > math.MaxUint32 || seen < issued || seen-issued > math.MaxUint32 {
		return "", errors.New("a session can't hold a time before 1970 or after 2105")
	}
	sc := s.scratches.Get().(*scratch)
	defer s.scratches.Put(sc)
	packed, err := s.settings.Encoding.Pack(sc.packed[:0], login.PrimaryKey)
	if err != nil {
		return "", err
	}
	if len(packed) > maxKeySize {
		return "", fmt.Errorf("%s: the primary key takes %d bytes of at most %d", s.settings.Encoding.Name(), len(packed), maxKeySize)
	}

	macs := sc.macs[0]
	version := byte(versionDefault)
	if login.Length != Default || !login.ID.IsZero() {
		version = versionLength
	}
	data := append(sc.data[:0], version)
	data = binary.BigEndian.AppendUint32(data, uint32(issued))
	data = binary.BigEndian.AppendUint32(data, uint32(seen-issued))
	data = append(data, sc.passwordTag(macs, packed, login.User.Password)...)
	data = append(data, sc.scopeTag(macs, login.Scope)...)
	switch {
	case !login.ID.IsZero():
		data = append(append(data, byte(login.Length)|hasID), login.ID[:]...)
	case version == versionLength:
		data = append(data, byte(login.Length))
	}
	data = append(data, packed...)
	data = append(data, sc.signature(macs, data)...)
	return encoding.EncodeToString(data), nil
}

// Parse reads a cookie and checks everything that doesn't need the user's row:
// a forged cookie costs no query. The error is a Reason. If the session is
// rejected despite a valid signature, Parsed still has its primary key, for
// logs and rejections.
func (s *Sessions) Parse(value, scope string, now time.Time) (Parsed, error) {
	p := Parsed{by: s}
	p.refused = s.parse(&p, value, scope, now)
	return p, p.refused.orNil()
}

func (s *Sessions) parse(p *Parsed, value, scope string, now time.Time) Reason {
	if len(value) > maxValueSize {
		return Malformed
	}
	sc := s.scratches.Get().(*scratch)
	defer s.scratches.Put(sc)
	n, err := encoding.Decode(sc.data[:], sc.text[:copy(sc.text[:], value)])
	// Even a strict decoder skips line breaks. The length shows them.
	if err != nil || encoding.EncodedLen(n) != len(value) {
		return Malformed
	}
	data := sc.data[:n]
	if !hasVersion(data) {
		return Malformed
	}

	signed, signature := data[:n-tagSize], data[n-tagSize:]
	p.key = slices.IndexFunc(sc.macs, func(macs purposeMACs) bool {
		return subtle.ConstantTimeCompare(signature, sc.signature(macs, signed)) == 1
	})
	if p.key < 0 {
		return BadSignature
	}

	// From here on, it is known that Create or Renew has made the cookie.
	key, ok := p.readLength(signed)
	if !ok {
		return Malformed // made by a later release
	}
	packed := signed[key:len(signed):len(signed)] // no Packer can read beyond it
	pk, rest, err := s.settings.Encoding.Unpack(packed)
	if err != nil || len(rest) != 0 || pk.IsZero() || !s.isPacked(sc, pk, packed) {
		return Malformed
	}
	p.pk = pk
	issued := int64(binary.BigEndian.Uint32(signed[offsetIssued:]))
	p.issued = time.Unix(issued, 0).UTC()
	p.seen = time.Unix(issued+int64(binary.BigEndian.Uint32(signed[offsetSeen:])), 0).UTC()
	p.expires = s.expiry(p)
	copy(p.passwordTag[:], signed[offsetPassword:])

	if subtle.ConstantTimeCompare(signed[offsetScope:offsetScope+tagSize], sc.scopeTag(sc.macs[p.key], scope)) != 1 {
		return WrongScope
	}
	p.scope = scope
	return s.endedAt(p, now)
}

// readLength reads the Length and the ID of a session, and returns where the primary
// key starts. ok is false if they aren't written as encode does.
func (p *Parsed) readLength(signed []byte) (key int, ok bool) {
	if signed[0] == versionDefault {
		return offsetKey, true
	}
	length := signed[offsetLength]
	p.length = Length(length &^ hasID)
	key = offsetLength + lengthSize
	if length&hasID == 0 {
		return key, p.length != Default && p.length < lengths
	}
	if len(signed) < key+idSize {
		return key, false
	}
	p.id = ID(signed[key : key+idSize])
	return key + idSize, p.length < lengths && !p.id.IsZero()
}

// isPacked reports whether the packer writes pk as these bytes. Some packers
// also read a key that is cut short.
func (s *Sessions) isPacked(sc *scratch, pk token.PrimaryKey, packed []byte) bool {
	again, err := s.settings.Encoding.Pack(sc.packed[:0], pk)
	return err == nil && bytes.Equal(packed, again)
}

// hasVersion reports whether data may be a cookie of a known version.
func hasVersion(data []byte) bool {
	if len(data) < minDataSize {
		return false
	}
	return data[0] == versionDefault || data[0] == versionLength && len(data) >= minDataSize+lengthSize
}

// expiry returns when the limits of its length end the session.
func (s *Sessions) expiry(p *Parsed) time.Time {
	maxAge, idle := s.settings.Limits(p.length)
	end := p.issued.Add(maxAge)
	if idle == 0 {
		return end
	}
	if unused := p.seen.Add(idle); unused.Before(end) {
		return unused
	}
	return end
}

// endedAt returns why the session isn't valid at a time, or 0. Times in the
// cookie are rounded down, so that a session may end by less than a second too
// early, never too late.
func (s *Sessions) endedAt(p *Parsed, now time.Time) Reason {
	maxAge, idle := s.settings.Limits(p.length)
	switch {
	case p.seen.Sub(now) > maxSkew: // then issued, which isn't later, is also in range
		return NotYetValid
	case now.Sub(p.issued) >= maxAge:
		return Expired
	case idle != 0 && now.Sub(p.seen) >= idle:
		return IdleExpired
	}
	return 0
}

// Verify checks the session against the row of the user whose primary key it
// holds. The error is a Reason. A session that Parse has rejected stays
// rejected, and one that other Sessions have parsed is rejected, too.
//
// It doesn't check the time again: the caller ends long uses of a session,
// such as a WebSocket, at Expires.
func (s *Sessions) Verify(p *Parsed, user token.User) error {
	switch {
	case p.by != s: // parsed by other Sessions, or not at all
		return Malformed
	case p.refused != 0:
		return p.refused
	}
	sc := s.scratches.Get().(*scratch)
	defer s.scratches.Put(sc)
	packed, err := s.settings.Encoding.Pack(sc.packed[:0], p.pk)
	if err != nil {
		return Malformed // unreachable: Parse has packed this very key
	}
	tag := sc.passwordTag(sc.macs[p.key], packed, user.Password)
	if subtle.ConstantTimeCompare(p.passwordTag[:], tag) != 1 {
		return Revoked
	}
	return nil
}

// Renew records that a session is in use: it makes a new value for the cookie,
// and changes p to that value's contents. It does so if the session's length has
// a limit without use, and at least a tenth of that has passed since the last
// renewal, unless the session would end at the same time anyway. The time of the
// login and the length stay, so that renewals don't extend a session beyond its age.
// A session that isn't valid, by the user's row or at that time, is not renewed.
//
// The new value is signed with SecretKey, whichever key the old one was.
func (s *Sessions) Renew(p *Parsed, user token.User, now time.Time) (value string, renewed bool) {
	maxAge, idle := s.settings.Limits(p.length)
	if idle == 0 || s.Verify(p, user) != nil || s.endedAt(p, now) != 0 {
		return "", false
	}
	isRecent := now.Sub(p.seen) < idle/renewals || now.Unix() <= p.seen.Unix()
	canLast := p.expires.Before(p.issued.Add(maxAge))
	if isRecent || !canLast {
		return "", false
	}
	login := Login{PrimaryKey: p.pk, User: user, Scope: p.scope, Length: p.length, ID: p.id, Time: p.issued}
	value, err := s.encode(login, now.Unix())
	if err != nil {
		return "", false // a clock beyond the times that a cookie can hold
	}
	next, err := s.Parse(value, p.scope, now)
	if err != nil {
		return "", false // unreachable: these parts were read from a cookie
	}
	*p = next
	return value, true
}

// HasForm reports whether a text has the form of a session cookie with a login
// before now. It doesn't check the signature.
func HasForm(value string, now time.Time) bool {
	const invented = 1735689600 // January 2025: no session is older than this module
	data, err := encoding.DecodeString(value)
	if err != nil || !hasVersion(data) || len(data) > maxDataSize {
		return false
	}
	issued := int64(binary.BigEndian.Uint32(data[offsetIssued:]))
	return issued >= invented && issued <= now.Add(24*time.Hour).Unix()
}
