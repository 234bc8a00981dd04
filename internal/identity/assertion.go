package identity

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/maypok86/otter/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Assertions signs assertions, and caches each until half of its validity has
// passed.
type Assertions struct {
	header  string // its canonical name
	scheme  string // in front of the assertion
	ttl     time.Duration
	maxSize int // of the field's value, in bytes
	claims  []assertedClaim
	columns []string // columns that the claims read as text
	lists   []string // columns that they read as lists
	now     func() time.Time

	warnings warnings

	// Set when the secrets are resolved.
	issuer   string
	audience any // a string, or several
	keys     *assertionKeys

	kept   *otter.Cache[token.PrimaryKey, *assertion]
	signed *atomic.Uint64 // how many were signed
}

// assertedClaim is a claim and the parts of its value.
type assertedClaim struct {
	name  string
	parts []claimPart
	list  string // a list column that is the value; then there are no parts
	names *mapping
}

// claimPart is text, or the value of a column.
type claimPart struct {
	text   string
	column string // or empty
}

// NewAssertions checks the configuration as far as possible without secrets.
func NewAssertions(cfg *AssertionConfig, store userstore.Config) (*Assertions, error) {
	a := &Assertions{
		header: http.CanonicalHeaderKey(cmp.Or(cfg.Header, DefaultAssertionHeader)),
		ttl:    cmp.Or(time.Duration(cfg.TTL), defaultAssertionTTL),
		now:    time.Now,
		signed: new(atomic.Uint64),
	}
	switch {
	case a.ttl < leastAssertionTTL || a.ttl > mostAssertionTTL || a.ttl%time.Second != 0:
		return nil, setting.Errorf("assertion: ttl", "assertion: ttl %s: it must be whole seconds, from %s to %s", a.ttl, leastAssertionTTL, mostAssertionTTL)
	case len(cfg.Audience) == 0:
		return nil, setting.Errorf("assertion: audience", "assertion: audience is missing: name the application, or an assertion would do for any other that trusts the same keys")
	}
	var err error
	if a.maxSize, err = parseMaxSize(cfg.MaxSize); err != nil {
		return nil, setting.Errorf("assertion: max_size", "assertion: %w", err)
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

// addClaim adds a claim, and the columns that it reads.
func (a *Assertions) addClaim(c AssertionClaim, store userstore.Config) error {
	parts, err := parseClaim(c.Value, store)
	switch {
	case err != nil:
		return setting.Errorf("assertion: claim "+c.Name, "assertion: claim %s: %w", c.Name, err)
	case c.Name == "":
		return setting.Errorf("assertion: claim", "assertion: claim: the name is missing")
	case slices.Contains(registeredClaims, c.Name):
		return setting.Errorf("assertion: claim "+c.Name, "assertion: claim %s: the gateway sets this claim; use another name", c.Name)
	case slices.ContainsFunc(a.claims, func(other assertedClaim) bool { return other.name == c.Name }):
		return setting.Errorf("assertion: claim "+c.Name, "assertion: claim %s is set twice", c.Name)
	}
	if first := parts[0].column; len(parts) == 1 && (first == groupsColumn || first == permissionsColumn) {
		names, err := newMapping(c.Map, c.Unmapped)
		if err != nil {
			return setting.Errorf("assertion: claim "+c.Name, "assertion: claim %s: %w", c.Name, err)
		}
		a.claims = append(a.claims, assertedClaim{name: c.Name, list: first, names: names})
		if !slices.Contains(a.lists, first) {
			a.lists = append(a.lists, first)
		}
		return nil
	}
	if len(c.Map) > 0 || c.Unmapped != "" {
		return setting.Errorf("assertion: claim "+c.Name, "assertion: claim %s: map and unmapped are for a value that is a list alone: {%s%s} or {%s%s}",
			c.Name, Placeholder, groupsColumn, Placeholder, permissionsColumn)
	}
	a.claims = append(a.claims, assertedClaim{name: c.Name, parts: parts})
	for _, part := range parts {
		if part.column != "" && !slices.Contains(a.columns, part.column) {
			a.columns = append(a.columns, part.column)
		}
	}
	return nil
}

// parseClaim parses a claim's value. Placeholders of the request are rejected,
// since one assertion is used for many requests.
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
		column, isUsers := strings.CutPrefix(placeholder, Placeholder)
		switch {
		case !closed:
			return nil, fmt.Errorf("%q: the brace } is missing", "{"+placeholder)
		case !isUsers || column == "":
			return nil, fmt.Errorf("{%s}: only {%s<column>} can be in it, since an assertion serves more than one request", placeholder, Placeholder)
		}
		if err := (Columns{Store: store}).check(column); err != nil {
			return nil, err
		}
		parts = append(parts, claimPart{column: column})
		value = rest
	}
	if len(parts) == 0 {
		return nil, errors.New("the value is missing")
	}
	return parts, nil
}

