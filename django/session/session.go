// Package session reads and writes the sessions of Django's django.contrib.sessions
// and django.contrib.auth: which user a session belongs to, and whether Django
// would accept it.
//
// A session is a JSON object that Django has signed. The engines db and cached_db
// keep it in the column session_data of a row, whose key is in the cookie; the
// engine signed_cookies keeps it in the cookie itself. Checking takes two steps:
// [Sessions.ParseRow] or [Sessions.ParseCookie] reads the session and returns the
// user's key, [Sessions.Verify] checks it against the user's row. Neither does any
// I/O.
//
// The formats are defined by Django's source: contrib/sessions/backends,
// contrib/auth/__init__.py and contrib/auth/base_user.py of 4.2 to 6.2, which
// are the same in this. Sessions of the engines cache and file, and those of
// PickleSerializer, can't be read.
package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/signing"
)

// Engine is where Django keeps sessions, its SESSION_ENGINE.
type Engine string

// The engines whose sessions can be read: the last part of SESSION_ENGINE.
const (
	DB            Engine = "db"
	CachedDB      Engine = "cached_db" // its row, which Django writes each time
	SignedCookies Engine = "signed_cookies"
)

// ModelBackend is the backend that Django has by default.
const ModelBackend = "django.contrib.auth.backends.ModelBackend"

// backendsForInactive are the backends of Django that accept inactive users.
var backendsForInactive = []string{
	"django.contrib.auth.backends.AllowAllUsersModelBackend",
	"django.contrib.auth.backends.AllowAllUsersRemoteUserBackend",
}

// serializers are Django's names for its JSON serializer.
var serializers = []string{
	"django.contrib.sessions.serializers.JSONSerializer",
	"django.core.signing.JSONSerializer",
}

const (
	rowSalt    = "django.contrib.sessions.SessionStore" // the classes of db and cached_db have the same name
	cookieSalt = "django.contrib.sessions.backends.signed_cookies"
	hashSalt   = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"

	defaultCookieAge = 1209600 * time.Second // two weeks
	hashSize         = 2 * sha256.Size       // in hexadecimal
)

// Settings are Django's, under the names that Django has for them.
type Settings struct {
	// SecretKey is SECRET_KEY, SecretKeyFallbacks is SECRET_KEY_FALLBACKS.
	SecretKey          string
	SecretKeyFallbacks []string
	// Engine is the last part of SESSION_ENGINE. Default: DB.
	Engine Engine
	// KeySalt is the property key_salt of a custom session class:
	// "django.contrib.sessions." and the class's qualified name. Default: that of
	// Django's own classes. Unused with SignedCookies.
	KeySalt string
	// Serializer is SESSION_SERIALIZER, which must be Django's for JSON.
	// Default: "django.contrib.sessions.serializers.JSONSerializer".
	Serializer string
	// CookieAge is SESSION_COOKIE_AGE. Default: two weeks.
	CookieAge time.Duration
	// ExpireAtBrowserClose is SESSION_EXPIRE_AT_BROWSER_CLOSE.
	ExpireAtBrowserClose bool
	// Backends are AUTHENTICATION_BACKENDS. Sessions of users who were logged in by
	// another backend aren't accepted. Default: ModelBackend.
	Backends []string
	// TimeZone is TIME_ZONE where USE_TZ is False, and UTC otherwise: the zone
	// of times without one. Default: UTC.
	TimeZone *time.Location
	// MaxInflated is the maximal size, in bytes, of a decompressed session.
	// Default: 1 MiB.
	MaxInflated int
}

// Sessions reads and writes sessions under given settings. It is safe for
// concurrent use.
type Sessions struct {
	settings Settings
	signer   *signing.TimestampSigner
	hashes   []*signing.SaltedHMAC // of SecretKey, then of each fallback
}

// New returns Sessions, or an error that names the setting that can't be
// right. It never repeats a key.
func New(settings Settings) (*Sessions, error) {
	settings, err := settings.withDefaults()
	if err != nil {
		return nil, err
	}
	salt := settings.KeySalt
	if settings.Engine == SignedCookies {
		salt = cookieSalt
	}
	signer, err := signing.NewTimestamp(signing.Settings{
		SecretKey:          settings.SecretKey,
		SecretKeyFallbacks: settings.SecretKeyFallbacks,
		Salt:               salt,
		MaxInflated:        settings.MaxInflated,
	})
	if err != nil {
		return nil, err
	}
	s := &Sessions{settings: settings, signer: signer}
	for _, key := range append([]string{settings.SecretKey}, settings.SecretKeyFallbacks...) {
		s.hashes = append(s.hashes, signing.NewSaltedHMAC(hashSalt, key))
	}
	return s, nil
}

