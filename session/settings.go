package session

import (
	"errors"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// DefaultMaxAge is a working day and a bit: who logs in in the morning isn't
// logged out before the evening, and is by the next morning.
const DefaultMaxAge = 12 * time.Hour

// Settings are what sessions depend on. Gateways share sessions where all but
// MaxAge and Idle are equal.
type Settings struct {
	// SecretKey is Django's SECRET_KEY. Required.
	SecretKey string
	// SecretKeyFallbacks are Django's SECRET_KEY_FALLBACKS: keys that were
	// used before, with which sessions are accepted but not made.
	SecretKeyFallbacks []string

	// MaxAge is how long after the login a session ends, whatever happens, at
	// least a second; 0 means DefaultMaxAge. Changing it applies to sessions
	// that exist, too.
	MaxAge time.Duration
	// Idle is after how long without use a session ends, at least a second
	// and less than MaxAge; 0 means never. Sessions that were made without it
	// have never been renewed: once it is set, it counts from their login.
	Idle time.Duration

	// Encoding is how the primary key is written. Required.
	Encoding token.Packer
	// Audience is whatever makes the same primary key another user, or what
	// a session for one isn't to be good for on the other: the site, the
	// table of users, the field that is the key. Sessions of one audience are
	// refused by every other. Required.
	Audience string
}

// withDefaults returns a copy with every default filled in, or what is wrong.
func (s Settings) withDefaults() (Settings, error) {
	switch {
	case s.SecretKey == "":
		return s, setting.Errorf("secret_key", "secret_key is empty: set it to Django's SECRET_KEY")
	case slices.Contains(s.SecretKeyFallbacks, ""):
		return s, setting.Errorf("secret_key_fallbacks", "secret_key_fallbacks: a key is empty")
	case s.Encoding == nil:
		return s, errors.New("no packer: name the one for the type of the primary key")
	case s.Audience == "":
		return s, errors.New("no audience: a session would be good for every site with these keys")
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
	}
	return s, nil
}
