package secondfactor

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/limit"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Name is what the codes of second factors are called in metrics and logs.
const Name = "second_factor"

// Why a code is rejected.
const (
	codeWrong       = reason("wrong_code")
	codeLocked      = reason("locked_device")
	codeTooMany     = reason("too_many")
	codeUnreadable  = reason("unreadable_device")
	codeNoDevice    = reason("no_device")
	codeNewPassword = reason("new_password")
	codeInactive    = reason("inactive_user")
	codeEndedLink   = reason("ended_link")
	codeUnknownUser = reason("unknown_user")
)

// reason is why a code is rejected, by its name in metrics and logs.
type reason string

func (r reason) String() string { return string(r) }

func (r reason) Error() string {
	switch r {
	case codeLocked:
		return "wrong codes have locked the device for a while"
	case codeTooMany:
		return "too many wrong codes of the user were sent, and this one wasn't checked"
	case codeUnreadable:
		return "the row of the second factor can't be read"
	case codeNoDevice:
		return "the user has no second factor whose code can be checked"
	case codeNewPassword:
		return "the password has changed since it was entered"
	case codeEndedLink:
		return "the link was used or revoked, or the user has logged in otherwise, or has a new password or address"
	case codeInactive:
		return "the user is inactive"
	case codeUnknownUser:
		return "the user doesn't exist any more"
	}
	return "the code is wrong, too old, or used already"
}

// HasEnded reports whether an error says that a login can't go on with another code.
func HasEnded(err error) bool {
	for _, ended := range []reason{codeNewPassword, codeEndedLink, codeInactive, codeUnknownUser, codeNoDevice} {
		if errors.Is(err, ended) {
			return true
		}
	}
	return false
}

// Credential is a code that completes a login. It is proven once: the code is used
// up then.
type Credential struct {
	asker    *Asker
	pending  *Pending
	code     string
	guess    string
	at       time.Time
	accepted userstore.FactorKind
}

// Credential returns the credential of a user who has sent a code.
func (a *Asker) Credential(p *Pending, code string) *Credential {
	return &Credential{asker: a, pending: p, code: code, guess: Name + " " + rand.Text()}
}

// Kind is the kind of the factor that has accepted the code.
func (c *Credential) Kind() userstore.FactorKind { return c.accepted }

// Scheme implements authn.Credential.
func (*Credential) Scheme() string { return Name }

// Subject implements authn.Credential.
func (c *Credential) Subject(_ context.Context, at authn.At) (userstore.Key, error) {
	c.at = at.Now
	return userstore.ByPrimaryKey(c.pending.user), nil
}

// Prove implements authn.Credential. A code takes a write to prove.
func (*Credential) Prove(*userstore.User) error { return authn.Reject(codeWrong) }

// ProveSlowly implements authn.SlowCredential.
func (c *Credential) ProveSlowly(ctx context.Context, user *userstore.User) error {
	switch {
	case user == nil:
		return authn.Reject(authn.Stale{Reason: codeUnknownUser})
	case !user.IsActive:
		return authn.Reject(authn.Stale{Reason: codeInactive})
	case !c.asker.isStillProven(c.pending, user):
		return authn.Reject(authn.Stale{Reason: c.whyEnded()})
	}
	of := attempted{c.asker.env.Users, user.PrimaryKey.String()}
	if wait := allAttempts.begin(of, c.asker.env.Now()); wait > 0 {
		return &limit.Exceeded{Wait: wait, Reason: authn.Reject(codeTooMany)}
	}
	var v verdict
	err := c.asker.env.Store().UseFactors(ctx, user.PrimaryKey, func(factors []*userstore.Factor) {
		v = verify(&c.asker.env.Settings, factors, c.code, c.asker.env.Now())
	})
	switch {
	case err != nil:
		allAttempts.unchecked(of)
		return err
	case v.accepted != "":
		allAttempts.succeed(of)
		if !allCompleted.add(c.pending, c.asker.env.Now()) {
			return authn.Reject(codeWrong) // another code has completed the login meanwhile
		}
		c.accepted = v.accepted
		return nil
	case v.wait > 0:
		allAttempts.unchecked(of)
		return &limit.Exceeded{Wait: v.wait, Reason: authn.Reject(codeLocked)}
	case v.isWrong:
		return authn.Reject(codeWrong)
	case v.isBroken:
		return authn.Reject(authn.Stale{Reason: codeUnreadable})
	}
	return authn.Reject(authn.Stale{Reason: codeNoDevice})
}

// whyEnded is the reason for which the first proof counts no more.
func (c *Credential) whyEnded() reason {
	if c.pending.IsByLink() {
		return codeEndedLink
	}
	return codeNewPassword
}

// Origin implements authn.Credential: a code is made at the time of the request. After a
// link, that is what can be revoked.
func (c *Credential) Origin() (fingerprint string, issued time.Time) {
	if c.pending.IsByLink() {
		return c.pending.proof.origin()
	}
	return "", c.at
}

// Traits implements authn.Credential. Each code that is tried counts as a guess, even
// if it was tried before: it may be right at another time.
func (c *Credential) Traits() authn.Traits {
	return authn.Traits{NeedsFresh: true, Guess: c.guess, Reasons: reasons}
}

var reasons = &authn.Reasons{UnknownUser: authn.Reject(codeUnknownUser), InactiveUser: authn.Reject(codeInactive), Revoked: authn.Reject(codeWrong)}

// Interface guards
var _ authn.SlowCredential = (*Credential)(nil)
