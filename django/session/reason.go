package session

// Reason is why a session isn't accepted. It is an error.
type Reason uint8

// Reasons. UnknownUser is for the caller, who looks the user up.
const (
	Malformed       Reason = iota + 1 // not in the format
	BadSignature                      // forged, or signed with another key or salt
	Expired                           // expire_date or SESSION_COOKIE_AGE is over
	Anonymous                         // a session without a user
	UnlistedBackend                   // the backend isn't one of Settings.Backends
	UnknownUser                       // there is no such user
	InactiveUser                      // the user isn't active
	Revoked                           // the password has changed since, or SECRET_KEY
)

var reasons = [...]struct{ name, text string }{
	Malformed:       {"malformed", "the session isn't in Django's format"},
	BadSignature:    {"bad_signature", "the session's signature doesn't match: forged, or made with another SECRET_KEY or session class"},
	Expired:         {"expired", "the session has expired"},
	Anonymous:       {"anonymous", "the session has no user: no user has logged in, or the user has logged out since"},
	UnlistedBackend: {"unlisted_backend", "the backend that logged the user in isn't one of AUTHENTICATION_BACKENDS"},
	UnknownUser:     {"unknown_user", "there is no such user"},
	InactiveUser:    {"inactive_user", "the user isn't active"},
	Revoked:         {"revoked", "the session's hash doesn't match: the password or SECRET_KEY has changed since the login"},
}

// String returns the name of the reason: lower case, with underscores.
func (r Reason) String() string {
	if int(r) >= len(reasons) || r == 0 {
		return "unknown"
	}
	return reasons[r].name
}

// Error says what the reason means.
func (r Reason) Error() string {
	if int(r) >= len(reasons) || r == 0 {
		return "unknown reason"
	}
	return reasons[r].text
}

func (r Reason) orNil() error {
	if r == 0 {
		return nil
	}
	return r
}
