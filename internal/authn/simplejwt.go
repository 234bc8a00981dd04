package authn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// simpleJWT reads the JSON Web Tokens of djangorestframework-simplejwt. Tokens that
// are signed with its key are its own. Others may belong to the application, or to
// another server.
type simpleJWT struct {
	jwts      *apitoken.JWTs
	via       *userstore.Via
	blacklist *userstore.Blacklist // nil for none
	store     func() *userstore.MySQL
	now       func() time.Time
}

func (*simpleJWT) name() string { return librarySimpleJWT }

// challenge implements library. SimpleJWT names the first of its schemes, too.
func (s *simpleJWT) challenge() string { return s.jwts.Settings().HeaderTypes[0] }

// addNeeds implements library.
func (s *simpleJWT) addNeeds(needs *userstore.Needs) {
	addVia(needs, s.via)
	if s.blacklist != nil {
		needs.Blacklists = append(needs.Blacklists, s.blacklist)
	}
}

// isAddressed implements library. SimpleJWT compares letter case, but another
// server with the same key might not.
func (s *simpleJWT) isAddressed(credentials string) bool {
	return slices.ContainsFunc(s.jwts.Settings().HeaderTypes, func(scheme string) bool {
		_, ok := claim.AfterScheme(credentials, scheme)
		return ok
	})
}

// read implements library. Credentials that contain a JSON Web Token of SimpleJWT
// are never passed to the application, whatever stands around the token.
func (s *simpleJWT) read(credentials string) (Credential, certainty) {
	if !s.isAddressed(credentials) {
		return nil, others
	}
	token, err := s.jwts.FromHeader(credentials)
	if err != nil {
		for word := range strings.FieldsSeq(credentials) {
			if parsed, _ := s.parse(word); parsed.IsSigned() {
				return &rejectedToken{librarySimpleJWT, errMalformedToken}, own
			}
		}
		return nil, others
	}
	if !apitoken.IsJWT(token) {
		return nil, others
	}
	c := &jwtToken{library: s}
	if c.parsed, c.err = s.parse(token); c.parsed.IsSigned() {
		return c, own
	}
	c.guess = token
	return c, unsure
}

// parse is apitoken.JWTs.Parse for texts of any form.
func (s *simpleJWT) parse(text string) (apitoken.ParsedJWT, error) {
	if !apitoken.IsJWT(text) {
		return apitoken.ParsedJWT{}, apitoken.Malformed
	}
	return s.jwts.Parse(text, s.now())
}

// jwtToken is a token of SimpleJWT.
type jwtToken struct {
	library *simpleJWT
	parsed  apitoken.ParsedJWT
	err     error  // why it is rejected already
	guess   string // the token, if it isn't signed with the key
}

// Scheme implements Credential.
func (*jwtToken) Scheme() string { return librarySimpleJWT }

// Subject implements Credential. Like SimpleJWT, it looks for tokens in the
// blacklist that are made to get others with, or to be renewed themselves.
func (c *jwtToken) Subject(ctx context.Context, _ At) (userstore.Key, error) {
	if c.err != nil {
		return userstore.Key{}, rejectJWT(c.err, c.parsed.IsSigned())
	}
	if c.library.blacklist != nil && c.isBlacklistable() {
		isListed, err := c.library.store().IsBlacklisted(ctx, c.library.blacklist, c.parsed.ID())
		if err != nil {
			return userstore.Key{}, err
		}
		if isListed {
			return userstore.Key{}, rejectJWT(errBlacklisted, true)
		}
	}
	return c.library.store().Resolve(c.library.via.Key(c.parsed.UserID())), nil
}

// isBlacklistable reports whether SimpleJWT looks for the token in its blacklist:
// it does for all types of tokens but access. Without a type, the first class of
// AUTH_TOKEN_CLASSES that accepts the token decides.
func (c *jwtToken) isBlacklistable() bool {
	const access = "access"
	settings := c.library.jwts.Settings()
	if settings.WithoutTokenType {
		return !slices.Contains(settings.TokenTypes, access)
	}
	return c.parsed.TokenType() != access
}

// Prove implements Credential.
func (c *jwtToken) Prove(user *userstore.User) error {
	row := apitoken.User{IsActive: user.IsActive}
	if user.Password != nil {
		row.Password = *user.Password
	}
	if err := c.library.jwts.Verify(&c.parsed, row); err != nil {
		return rejectJWT(err, true)
	}
	return nil
}

// errBlacklisted is why a token is rejected that is in SimpleJWT's blacklist.
var errBlacklisted = blacklisted{errors.New("the token is in the blacklist")}

type blacklisted struct{ error }

func (blacklisted) String() string { return "blacklisted" }

// rejectJWT returns the error that rejects a token for a reason.
func rejectJWT(reason error, isSigned bool) error {
	err := Reject(reason)
	switch {
	case errors.Is(reason, apitoken.Expired):
		err = RejectAs(Expired, reason)
	case errors.Is(reason, apitoken.Malformed), errors.Is(reason, apitoken.MissingClaim):
		err = RejectAs(Malformed, reason)
	}
	if isSigned {
		return Stale{err}
	}
	return err
}

// Origin implements Credential.
func (c *jwtToken) Origin() (fingerprint string, issued time.Time) { return "", c.parsed.Issued() }

// jwtReasons are the reasons to reject SimpleJWT's tokens, which are signed.
var jwtReasons = &Reasons{
	UnknownUser:  Stale{Reject(apitoken.UnknownUser)},
	InactiveUser: Stale{Reject(apitoken.InactiveUser)},
	Revoked:      Stale{Reject(apiTokenRevoked)},
}

// until is when the token ends, with the leeway.
func (c *jwtToken) until() time.Time {
	if c.err != nil {
		return time.Time{}
	}
	return c.parsed.Expires().Add(c.library.jwts.Settings().Leeway)
}

// Traits implements Credential.
func (c *jwtToken) Traits() Traits {
	return Traits{
		Guess:            c.guess,
		IsUnsure:         !c.parsed.IsSigned(),
		ChecksActive:     true,
		Until:            c.until(),
		OutlivesPassword: !c.library.jwts.Settings().CheckRevokeToken,
		Reasons:          jwtReasons,
	}
}
