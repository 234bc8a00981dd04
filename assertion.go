package sesame

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// AssertionConfig has each request of a user carry a signed assertion of who
// that is: a JSON Web Token (RFC 7519), which an application on another host
// can verify, where a plain header field would have to be trusted. Its claims
// are `iss`, `sub` (the primary key), `aud`, `iat`, `nbf`, `exp`, and those in
// `claims`. It is signed with Ed25519 (`alg` is `EdDSA`), and the public keys
// are at `jwks.json` below `reserved_path`.
//
// An assertion is signed once for a user and a window of time, and serves all
// requests of that window. It is never older than the user's row: what changes
// there is in the next request's assertion.
type AssertionConfig struct {
	// The header field that carries the assertion. No client can set it.
	// `Authorization` has `Bearer` in front of it, as most software expects;
	// the field that a client sent ends here. Caddy hides it in all of its
	// logs. Of any other field, its proxies log the value at level DEBUG, and at
	// ERROR when an upstream breaks off. Default: `Authorization`.
	Header string `json:"header,omitempty"`

	// Whom the assertion is for: a name for the application, which it must
	// find there. Without that, an assertion for one application would do for
	// any other that trusts the same keys. Required.
	Audience []string `json:"audience,omitempty"`

	// Who made the assertion. Default: `caddy-sesame`.
	Issuer string `json:"issuer,omitempty"`

	// How long an assertion is valid, in whole seconds from 2s to 1h. It is
	// renewed when less than half of that is left. Default: 60s.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// What the assertion says of the user besides the primary key. Default:
	// `preferred_username`, `email`, and `groups` where groups are read.
	Claims []AssertionClaim `json:"claims,omitempty"`

	// Private keys: Ed25519, in PEM, as `openssl genpkey -algorithm ed25519`
	// writes them. The first signs; all are published, so that keys can be
	// changed. Placeholders as in `secret_key`. Default: keys that are derived
	// from `secret_key` and, published only, from `secret_key_fallbacks`. Then
	// whoever knows SECRET_KEY can sign.
	Keys []string `json:"keys,omitempty"`
}

// AssertionClaim is a claim of an assertion.
type AssertionClaim struct {
	// The name of the claim.
	Name string `json:"name"`

	// Its value: text, in which `{http.auth.user.<column>}` stands for what the
	// store reads. Nothing else of a request can be in it. Where the value is
	// empty, there is no such claim. `{http.auth.user.groups}` alone, or
	// `permissions`, is a list of all names, which may be empty.
	Value string `json:"value"`
}

// The defaults and limits of AssertionConfig.
const (
	defaultAssertionHeader = headerAuthorization
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
	{Name: "preferred_username", Value: "{" + userPlaceholder + "username}"},
	{Name: "email", Value: "{" + userPlaceholder + "email}"},
}

// groupsClaim is one of them where groups are read.
var groupsClaim = AssertionClaim{Name: "groups", Value: "{" + userPlaceholder + groupsColumn + "}"}

// registeredClaims are those that the gateway decides (RFC 7519, section 4.1).
// There is no jti: it would tell a verifier to refuse a second use, and an
// assertion is used for many requests.
var registeredClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// assertions makes assertions, and keeps them for as long as they serve.
type assertions struct {
	header  string // its canonical name
	scheme  string // in front of the assertion
	ttl     time.Duration
	claims  []assertedClaim
	columns []string // what the claims take of a row as text
	lists   []string // what they take as lists
	now     func() time.Time

	// Set when the secrets are resolved.
	issuer   string
	audience any // a string, or several
	keys     *assertionKeys

	kept *otter.Cache[token.PrimaryKey, *assertion]
}

// assertedClaim is a claim and what its value is made of.
type assertedClaim struct {
	name  string
	parts []claimPart
	list  string // the column whose names are the value, in the place of parts
}

// claimPart is text, or the value of a column.
type claimPart struct {
	text   string
	column string // or empty
}

