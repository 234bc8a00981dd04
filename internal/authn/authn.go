// Package authn authenticates requests. A scheme (RFC 9110, section 11) takes
// its credentials out of a request; an Authenticator finds the user whom they
// claim, and has them prove it against the user's row.
//
// To add a scheme, implement Scheme and Credential in a file of its own.
package authn

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Scheme is one way to authenticate.
type Scheme interface {
	// Name is the scheme's name in metrics, the audit log and whoami.
	Name() string

	// Take removes from a request all credentials that the scheme can read, and
	// returns them. It is called for every scheme, whether another one has found
	// some or not: no credentials reach the upstream. It does no I/O.
	Take(r *http.Request) []Credential
}

// A Credential claims to belong to a user.
type Credential interface {
	// Scheme is the name of the credential's scheme.
	Scheme() string

	// Subject returns the key of the user whom the credential claims. It isn't to
	// be trusted yet. The error is a Rejection, or says why the key can't be told.
	Subject(ctx context.Context, at At) (userstore.Key, error)

	// Prove checks the credential against the row of its user, who is active unless
	// Traits.ChecksActive is set. It does no I/O, and compares secrets in constant time. The error is a
	// Rejection.
	Prove(user *userstore.User) error

	// Origin says by which fingerprint and since when an operator can revoke the
	// credential. A credential without a fingerprint ends when all of the user's
	// credentials from before a time are revoked. It is called after Subject.
	Origin() (fingerprint string, issued time.Time)

	// Traits tell how the credential is to be treated.
	Traits() Traits
}

// A SlowCredential takes long to prove, as a password does, which must be hashed.
type SlowCredential interface {
	Credential

	// ProveSlowly is called instead of Prove. user is nil if there is no such user:
	// then it must take as long, and reject. Besides a Rejection, the error may be
	// ErrAgain, or say why the result is unknown.
	ProveSlowly(ctx context.Context, user *userstore.User) error
}

// A RefreshedCredential lasts longer by its use.
type RefreshedCredential interface {
	Credential

	// Refresh extends the credential, which was accepted for a user, where that is
	// due.
	Refresh(r *http.Request, user *userstore.User)
}

// At is what credentials are judged at: the scope that the request is for, and
// the time.
type At struct {
	Scope string
	Now   time.Time
}

// Traits tell how a credential is treated.
type Traits struct {
	// NeedsFresh: the row must be read after the request arrived.
	NeedsFresh bool

	// IsAmbient: browsers send the credential unasked, including with requests made
	// by pages of other sites. It is tried after those that are sent on purpose.
	IsAmbient bool

	// Guess identifies the credential among those that a client tries until one is
	// accepted: each rejected one counts against the client once, and lookups for
	// such credentials may have to wait. Empty: the credential is signed, and can't
	// be guessed.
	Guess string

	// StartsLogin: the credential comes with a link, so that a login may follow.
	StartsLogin bool

	// IsConsumed: the credential is good for one use.
	IsConsumed bool

	// IsUnsure: the credential may be the application's own, and has stayed in the
	// request. It is looked at only where no other one is accepted.
	IsUnsure bool

	// Until is when the credential ends, as it stands; the zero time if it isn't
	// known, or never. Long responses end then.
	Until time.Time

	// OutlivesPassword: the credential stays valid when the password changes.
	OutlivesPassword bool

	// NeedsOrigin: browsers send the credential with requests of other origins'
	// pages, too. If a request could change something, or opens a WebSocket, the
	// browser must say that a page of this origin has sent it.
	NeedsOrigin bool

	// ChecksActive: Prove decides whether an inactive user may enter.
	ChecksActive bool

	// Reasons are the scheme's own reasons to reject; nil for those of tokens.
	Reasons *Reasons
}

// Reasons are the rejections that an Authenticator finds by itself.
type Reasons struct {
	UnknownUser, InactiveUser, Revoked error
}

// tokenReasons are used by schemes without reasons of their own.
var tokenReasons = &Reasons{token.UnknownUser, token.InactiveUser, token.Revoked}

func (t *Traits) reasons() *Reasons {
	if t.Reasons != nil {
		return t.Reasons
	}
	return tokenReasons
}