// valueFor returns the claim's value for a user: text, which may be empty, or
// a list, and how many names are left out of that. ok is false if the value isn't
// UTF-8.
func (c *assertedClaim) valueFor(user *userstore.User) (value any, leftOut int, ok bool) {
	if c.list != "" {
		list, leftOut := c.names.of(userList(user, c.list)) // [] and not null
		isBroken := func(name string) bool { return !utf8.ValidString(name) }
		return list, leftOut, !slices.ContainsFunc(list, isBroken)
	}
	var b strings.Builder
	for _, part := range c.parts {
		b.WriteString(part.text)
		if part.column != "" {
			value, _ := Column(user, part.column)
			b.WriteString(value)
		}
	}
	return b.String(), 0, utf8.ValidString(b.String())
}

// Resolve replaces placeholders in names and keys, and reads the keys.
func (a *Assertions) Resolve(cfg *AssertionConfig, settings token.Settings, resolve func(option, value string) (string, error)) error {
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
			return setting.Errorf("assertion: audience", "assertion: audience is empty")
		}
	}
	a.audience = audience
	if len(audience) == 1 {
		a.audience = audience[0] // as most verifiers are used to
	}
	a.keys, err = newAssertionKeys(cfg.Keys, settings, resolve)
	return err
}

// assertion is a signed assertion.
type assertion struct {
	text   string   // the header field's value
	signed int64    // seconds since 1970, by the wall clock
	values []string // of the columns, as the assertion has them
	lists  [][]string
}

// assertionVar is the variable of a request that holds the assertion that was
// set for its user.
const assertionVar = "sesame.assertion"