// newAssertions checks what can be checked without secrets.
func newAssertions(cfg *AssertionConfig, store userstore.Config) (*assertions, error) {
	a := &assertions{
		header: http.CanonicalHeaderKey(cmp.Or(cfg.Header, defaultAssertionHeader)),
		ttl:    cmp.Or(time.Duration(cfg.TTL), defaultAssertionTTL),
		now:    time.Now,
	}
	switch {
	case a.ttl < leastAssertionTTL || a.ttl > mostAssertionTTL || a.ttl%time.Second != 0:
		return nil, fmt.Errorf("assertion: ttl %s: it must be whole seconds, from %s to %s", a.ttl, leastAssertionTTL, mostAssertionTTL)
	case len(cfg.Audience) == 0:
		return nil, errors.New("assertion: audience is missing: name the application, or an assertion would do for any other that trusts the same keys")
	}
	if a.header == headerAuthorization {
		a.scheme = "Bearer " // RFC 6750, section 2.1
	}
	claims := cfg.Claims
	if len(claims) == 0 {
		claims = defaultClaims
		if store.Groups != nil {
			claims = append(slices.Clip(claims), groupsClaim)
		}
	}
	for _, c := range claims {
		if err := a.addClaim(c, store); err != nil {
			return nil, err
		}
	}
	return a, a.openKept()
}

// addClaim takes in a claim, and what it takes of a row.
func (a *assertions) addClaim(c AssertionClaim, store userstore.Config) error {
	parts, err := parseClaim(c.Value, store)
	switch {
	case err != nil:
		return fmt.Errorf("assertion: claim %s: %w", c.Name, err)
	case c.Name == "":
		return errors.New("assertion: claim: the name is missing")
	case slices.Contains(registeredClaims, c.Name):
		return fmt.Errorf("assertion: claim %s: the gateway decides about that one; use another name", c.Name)
	case slices.ContainsFunc(a.claims, func(other assertedClaim) bool { return other.name == c.Name }):
		return fmt.Errorf("assertion: claim %s is there twice", c.Name)
	}
	if first := parts[0].column; len(parts) == 1 && (first == groupsColumn || first == permissionsColumn) {
		a.claims = append(a.claims, assertedClaim{name: c.Name, list: first})
		if !slices.Contains(a.lists, first) {
			a.lists = append(a.lists, first)
		}
		return nil
	}
	a.claims = append(a.claims, assertedClaim{name: c.Name, parts: parts})
	for _, part := range parts {
		if part.column != "" && !slices.Contains(a.columns, part.column) {
			a.columns = append(a.columns, part.column)
		}
	}
	return nil
}

// parseClaim takes a claim's value apart. Placeholders of the request have no
// place in what serves many requests.
func parseClaim(value string, store userstore.Config) ([]claimPart, error) {
	var parts []claimPart
	for value != "" {
		text, rest, found := strings.Cut(value, "{")
		if text != "" {
			parts = append(parts, claimPart{text: text})
		}
		if !found {
			break
		}
		placeholder, rest, closed := strings.Cut(rest, "}")
		column, isUsers := strings.CutPrefix(placeholder, userPlaceholder)
		switch {
		case !closed:
			return nil, fmt.Errorf("%q: the brace } is missing", "{"+placeholder)
		case !isUsers || column == "":
			return nil, fmt.Errorf("{%s}: only {%s<column>} can be in it, since an assertion serves more than one request", placeholder, userPlaceholder)
		case (column == groupsColumn || column == permissionsColumn) && !readsColumn(store, column):
			return nil, fmt.Errorf("{%s}: the store doesn't read them; add %s to userstore", placeholder, column)
		case !readsColumn(store, column):
			return nil, fmt.Errorf("{%s}: the store reads no column %q; name it in columns of userstore", placeholder, column)
		}
		parts = append(parts, claimPart{column: column})
		value = rest
	}
	if len(parts) == 0 {
		return nil, errors.New("the value is missing")
	}
	return parts, nil
}

