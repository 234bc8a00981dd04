package identity

import (
	"time"

	"github.com/caddyserver/caddy/v2"
)

// AssertionConfig has each request of a user carry a signed assertion of the user's
// identity: a JSON Web Token (RFC 7519), which an application on another host
// can verify, where a plain header field would have to be trusted. Its claims
// are `iss`, `sub` (the primary key), `aud`, `iat`, `nbf`, `exp`, and those in
// `claims`. It is signed with Ed25519 (`alg` is `EdDSA`), and the public keys
// are at `jwks.json` below `reserved_path`.
//
// An assertion is signed once for a user and a window of time, and serves all
// requests of that window. It is never older than the user's row: a change of
// the row shows in the next request's assertion.
type AssertionConfig struct {
	// The header field that carries the assertion. No client can set it.
	// `Authorization` has `Bearer` in front of it, as most software expects;
	// the client's own Authorization is removed. Caddy hides this field in all
	// of its logs. The value of any other field is logged by its proxies at
	// level DEBUG, and at ERROR when an upstream breaks off. Default:
	// `Authorization`.
	Header string `json:"header,omitempty"`

	// The application that the assertion is for, by a name that the
	// application checks. Without it, an assertion for one application would
	// be valid for any other that trusts the same keys. Required.
	Audience []string `json:"audience,omitempty"`

	// The issuer of the assertion. Default: `caddy-sesame`.
	Issuer string `json:"issuer,omitempty"`

	// How long an assertion is valid, in whole seconds from 2s to 1h. It is
	// renewed when less than half of that is left. Default: 60s.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// The claims about the user besides the primary key. Default:
	// `preferred_username`, `email`, and `groups` where groups are read.
	Claims []AssertionClaim `json:"claims,omitempty"`

	// The most bytes of the header field's value, up to 64000. Of a longer assertion,
	// claims in `claims` are left out, the longest first, until it is short enough.
	// Default: 8000, which is what nginx, Apache and gunicorn accept in a field.
	MaxSize int64 `json:"max_size,omitempty"`

	// Private keys: Ed25519, in PEM, as `openssl genpkey -algorithm ed25519`
	// writes them. The first signs; all are published, so that keys can be
	// changed. Placeholders as in `secret_key`. Default: keys that are derived
	// from `secret_key` and, published only, from `secret_key_fallbacks`. Then
	// any program that knows SECRET_KEY can sign.
	Keys []string `json:"keys,omitempty"`
}

// AssertionClaim is a claim of an assertion.
type AssertionClaim struct {
	// The name of the claim.
	Name string `json:"name"`

	// Its value: text with placeholders `{http.auth.user.<column>}` for
	// columns that the store reads. Other placeholders are not allowed. If the
	// value is empty, the claim is left out. `{http.auth.user.groups}` alone,
	// or `permissions`, is the list of all names, which may be empty.
	Value string `json:"value"`

	// The names by which the application knows the groups, or the permissions, where
	// the value is `{http.auth.user.groups}` or `{http.auth.user.permissions}`.
	Map []GroupMapping `json:"map,omitempty"`

	// What becomes of groups that `map` doesn't name: `keep` or `drop`. With `keep`, a
	// group that is called like one of the application's names is left out all the
	// same, so that no user is in a group by its name alone. Default: `drop`.
	Unmapped string `json:"unmapped,omitempty"`
}

// The defaults and limits of AssertionConfig.
const (
	DefaultAssertionHeader = headerAuthorization
	defaultAssertionIssuer = "caddy-sesame"
	defaultAssertionTTL    = time.Minute
	leastAssertionTTL      = 2 * time.Second
	mostAssertionTTL       = time.Hour
)

// headerAuthorization is the header field that Caddy hides in its logs.
const headerAuthorization = "Authorization"

// defaultClaims is used where claims is not set. The names are those of OpenID
// Connect Core 1.0, section 5.1.
var defaultClaims = []AssertionClaim{
	{Name: "preferred_username", Value: "{" + Placeholder + "username}"},
	{Name: "email", Value: "{" + Placeholder + "email}"},
}

// groupsClaim is a default claim if groups are read.
var groupsClaim = AssertionClaim{Name: "groups", Value: "{" + Placeholder + groupsColumn + "}"}

// registeredClaims are the claims that the gateway sets (RFC 7519, section
// 4.1). There is no jti: it would tell a verifier to reject a second use, and
// an assertion is used for many requests.
var registeredClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}