// set sets the header field with the assertion of the request's user. The
// field's value is stored in value.
func (a *Assertions) set(r *http.Request, user *userstore.User, value []string, logger *zap.Logger) {
	var err error
	if value[0], err = a.of(user, logger); err != nil {
		if a.warnings.isDue("", user.PrimaryKey) {
			logger.Warn("assertion left out", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
		}
		return
	}
	r.Header[a.header] = value
	if a.header == headerAuthorization {
		caddyhttp.SetVar(r.Context(), assertionVar, &value[0])
	}
}

// HideAssertion removes from Authorization the assertion that an earlier
// handler has set, which would be taken for a token there. The returned
// function puts it back.
func HideAssertion(r *http.Request) (putBack func()) {
	set, ok := caddyhttp.GetVar(r.Context(), assertionVar).(*string)
	values := r.Header[headerAuthorization]
	if !ok || len(values) != 1 || values[0] != *set {
		return nil
	}
	delete(r.Header, headerAuthorization)
	return func() { r.Header[headerAuthorization] = values }
}

// CountIn has the assertions that are signed counted.
func (a *Assertions) CountIn(signed *atomic.Uint64) { a.signed = signed }

// KeySet returns the JSON Web Key Set (RFC 7517) with which assertions are
// verified.
func (a *Assertions) KeySet() []byte { return a.keys.set }

// KeyIDs returns the ids of the keys in KeySet. The first key signs.
func (a *Assertions) KeyIDs() []string { return a.keys.ids }

// of returns the assertion for a user: the cached one if it agrees with the
// row and is fresh enough, or a new one.
func (a *Assertions) of(user *userstore.User, logger *zap.Logger) (string, error) {
	now := a.now().Unix()
	if kept, ok := a.kept.GetIfPresent(user.PrimaryKey); ok && a.serves(kept, user, now) {
		return kept.text, nil
	}
	return a.renew(user, now, logger)
}

// renew signs an assertion, unless another request just did.
func (a *Assertions) renew(user *userstore.User, now int64, logger *zap.Logger) (text string, err error) {
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

// serves reports whether an assertion agrees with the user's row, and at least
// half of its validity is left. An assertion from the future was signed before
// the clock was set back.
func (a *Assertions) serves(kept *assertion, user *userstore.User, now int64) bool {
	if now < kept.signed || now-kept.signed >= int64(a.ttl/time.Second)/2 {
		return false
	}
	for i, column := range a.columns {
		if value, _ := Column(user, column); value != kept.values[i] {
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

// sign signs an assertion for a user's row.
func (a *Assertions) sign(user *userstore.User, now int64, logger *zap.Logger) (*assertion, error) {
	if !utf8.ValidString(user.ID()) {
		return nil, errors.New("the primary key isn't UTF-8, as JSON must be")
	}
	claims := map[string]any{
		"iss": a.issuer, "sub": user.ID(), "aud": a.audience,
		"iat": now, "nbf": now, "exp": now + int64(a.ttl/time.Second),
	}
	made := &assertion{signed: now, values: make([]string, len(a.columns))}
	for i, column := range a.columns {
		made.values[i], _ = Column(user, column)
	}
	for _, column := range a.lists {
		made.lists = append(made.lists, userList(user, column))
	}
	own := a.ownClaims(user, logger)
	maps.Copy(claims, own)
	var err error
	for {
		if made.text, err = a.write(claims); err != nil {
			return nil, err
		}
		if len(made.text) <= a.maxSize {
			break
		}
		longest, ok := longestClaim(own)
		if !ok {
			return nil, fmt.Errorf("it has %d bytes without any claim of the user, and max_size is %d", len(made.text), a.maxSize)
		}
		if a.warnings.isDue(longest+" size", user.PrimaryKey) {
			logger.Warn("claim left out of an assertion: with it, the assertion is over max_size, and the application's server might reject the request",
				zap.String("claim", longest), zap.Stringer("user", user.PrimaryKey), zap.Int("size", len(made.text)), zap.Int("max_size", a.maxSize))
		}
		delete(own, longest)
		delete(claims, longest)
	}
	a.signed.Add(1)
	return made, nil
}

// ownClaims are the claims about a user besides the primary key.
func (a *Assertions) ownClaims(user *userstore.User, logger *zap.Logger) map[string]any {
	own := make(map[string]any, len(a.claims))
	for _, c := range a.claims {
		value, leftOut, ok := c.valueFor(user)
		switch {
		case !ok:
			// In JSON, several names would become one.
			if a.warnings.isDue(c.name, user.PrimaryKey) {
				logger.Warn("claim left out of an assertion: its value isn't UTF-8",
					zap.String("claim", c.name), zap.Stringer("user", user.PrimaryKey))
			}
		case value != "":
			own[c.name] = value
		}
		if leftOut > 0 && a.warnings.isDue(c.name+" list", user.PrimaryKey) {
			logger.Warn("names left out of a claim: the application would take them for names of map",
				zap.String("claim", c.name), zap.Stringer("user", user.PrimaryKey), zap.Int("omitted", leftOut))
		}
	}
	return own
}

// longestClaim returns the name of the claim that takes the most room. ok is false if
// there is none.
func longestClaim(claims map[string]any) (longest string, ok bool) {
	most := 0
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		text, _ := json.Marshal(claims[name]) // which are texts and lists of texts
		if len(text) > most {
			longest, most = name, len(text)
		}
	}
	return longest, most > 0
}

// write signs claims, and returns the header field's value.
func (a *Assertions) write(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("writing the claims: %w", err) // unreachable: they are strings and numbers
	}
	signed, err := a.keys.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("writing the signature: %w", err)
	}
	return a.scheme + text, nil
}