// valueFor is the claim's value for a user: text, which may be empty, or a
// list. ok is false for what JSON can't carry.
func (c *assertedClaim) valueFor(user *userstore.User) (value any, ok bool) {
	if c.list != "" {
		list := append([]string{}, userList(user, c.list)...) // [] and not null
		isBroken := func(name string) bool { return !utf8.ValidString(name) }
		return list, !slices.ContainsFunc(list, isBroken)
	}
	var b strings.Builder
	for _, part := range c.parts {
		b.WriteString(part.text)
		if part.column != "" {
			value, _ := userColumn(user, part.column)
			b.WriteString(value)
		}
	}
	return b.String(), utf8.ValidString(b.String())
}

// permissionsColumn is what the list of permissions is called among the user's
// columns.
const permissionsColumn = "permissions"

// readsColumn reports whether {http.auth.user.<column>} can have a value with a
// store, by its configuration.
func readsColumn(store userstore.Config, column string) bool {
	reads, columns := store.Reads(userstore.Needs{}), store.Columns
	switch column {
	case "id", "username", "email":
		return true
	case groupsColumn:
		return reads.Groups
	case permissionsColumn:
		return reads.Permissions
	case userstore.NoColumn:
		return false
	case columns.Username, columns.Email:
		return true
	}
	if column == "is_staff" && reads.Staff || column == "is_superuser" && reads.Superuser {
		return true
	}
	same := func(extra string) bool { return strings.EqualFold(extra, column) } // the table's spelling, too
	return slices.ContainsFunc(columns.Extra, same)
}

// userList is a list that the store reads of a user.
func userList(user *userstore.User, column string) []string {
	if column == permissionsColumn {
		return user.Permissions()
	}
	return user.Groups()
}

// resolve takes in what may be placeholders: names and keys.
func (a *assertions) resolve(cfg *AssertionConfig, settings token.Settings, resolve func(option, value string) (string, error)) error {
	var err error
	if a.issuer, err = resolve("assertion: issuer", cmp.Or(cfg.Issuer, defaultAssertionIssuer)); err != nil {
		return err
	}
	audience := make([]string, len(cfg.Audience))
	for i, name := range cfg.Audience {
		if audience[i], err = resolve("assertion: audience", name); err != nil {
			return err
		}
		if audience[i] == "" {
			return errors.New("assertion: audience is empty")
		}
	}
	a.audience = audience
	if len(audience) == 1 {
		a.audience = audience[0] // as most verifiers are used to
	}
	a.keys, err = newAssertionKeys(cfg.Keys, settings, resolve)
	return err
}

// assertion is one that was signed.
type assertion struct {
	text   string   // the header field's value
	signed int64    // seconds since 1970, by the wall clock
	values []string // of the columns, as the assertion has them
	lists  [][]string
}

// Limits of what is kept. A user who finds no room gets an assertion all the
// same, signed for the request.
const (
	mostKeptAssertions = 32 << 20 // bytes
	restOfAssertion    = 256      // bytes of an entry besides its strings, about
	restOfString       = 16       // bytes of a string besides its text
)

// size is about what an assertion takes of the memory.
func (k *assertion) size() int {
	size := restOfAssertion + len(k.text)
	for _, values := range append(k.lists[:len(k.lists):len(k.lists)], k.values) {
		for _, value := range values {
			size += restOfString + len(value)
		}
	}
	return size
}

// openKept makes what assertions are kept in. It runs nothing that would have
// to be stopped, as nothing in it expires by itself.
func (a *assertions) openKept() error {
	var err error
	a.kept, err = otter.New(&otter.Options[token.PrimaryKey, *assertion]{
		MaximumWeight: mostKeptAssertions,
		Weigher: func(_ token.PrimaryKey, kept *assertion) uint32 {
			return uint32(min(kept.size(), mostKeptAssertions)) //nolint:gosec // no more than that
		},
		Logger: &otter.NoopLogger{},
	})
	if err != nil {
		return fmt.Errorf("assertion: %w", err)
	}
	return nil
}

