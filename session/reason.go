package session

// Reason says why a session is rejected. Every rejection has exactly one of
// these reasons; logs and metrics show them. A Reason is an error:
//
//	var reason session.Reason
//	if errors.As(err, &reason) { … }
type Reason uint8

// The reasons. The caller checks those of the rows of the user and of the session's
// ID, between Parse and Verify.
const (
	// Malformed: not a session cookie, cut short, or of another version.
	Malformed Reason = iota + 1
	// BadSignature: signed with another key, or for another site, table of
	// users or packer; or forged.
	BadSignature
	// WrongScope: authentic, but made for another scope.
	WrongScope
	// NotYetValid: authentic, but from the future: the clock of the gateway
	// that made it is ahead, or this one's is behind.
	NotYetValid
	// Expired: MaxAge has passed since the login.
	Expired
	// IdleExpired: not used for Idle or longer.
	IdleExpired
	// UnknownUser: no row has this primary key.
	UnknownUser
	// InactiveUser: the user's row says that they may not log in.
	InactiveUser
	// Revoked: the password has changed since the login.
	Revoked
	// Ended: the row of the session's ID is gone, or the user's is.
	Ended
	// NoTable: the session has an ID, and the caller has no table to look for it.
	NoTable
)

// Reasons returns every Reason.
func Reasons() []Reason {
	all := make([]Reason, 0, NoTable)
	for r := Malformed; r <= NoTable; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the reason's name in logs and metrics. It never changes.
func (r Reason) String() string {
	switch r {
	case Malformed:
		return "malformed"
	case BadSignature:
		return "bad_signature"
	case WrongScope:
		return "wrong_scope"
	case NotYetValid:
		return "not_yet_valid"
	case Expired:
		return "expired"
	case IdleExpired:
		return "idle_expired"
	case UnknownUser:
		return "unknown_user"
	case InactiveUser:
		return "inactive_user"
	case Revoked:
		return "revoked"
	case Ended:
		return "ended"
	case NoTable:
		return "no_table"
	default:
		return "unknown"
	}
}

// Error describes the reason for an operator. It says more than a client
// should learn: see Public.
func (r Reason) Error() string {
	switch r {
	case Malformed:
		return "not a session in a supported format"
	case BadSignature:
		return "the session's signature doesn't match: forged, or made with another key, site or setting"
	case WrongScope:
		return "the session was made for another scope"
	case NotYetValid:
		return "the session is from the future: the clocks of the gateways differ"
	case Expired:
		return "the session has expired"
	case IdleExpired:
		return "the session has not been used for too long"
	case UnknownUser:
		return "no such user as the session's"
	case InactiveUser:
		return "the session's user is inactive"
	case Revoked:
		return "the user's password has changed since the login"
	case Ended:
		return "the session was ended, or its user was deleted: it is no longer in the table"
	case NoTable:
		return "the session is in a table, which this gateway's configuration doesn't name"
	default:
		return "unknown reason"
	}
}

// orNil returns the reason as an error, or nil if there is none.
func (r Reason) orNil() error {
	if r == 0 {
		return nil
	}
	return r
}

// Public returns the reason for clients: "malformed", "expired" or "invalid".
// It doesn't reveal whether a user exists.
func (r Reason) Public() string {
	switch r {
	case Malformed:
		return "malformed"
	case Expired, IdleExpired, Ended:
		return "expired"
	default:
		return "invalid"
	}
}
