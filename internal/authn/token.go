package authn

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Token is the scheme of django-sesame's tokens.
type Token struct {
	Sources *claim.Sources

	// ID is the scheme's name; empty for "token".
	ID string

	// Keys returns what tokens are signed with. It fails while the store can't
	// be asked how keys are written.
	Keys func(ctx context.Context) (*token.Tokens, error)

	// OneTime: a token is consumed by its use.
	OneTime bool

	// OutlivePassword: tokens stay valid when the password changes.
	OutlivePassword bool

	// LogsIn: a token in a link starts a session.
	LogsIn bool

	// OnlyByButton: no request but that of the page's button uses a link.
	OnlyByButton bool
}

// Name implements Scheme.
func (s *Token) Name() string { return cmp.Or(s.ID, "token") }

// Take implements Scheme. A request has one token at most: the first of the
// sources that has one.
func (s *Token) Take(r *http.Request) []Credential {
	return s.TakeExposed(r, s.Sources.IsExposed(r))
}

// TakeExposed is Take where it is known already whether the request has a token
// where Caddy's logs show it.
func (s *Token) TakeExposed(r *http.Request, isExposed bool) []Credential {
	given := s.Sources.Take(r, isExposed)
	if !given.Found {
		return nil
	}
	c := &TokenCredential{scheme: s, Given: given}
	c.alone[0] = c
	return c.alone[:]
}

// TokenCredential is a token as a request has it.
type TokenCredential struct {
	Given  claim.Token
	scheme *Token
	guess  string
	bound  string // what the token is signed with beside the scope
	parsed token.Parsed
	tokens *token.Tokens
	alone  [1]Credential // what Take returns, in the same piece of memory
}

// Scheme implements Credential.
func (c *TokenCredential) Scheme() string { return c.scheme.Name() }

// IsLink reports whether the token came in the URL.
func (c *TokenCredential) IsLink() bool { return c.Given.From == claim.FromQuery }

// OnlyByButton reports whether no request but the button's uses the token.
func (c *TokenCredential) OnlyByButton() bool { return c.scheme.OnlyByButton && c.IsLink() }

// As returns the token as one of another scheme, which signs it with bound in
// addition to the scope.
func (c *TokenCredential) As(scheme *Token, bound string) *TokenCredential {
	return &TokenCredential{scheme: scheme, Given: c.Given, bound: bound}
}

// Parsed is what the token says, after Subject, as far as it could be parsed.
func (c *TokenCredential) Parsed() *token.Parsed { return &c.parsed }

// Subject implements Credential. The error is a token.Reason, or that of
// Token.Keys.
func (c *TokenCredential) Subject(ctx context.Context, at At) (key userstore.Key, err error) {
	if c.tokens, err = c.scheme.Keys(ctx); err != nil {
		return key, err
	}
	scope := at.Scope + c.bound
	if c.guess = c.Given.Value; scope != "" {
		c.guess += "\x00" + scope // for another scope the same token is another guess
	}
	c.parsed, err = c.tokens.Parse(c.Given.Value, token.Expectation{Scope: scope, Now: at.Now})
	return userstore.ByPrimaryKey(c.parsed.PrimaryKey()), err
}

// Prove implements Credential. Parse has checked the signature of a v1 token
// with our key, so that one of a former password is stale, and no guess.
func (c *TokenCredential) Prove(user *userstore.User) error {
	err := c.tokens.Verify(&c.parsed, user.User)
	if err == token.BadSignature && c.parsed.Version() == token.V1 { //nolint:errorlint // Verify doesn't wrap it
		return Stale{token.BadSignature}
	}
	return err
}

// IsAuthentic reports whether the token is its user's but for its age.
func (c *TokenCredential) IsAuthentic(user *userstore.User) bool {
	return c.tokens.IsAuthentic(&c.parsed, user.User)
}

// Origin implements Credential.
func (c *TokenCredential) Origin() (fingerprint string, issued time.Time) {
	issued, _ = c.parsed.Created()
	return c.parsed.Fingerprint(), issued
}

// Traits implements Credential. A one-time token, and a login, need the row as it
// is now.
func (c *TokenCredential) Traits() Traits {
	startsLogin := c.scheme.LogsIn && c.IsLink()
	return Traits{
		NeedsFresh:  c.scheme.OneTime || startsLogin,
		Guess:       c.guess,
		StartsLogin: startsLogin,
		IsConsumed:  c.scheme.OneTime,

		OutlivesPassword: c.scheme.OutlivePassword,
	}
}