// assertionVar is the variable of a request that holds the assertion that was
// set for its user.
const assertionVar = "sesame.assertion"

// set has a request carry the assertion for its user, whose value lies in value.
func (a *assertions) set(r *http.Request, user *userstore.User, value []string, logger *zap.Logger) {
	var err error
	if value[0], err = a.of(user, logger); err != nil {
		logger.Warn("assertion left out", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
		return
	}
	r.Header[a.header] = value
	if a.header == headerAuthorization {
		caddyhttp.SetVar(r.Context(), assertionVar, &value[0])
	}
}

// hideAssertion takes the assertion that an earlier handler has set out of
// Authorization, where it would be taken for a token. What it returns puts it
// back.
func hideAssertion(r *http.Request) (putBack func()) {
	set, ok := caddyhttp.GetVar(r.Context(), assertionVar).(*string)
	values := r.Header[headerAuthorization]
	if !ok || len(values) != 1 || values[0] != *set {
		return nil
	}
	delete(r.Header, headerAuthorization)
	return func() { r.Header[headerAuthorization] = values }
}

// of returns the assertion for a user: the one that is kept, if it says what
// the row says and is fresh enough, or a new one.
func (a *assertions) of(user *userstore.User, logger *zap.Logger) (string, error) {
	now := a.now().Unix()
	if kept, ok := a.kept.GetIfPresent(user.PrimaryKey); ok && a.serves(kept, user, now) {
		return kept.text, nil
	}
	return a.renew(user, now, logger)
}

// renew signs an assertion, unless another request just did.
func (a *assertions) renew(user *userstore.User, now int64, logger *zap.Logger) (text string, err error) {
	a.kept.Compute(user.PrimaryKey, func(kept *assertion, found bool) (*assertion, otter.ComputeOp) {
		if found && a.serves(kept, user, now) {
			text = kept.text
			return nil, otter.CancelOp
		}
		var made *assertion
		if made, err = a.sign(user, now, logger); err != nil {
			return nil, otter.CancelOp
		}
		text = made.text
		return made, otter.WriteOp
	})
	return text, err
}

// serves reports whether an assertion says of a user what the row says, and
// half of its time is left. One from the future was signed before the clock was
// set back.
func (a *assertions) serves(kept *assertion, user *userstore.User, now int64) bool {
	if now < kept.signed || now-kept.signed >= int64(a.ttl/time.Second)/2 {
		return false
	}
	for i, column := range a.columns {
		if value, _ := userColumn(user, column); value != kept.values[i] {
			return false
		}
	}
	for i, column := range a.lists {
		if !slices.Equal(userList(user, column), kept.lists[i]) {
			return false
		}
	}
	return true
}

// sign makes an assertion of a user's row.
func (a *assertions) sign(user *userstore.User, now int64, logger *zap.Logger) (*assertion, error) {
	if !utf8.ValidString(user.ID()) {
		return nil, errors.New("the primary key isn't UTF-8, as JSON must be")
	}
	claims := map[string]any{
		"iss": a.issuer, "sub": user.ID(), "aud": a.audience,
		"iat": now, "nbf": now, "exp": now + int64(a.ttl/time.Second),
	}
	made := &assertion{signed: now, values: make([]string, len(a.columns))}
	for i, column := range a.columns {
		made.values[i], _ = userColumn(user, column)
	}
	for _, column := range a.lists {
		made.lists = append(made.lists, userList(user, column))
	}
	for _, c := range a.claims {
		value, ok := c.valueFor(user)
		switch {
		case !ok:
			// In JSON, several names would become one.
			logger.Warn("claim left out of an assertion: its value isn't UTF-8",
				zap.String("claim", c.name), zap.Stringer("user", user.PrimaryKey))
		case value != "":
			claims[c.name] = value
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, fmt.Errorf("writing the claims: %w", err) // unreachable: they are strings and numbers
	}
	signed, err := a.keys.signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("writing the signature: %w", err)
	}
	made.text = a.scheme + text
	counted.assertions.Add(1)
	return made, nil
}
