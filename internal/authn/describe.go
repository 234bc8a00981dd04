package authn

import (
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// A Described credential says what it holds, for operators.
type Described interface {
	Credential

	// Describe returns facts about the credential, after it was accepted, or was
	// rejected by an error. No secret is in them.
	Describe(err error, now time.Time) []string
}

// Describe returns facts about a credential, of which nothing is secret.
func Describe(c Credential, err error, now time.Time) []string {
	if described, ok := c.(Described); ok {
		return described.Describe(err, now)
	}
	return nil
}

// Checks returns what checks passwords, for operators, and whether users with a
// second factor are rejected.
func (c *PasswordConfig) Checks() (hashers *password.Hashers, rejectsSecondFactor bool, err error) {
	hashers, err = c.newHashers()
	return hashers, c.SecondFactor != secondFactorIgnore, err
}
