package authn

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// APITokens is the scheme of API tokens in Authorization, which libraries for
// Django REST framework issue. Each of its credentials bears the name of the
// library: drf, knox or simplejwt.
type APITokens struct{ libraries []library }

// library reads the tokens of one library, under one configuration.
type library interface {
	name() string

	// isAddressed reports whether credentials name the scheme of the library,
	// whatever stands behind that.
	isAddressed(credentials string) bool

	// read returns the credential that credentials are to the library, and how
	// certain that is.
	read(credentials string) (Credential, certainty)

	addNeeds(*userstore.Needs)

	// challenge returns the library's challenge for WWW-Authenticate.
	challenge() string
}

// certainty says whether credentials belong to a library.
type certainty uint8

const (
	others certainty = iota // they can't be the library's: they stay in the request
	unsure                  // they may be the application's, and stay in the request
	own                     // they are the library's, valid or not
)

// mostAPITokens is how many tokens of a request are read: checking a signature
// takes time. More of them are rejected as they are.
const mostAPITokens = 4

// Name implements Scheme.
func (*APITokens) Name() string { return "api_token" }

// Names returns the names of the schemes of the credentials.
func (s *APITokens) Names() []string {
	var names []string
	for _, l := range s.libraries {
		names = append(names, l.name())
	}
	return names
}

// Cookies implements ConfiguredScheme.
func (*APITokens) Cookies() []string { return nil }

// AddNeeds implements ConfiguredScheme.
func (s *APITokens) AddNeeds(needs *userstore.Needs) {
	for _, l := range s.libraries {
		l.addNeeds(needs)
	}
}

// IsAuthorization implements AuthorizationScheme.
func (s *APITokens) IsAuthorization(credentials string) bool {
	for _, l := range s.libraries {
		if _, how := l.read(credentials); how == own {
			return true
		}
	}
	return false
}

// Challenges implements AuthorizationScheme.
func (s *APITokens) Challenges() []string {
	var all []string
	for _, l := range s.libraries {
		all = append(all, l.challenge())
	}
	return all
}

// Take implements Scheme. If several libraries can read a token, each of them tries
// to. If there are several tokens, none counts. A token that may be the
// application's stays in the request, and is returned as IsUnsure if there is no
// other token.
func (s *APITokens) Take(r *http.Request) []Credential {
	if len(r.Header["Authorization"]) == 0 {
		return nil
	}
	var t takenTokens
	claim.TakeAuthorization(r.Header, func(credentials string) bool { return t.take(s.libraries, credentials) })
	switch {
	case t.tokens > 1:
		return []Credential{&rejectedToken{t.own[0].Scheme(), errSeveralTokens}}
	case t.tokens == 1:
		return t.own
	}
	return t.unsure
}

// takenTokens are the API tokens of a request.
type takenTokens struct {
	read        int // how many were looked at
	tokens      int // how many are ours
	own, unsure []Credential
}

// take reads credentials, and reports whether they are ours.
func (t *takenTokens) take(libraries []library, credentials string) bool {
	isOurs := false
	for _, l := range libraries {
		if !l.isAddressed(credentials) {
			continue
		}
		if t.read++; t.read > mostAPITokens*len(libraries) {
			t.own, isOurs = append(t.own, &rejectedToken{l.name(), errSeveralTokens}), true
			break
		}
		switch c, how := l.read(credentials); how {
		case own:
			t.add(c)
			isOurs = true
		case unsure:
			if len(t.unsure) == 0 {
				t.unsure = []Credential{c}
			}
		}
	}
	if isOurs {
		t.tokens++
	}
	return isOurs
}

// add adds a credential. The rejection of a malformed one is noted once, whatever
// the number of libraries that would read it.
func (t *takenTokens) add(c Credential) {
	if _, isRejected := c.(*rejectedToken); isRejected && len(t.own) > 0 {
		return
	}
	if table, ok := c.(*tableToken); ok && table.isLikely && len(t.own) > 0 {
		t.own = append([]Credential{c}, t.own...)
		return
	}
	t.own = append(t.own, c)
}

// Why an API token is rejected. The reasons of SimpleJWT are apitoken.Reason.
const (
	apiTokenMalformed = apiTokenReason("malformed")
	apiTokenUnknown   = apiTokenReason("unknown_token")
	apiTokenExpired   = apiTokenReason("expired")
	apiTokenInactive  = apiTokenReason("inactive_user")
	apiTokenRevoked   = apiTokenReason("revoked")
)

// apiTokenReason is why a token is rejected, by its name in metrics and logs.
type apiTokenReason string

func (r apiTokenReason) String() string { return string(r) }

func (r apiTokenReason) Error() string {
	switch r {
	case apiTokenMalformed:
		return "the Authorization header must have exactly one API token"
	case apiTokenExpired:
		return "the API token has expired"
	case apiTokenInactive:
		return "the user of the API token is inactive"
	case apiTokenRevoked:
		return "an operator has revoked what the user had at that time"
	}
	return "there is no such API token"
}

var (
	errMalformedToken = RejectAs(Malformed, apiTokenMalformed)
	errSeveralTokens  = errMalformedToken
)

// rejectedToken is a credential that is rejected whatever the user's row is.
type rejectedToken struct {
	scheme string
	err    error
}

// Scheme implements Credential.
func (c *rejectedToken) Scheme() string { return c.scheme }

// Subject implements Credential.
func (c *rejectedToken) Subject(context.Context, At) (userstore.Key, error) {
	return userstore.Key{}, c.err
}

// Prove implements Credential.
func (c *rejectedToken) Prove(*userstore.User) error { return c.err }

// Origin implements Credential.
func (*rejectedToken) Origin() (fingerprint string, issued time.Time) { return "", time.Time{} }

// Traits implements Credential.
func (*rejectedToken) Traits() Traits { return Traits{} }
