package session

import (
	"fmt"
	"time"
)

// Length is how long a session lasts, as the user has chosen at the login. It is
// in the signed cookie, so that renewals keep it, and no browser can extend it.
type Length uint8

const (
	// Default sessions last for Settings.MaxAge, and end after Settings.Idle.
	Default Length = iota

	// Remembered sessions last for Settings.Remember, whether they are used or not.
	// Where that is zero, they last as Default sessions do.
	Remembered

	// Shared sessions are for a computer that others use, too. Their cookie is one
	// that browsers forget when they are closed. As some restore such cookies, and
	// others are never closed, a copy lasts for SharedMaxAge and SharedIdle at most.
	Shared

	lengths // how many there are
)

// The limits of Shared sessions, unless MaxAge or Idle is shorter. A working day is
// as much as a public computer may need, and an hour is longer than a user reads a
// page.
const (
	SharedMaxAge = 12 * time.Hour
	SharedIdle   = time.Hour
)

// MaxRemember is the longest Settings.Remember: browsers keep no cookie for longer
// than 400 days (RFC 6265bis).
const MaxRemember = 400 * 24 * time.Hour

// String returns the length's name in texts for operators.
func (l Length) String() string {
	switch l {
	case Default:
		return "default"
	case Remembered:
		return "remembered"
	case Shared:
		return "shared"
	}
	return fmt.Sprintf("Length(%d)", uint8(l))
}

// Limits returns the time after the login at which a session of a length ends, and
// the time without use after which it ends; 0 means never. The settings must be
// those of Sessions, with every default filled in.
func (s *Settings) Limits(length Length) (maxAge, idle time.Duration) {
	switch {
	case length == Remembered && s.Remember != 0:
		return s.Remember, 0
	case length == Shared && s.Idle == 0:
		return min(s.MaxAge, SharedMaxAge), SharedIdle
	case length == Shared:
		return min(s.MaxAge, SharedMaxAge), min(s.Idle, SharedIdle)
	}
	return s.MaxAge, s.Idle
}
