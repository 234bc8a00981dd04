package token

import "time"

// User is the part of a user's row that tokens depend on. A nil field is a
// NULL in the database, or a column that the user model doesn't have.
type User struct {
	// Password is the hashed password as the password column holds it.
	Password *string
	// Email is read only where InvalidateOnEmailChange is set.
	Email *string
	// LastLogin is read only where OneTime is set: the date and time of the
	// column as it stands there, in UTC, with microseconds.
	LastLogin *time.Time
}
