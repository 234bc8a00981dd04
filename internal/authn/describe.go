package authn

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/session"
)

// A Described credential states facts about itself, for operators.
type Described interface {
	Credential

	// Describe returns facts about the credential, after it was accepted, or was
	// rejected with err. They hold no secret.
	Describe(err error, now time.Time) []string
}

// Describe returns facts about a credential. They hold no secret.
func Describe(c Credential, err error, now time.Time) []string {
	if described, ok := c.(Described); ok {
		return described.Describe(err, now)
	}
	return nil
}

// Describe implements Described.
func (c *DjangoCookie) Describe(err error, _ time.Time) []string {
	data, ends := c.parsed.Data(), c.ends
	if row, ok := errors.AsType[*unusable](err); ok {
		data, ends = row.data, row.ends
	}
	var facts []string
	if err != nil && data.UserID != "" {
		facts = append(facts, "for primary key "+strconv.Quote(data.UserID))
	}
	if data.Backend != "" {
		facts = append(facts, "logged in by "+strconv.Quote(data.Backend))
	}
	return appendEnd(facts, ends)
}

// Describe implements Described.
func (c *SessionCookie) Describe(err error, _ time.Time) []string {
	p := &c.parsed
	if p.PrimaryKey().IsZero() {
		return nil
	}
	var facts []string
	if err != nil {
		facts = append(facts, "for primary key "+strconv.Quote(p.PrimaryKey().String()))
	}
	if site, scope, isKnown := strings.Cut(p.Scope(), "\x00"); isKnown {
		facts = append(facts, "for the site "+site)
		if scope != "" {
			facts = append(facts, "for the scope "+strconv.Quote(scope))
		}
	}
	facts = append(facts, "begun at "+p.Issued().Format(time.RFC3339), "until "+p.Expires().UTC().Format(time.RFC3339))
	switch p.Length() {
	case session.Remembered:
		facts = append(facts, "the user chose to be remembered")
	case session.Shared:
		facts = append(facts, "the user chose a shared computer")
	}
	if id := p.ID(); !id.IsZero() {
		facts = append(facts, "its ID is "+id.String())
	}
	return facts
}

// Describe implements Described.
func (c *tableToken) Describe(error, time.Time) []string {
	if c.issued.IsZero() {
		return nil
	}
	return []string{"created at " + c.issued.UTC().Format(time.RFC3339)}
}

// Describe implements Described.
func (c *jwtToken) Describe(err error, _ time.Time) []string {
	if !c.parsed.IsSigned() {
		return nil
	}
	var facts []string
	if id := c.parsed.UserID(); err != nil && id != "" {
		facts = append(facts, "for user_id "+strconv.Quote(id))
	}
	if kind := c.parsed.TokenType(); kind != "" {
		facts = append(facts, "of type "+strconv.Quote(kind))
	}
	if issued := c.parsed.Issued(); !issued.IsZero() {
		facts = append(facts, "issued at "+issued.UTC().Format(time.RFC3339))
	}
	return appendEnd(facts, c.parsed.Expires())
}

// appendEnd appends when a credential ends, if that is known.
func appendEnd(facts []string, ends time.Time) []string {
	if ends.IsZero() {
		return facts
	}
	return append(facts, "until "+ends.UTC().Format(time.RFC3339))
}

// Checks returns what checks passwords, for operators, and whether users with a
// second factor are rejected.
func (c *PasswordConfig) Checks() (hashers *password.Hashers, rejectsSecondFactor bool, err error) {
	hashers, err = c.newHashers()
	return hashers, c.SecondFactor != SecondFactorIgnore, err
}
