package authn

import (
	"errors"
	"fmt"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Rejection is an error that says why credentials are not accepted. Any other
// error says that this isn't known, and ends the request.
type Rejection struct {
	// Reason says why. If it has a String method, that is its name in metrics and
	// logs.
	Reason error

	// Public is the reason that a client may be told: Malformed, Expired,
	// SecondFactor, or Invalid, which doesn't tell whether a user exists. Empty
	// means Invalid.
	Public string

	isAbsent bool
}

func (r *Rejection) Error() string { return r.Reason.Error() }
func (r *Rejection) Unwrap() error { return r.Reason }

// The reasons of a Rejection that a client may be told.
const (
	Malformed = "malformed"
	Expired   = "expired"
	Invalid   = "invalid"
	// SecondFactor: the password is right, and the user has a second factor, which
	// Django would ask for now.
	SecondFactor = "second_factor"
)

// Reject returns an error that rejects credentials for a reason.
func Reject(reason error) error { return &Rejection{Reason: reason} }

// RejectAs is Reject with a reason that the client may be told.
func RejectAs(public string, reason error) error { return &Rejection{Reason: reason, Public: public} }

// Absent returns an error for a text that has the form of a credential and names no
// user, such as the session of a visitor who hasn't logged in. The request is
// treated as if the text hadn't been sent.
func Absent(reason error) error { return &Rejection{Reason: reason, isAbsent: true} }

// IsAbsent reports whether an error was made by Absent.
func IsAbsent(err error) bool {
	rejection, ok := errors.AsType[*Rejection](err)
	return ok && rejection.isAbsent
}

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

// Public returns what a client may be told about an error that rejects credentials.
func Public(err error) string {
	if reason, ok := errors.AsType[token.Reason](err); ok {
		return reason.Public()
	}
	if rejection, ok := errors.AsType[*Rejection](err); ok && rejection.Public != "" {
		return rejection.Public
	}
	return Invalid
}

// ReasonOf is the name in metrics, logs and events of why an error rejects
// credentials.
func ReasonOf(err error) string {
	if rejection, ok := errors.AsType[*Rejection](err); ok {
		err = rejection.Reason
	}
	if reason, ok := errors.AsType[token.Reason](err); ok {
		return reason.String()
	}
	if reason, ok := errors.AsType[session.Reason](err); ok {
		return reason.String()
	}
	for ; err != nil; err = errors.Unwrap(err) { // a Stale may be around the reason
		if named, ok := err.(fmt.Stringer); ok { //nolint:errorlint // it is the reason itself
			return named.String()
		}
	}
	return Invalid
}

// Stale is the reason to reject credentials that were made with our key, or exist
// in the database, so that they are no guess.
type Stale struct{ Reason error }

func (s Stale) Error() string { return s.Reason.Error() }
func (s Stale) Unwrap() error { return s.Reason }

// IsStale reports whether an error rejects credentials that were made with our
// key.
func IsStale(err error) bool {
	_, ok := errors.AsType[Stale](err)
	return ok
}