func (s Settings) withDefaults() (Settings, error) {
	if s.Engine == "" {
		s.Engine = DB
	}
	if !slices.Contains([]Engine{DB, CachedDB, SignedCookies}, s.Engine) {
		return s, fmt.Errorf("Engine %q can't be read: it must be db, cached_db or signed_cookies; others keep sessions in a cache or in files", s.Engine)
	}
	if s.KeySalt == "" {
		s.KeySalt = rowSalt
	}
	if s.Serializer == "" {
		s.Serializer = serializers[0]
	}
	if !slices.Contains(serializers, s.Serializer) {
		return s, fmt.Errorf("the Serializer %q can't be read: it must be Django's JSONSerializer, as pickled sessions can run code", s.Serializer)
	}
	if s.CookieAge < 0 {
		return s, errors.New("CookieAge can't be negative")
	}
	if s.CookieAge == 0 {
		s.CookieAge = defaultCookieAge
	}
	if len(s.Backends) == 0 {
		s.Backends = []string{ModelBackend}
	}
	s.Backends = slices.Clone(s.Backends)
	s.SecretKeyFallbacks = slices.Clone(s.SecretKeyFallbacks)
	if s.TimeZone == nil {
		s.TimeZone = time.UTC
	}
	return s, nil
}

// Settings returns the settings with every default filled in.
func (s *Sessions) Settings() Settings { return s.settings }

// Row is a row of django_session.
type Row struct {
	SessionData string
	ExpireDate  time.Time
}

// User is the row of the user whose primary key a session holds.
type User struct {
	// Password is the column password. nil is NULL, for which Django hashes
	// the text "None".
	Password *string
	// IsActive is the column is_active, and true for users without one.
	IsActive bool
}

// Parsed is a session after all checks that don't need the user's row.
type Parsed struct {
	by      *Sessions // the Sessions that parsed it: nil in the zero value
	refused Reason    // why the session was refused, or 0
	data    Data
	saved   time.Time
}

// Data is the content of the session. It is empty if the signature isn't valid.
func (p *Parsed) Data() Data { return p.data }

// Saved is when the session was saved last, in whole seconds. It is zero if the
// signature isn't valid.
func (p *Parsed) Saved() time.Time { return p.saved }

// UserID is the primary key of the row that Verify needs, as Django writes it
// in a session: in decimal, or a UUID with hyphens. It is empty where the
// session was refused.
func (p *Parsed) UserID() string {
	if p.refused != 0 {
		return ""
	}
	return p.data.UserID
}

// ParseRow reads a row of the engines db and cached_db. The error is a Reason.
func (s *Sessions) ParseRow(row Row, now time.Time) (Parsed, error) {
	p := Parsed{by: s}
	switch {
	case s.settings.Engine == SignedCookies:
		p.refused = Malformed
	case !row.ExpireDate.After(now):
		p.refused = Expired
	default:
		p.refused = s.parse(&p, row.SessionData, nil, now)
	}
	return p, p.refused.orNil()
}

// ParseCookie reads a cookie of the engine signed_cookies. Like Django, it
// takes no notice of an expiry that the session itself holds. The error is a
// Reason.
func (s *Sessions) ParseCookie(value string, now time.Time) (Parsed, error) {
	p := Parsed{by: s}
	if s.settings.Engine == SignedCookies {
		p.refused = s.parse(&p, value, &s.settings.CookieAge, now)
	} else {
		p.refused = Malformed
	}
	return p, p.refused.orNil()
}

func (s *Sessions) parse(p *Parsed, signed string, maxAge *time.Duration, now time.Time) Reason {
	text, saved, err := s.signer.Loads(signed, maxAge, now)
	switch {
	case errors.Is(err, signing.ErrBadSignature):
		return BadSignature
	case errors.Is(err, signing.ErrExpired):
		return Expired
	case err != nil:
		return Malformed
	}
	p.saved = saved
	data, err := parseData(string(text))
	switch {
	case err != nil:
		return Malformed
	case data.UserID == "" || !data.hasBackend:
		p.data = data
		return Anonymous
	}
	p.data = data
	if !slices.Contains(s.settings.Backends, data.Backend) {
		return UnlistedBackend
	}
	return 0
}

// Verify checks the session against the row of the user whose primary key it holds.
// isFallback reports whether the session's hash was made with one of
// SecretKeyFallbacks; Django would then give the session a new key and hash. The
// error is a Reason. Verify also refuses sessions that were refused when they were
// parsed, or that other Sessions have parsed.
func (s *Sessions) Verify(p *Parsed, user User) (isFallback bool, err error) {
	switch {
	case p.by != s:
		return false, Malformed
	case p.refused != 0:
		return false, p.refused
	case !user.IsActive && !slices.Contains(backendsForInactive, p.data.Backend):
		return false, InactiveUser
	}
	for i := range s.hashes {
		hash := s.authHash(i, user)
		if subtle.ConstantTimeCompare(hash[:], []byte(p.data.Hash)) == 1 {
			return i > 0, nil
		}
	}
	return false, Revoked
}

// AuthHash is Django's get_session_auth_hash, which ends the user's sessions
// when the password changes.
func (s *Sessions) AuthHash(user User) string {
	hash := s.authHash(0, user)
	return string(hash[:])
}

// authHash is AuthHash with one of the keys.
func (s *Sessions) authHash(key int, user User) (hash [hashSize]byte) {
	password := "None"
	if user.Password != nil {
		password = *user.Password
	}
	sum := s.hashes[key].Sum(password)
	hex.Encode(hash[:], sum[:])
	return hash
}
