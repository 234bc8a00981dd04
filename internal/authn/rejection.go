package authn

import (
	"errors"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Rejection is an error that says why credentials are not accepted. Any other
// error says that this isn't known, and ends the request.
type Rejection struct{ Reason error }

func (r *Rejection) Error() string { return r.Reason.Error() }
func (r *Rejection) Unwrap() error { return r.Reason }

// Reject returns an error that rejects credentials for a reason.
func Reject(reason error) error { return &Rejection{reason} }

// IsRejection reports whether an error rejects credentials. The reasons of
// tokens and sessions do so by themselves.
func IsRejection(err error) bool {
	if _, ok := errors.AsType[token.Reason](err); ok {
		return true
	}
	if _, ok := errors.AsType[session.Reason](err); ok {
		return true
	}
	_, ok := errors.AsType[*Rejection](err)
	return ok
}

// Stale is the reason to reject credentials that were made with our key, and
// are rejected all the same: they are no guess.
type Stale struct{ Reason error }

func (s Stale) Error() string { return s.Reason.Error() }
func (s Stale) Unwrap() error { return s.Reason }

// IsStale reports whether an error rejects credentials that were made with our
// key.
func IsStale(err error) bool {
	_, ok := errors.AsType[Stale](err)
	return ok
}
