package session

import (
	"errors"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// DefaultMaxAge is longer than a working day: a user who logs in in the
// morning stays logged in until the evening, and must log in again the next
// morning.
const DefaultMaxAge = 12 * time.Hour

// Settings are what sessions depend on. Gateways share sessions where all but
// MaxAge, Idle and Remember are equal.
type Settings struct {
	// SecretKey is Django's SECRET_KEY. Required.
	SecretKey string
	// SecretKeyFallbacks are Django's SECRET_KEY_FALLBACKS: former keys, with
	// which sessions are accepted but not made.
	SecretKeyFallbacks []string

	// MaxAge is the time after the login at which a session ends in any case,
	// at least a second; 0 means DefaultMaxAge. A change applies to existing
	// sessions, too.
	MaxAge time.Duration
	// Idle is the time without use after which a session ends, at least a
	// second and less than MaxAge; 0 means never. For sessions that were made
	// before it was set, it counts from their login.
	Idle time.Duration
	// Remember is the time after the login at which a Remembered session ends, more
	// than MaxAge and at most MaxRemember; 0 means that no session is remembered.
	Remember time.Duration

	// Encoding is the packer that writes the primary key. Required.
	Encoding token.Packer
	// Audience identifies what a session is valid for: the site, the table of
	// users, and the field that is the primary key, as the same key can be
	// another user elsewhere. Sessions of one audience are rejected by every
	// other. Required.
	Audience string
}

// withDefaults returns a copy with every default filled in, or an error.
func (s Settings) withDefaults() (Settings, error) {
	switch {
	case s.SecretKey == "":
		return s, setting.Errorf("secret_key", "secret_key is empty: set it to Django's SECRET_KEY")
	case slices.Contains(s.SecretKeyFallbacks, ""):
		return s, setting.Errorf("secret_key_fallbacks", "secret_key_fallbacks: a key is empty")
	case s.Encoding == nil:
		return s, errors.New("no packer: name the one for the type of the primary key")
	case s.Audience == "":
		return s, errors.New("no audience: a session would be valid on every site with these keys")
	}
	if s.MaxAge == 0 {
		s.MaxAge = DefaultMaxAge
	}
	switch {
	case s.MaxAge < time.Second:
		return s, setting.Errorf("max_age", "max_age %s: a session must last for a second at least", s.MaxAge)
	case s.Idle != 0 && s.Idle < time.Second:
		return s, setting.Errorf("idle", "idle %s: it must be a second at least, or 0 for none", s.Idle)
	case s.Idle >= s.MaxAge:
		return s, setting.Errorf("idle", "idle %s: it must be less than max_age (%s), or it has no effect", s.Idle, s.MaxAge)
	case s.Remember != 0 && s.Remember <= s.MaxAge:
		return s, setting.Errorf("remember", "remember %s: it must be more than the max_age of other sessions (%s), or users who are remembered would be logged out earlier", s.Remember, s.MaxAge)
	case s.Remember > MaxRemember:
		return s, setting.Errorf("remember", "remember %s: browsers keep cookies for 400 days (%s) at most", s.Remember, MaxRemember)
	}
	return s, nil
}
