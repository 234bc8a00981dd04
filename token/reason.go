package token

// Reason says why a token is rejected. Every rejection of this module has
// exactly one of these reasons; logs and metrics show them. A Reason is an
// error:
//
//	var reason token.Reason
//	if errors.As(err, &reason) { … }
type Reason uint8

// The reasons, in the order of the checks. The caller checks the user's row for its
// reasons between Parse and Verify.
const (
	// Missing: the request has no token at all.
	Missing Reason = iota + 1
	// Malformed: not a token of an accepted version, or not decodable. Often a
	// link that a mail program has split.
	Malformed
	// NoScope: the expected scope depends on the request, and this request has
	// none, or servers would read it in different ways.
	NoScope
	// ScopeUnsupported: a v1 token where a scope is expected; v1 has none.
	ScopeUnsupported
	// MaxAgeUnsupported: a v1 token with an overridden max_age, which v1
	// doesn't support.
	MaxAgeUnsupported
	// NoPrimaryKey: the bytes don't start with a primary key of the packer.
	NoPrimaryKey
	// NoTimestamp: max_age is set, but no timestamp follows the primary key.
	NoTimestamp
	// NoSignature: the rest isn't as long as a signature; for example a token
	// made with max_age where none is set here, or the reverse.
	NoSignature
	// Expired: as old as max_age, or older.
	Expired
	// UnknownUser: no row has this primary key.
	UnknownUser
	// InactiveUser: the user's row says that they may not log in.
	InactiveUser
	// IncompleteUser: a column that the signature needs is NULL.
	IncompleteUser
	// BadSignature: signed with another key, for another scope or packer, or
	// revoked since: by a new password or e-mail, or, one-time, by a login.
	BadSignature
	// Consumed: a one-time token that another request has just used.
	Consumed
	// Revoked: otherwise valid, but an operator has revoked it.
	Revoked
)

// Reasons returns every Reason.
func Reasons() []Reason {
	all := make([]Reason, 0, Revoked)
	for r := Missing; r <= Revoked; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the reason's name in logs and metrics. It never changes.
func (r Reason) String() string {
	switch r {
	case Missing:
		return "missing"
	case Malformed:
		return "malformed"
	case NoScope:
		return "no_scope"
	case ScopeUnsupported:
		return "scope_unsupported"
	case MaxAgeUnsupported:
		return "max_age_unsupported"
	case NoPrimaryKey:
		return "no_primary_key"
	case NoTimestamp:
		return "no_timestamp"
	case NoSignature:
		return "no_signature"
	case Expired:
		return "expired"
	case UnknownUser:
		return "unknown_user"
	case InactiveUser:
		return "inactive_user"
	case IncompleteUser:
		return "incomplete_user"
	case BadSignature:
		return "bad_signature"
	case Consumed:
		return "consumed"
	case Revoked:
		return "revoked"
	default:
		return "unknown"
	}
}

// Error describes the reason for an operator. It says more than a client
// should learn: see Public.
func (r Reason) Error() string {
	switch r {
	case Missing:
		return "no token in the request"
	case Malformed:
		return "not a token in a supported format"
	case NoScope:
		return "the request has no scope: the template comes out empty, or the request target has more than one reading"
	case ScopeUnsupported:
		return "v1 tokens don't support a scope"
	case MaxAgeUnsupported:
		return "v1 tokens don't support an overridden max_age"
	case NoPrimaryKey:
		return "cannot extract the primary key"
	case NoTimestamp:
		return "cannot extract the timestamp"
	case NoSignature:
		return "cannot extract the signature"
	case Expired:
		return "expired"
	case UnknownUser:
		return "no such user"
	case InactiveUser:
		return "the user is inactive"
	case IncompleteUser:
		return "a column that the signature needs is NULL in the user's row"
	case BadSignature:
		return "the signature doesn't match: revoked, or made with another key, scope or setting"
	case Consumed:
		return "another request has used this one-time token"
	case Revoked:
		return "an operator has ended this token before its time"
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

// Public returns the reason for clients: "missing", "malformed", "expired" or
// "invalid". It doesn't reveal whether a user exists.
func (r Reason) Public() string {
	switch r {
	case Missing, Expired:
		return r.String()
	case Malformed, NoPrimaryKey, NoTimestamp, NoSignature:
		return "malformed"
	default:
		return "invalid"
	}
}
