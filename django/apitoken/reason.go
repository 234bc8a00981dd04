package apitoken

// Reason is why a token isn't accepted. It is an error.
type Reason uint8

// Reasons. UnknownUser is for the caller, who looks the user up.
const (
	Malformed      Reason = iota + 1 // not in the format
	WrongAlgorithm                   // the token says another than the settings
	BadSignature                     // forged, or signed with another key
	Expired                          // exp is over
	NotYetValid                      // nbf or iat is in the future
	MissingClaim                     // a claim is missing
	WrongIssuer                      // iss is another
	WrongAudience                    // aud has no audience of the settings
	WrongType                        // token_type is another: a refresh token
	UnknownUser                      // there is no such user
	InactiveUser                     // the user isn't active
	Revoked                          // the password has changed since
)

var reasons = [...]struct{ name, text string }{
	0:              {"unknown", "unknown reason"},
	Malformed:      {"malformed", "the token isn't a signed JWT, or a claim has another type than it must have"},
	WrongAlgorithm: {"wrong_algorithm", "the token is signed with another algorithm than ALGORITHM"},
	BadSignature:   {"bad_signature", "the token's signature doesn't match: forged, or signed with another key"},
	Expired:        {"expired", "the token has expired"},
	NotYetValid:    {"not_yet_valid", "the token isn't valid yet: the clocks differ, or it is for later"},
	MissingClaim:   {"missing_claim", "the token lacks a claim that the settings demand"},
	WrongIssuer:    {"wrong_issuer", "the token is of another issuer"},
	WrongAudience:  {"wrong_audience", "the token is for another audience"},
	WrongType:      {"wrong_type", "the token is of another type, such as one to get new tokens with"},
	UnknownUser:    {"unknown_user", "there is no such user"},
	InactiveUser:   {"inactive_user", "the user isn't active"},
	Revoked:        {"revoked", "the user's password has changed since the token was made"},
}

// String returns the name of the reason: lower case, with underscores.
func (r Reason) String() string {
	if int(r) >= len(reasons) {
		r = 0
	}
	return reasons[r].name
}

// Error says what the reason means.
func (r Reason) Error() string {
	if int(r) >= len(reasons) {
		r = 0
	}
	return reasons[r].text
}
