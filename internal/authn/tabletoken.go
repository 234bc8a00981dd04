package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/django/apitoken"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// tokenTable reads tokens that are in a table, as those of Django REST framework's
// authtoken and of django-rest-knox are.
type tokenTable struct {
	scheme  string
	keyword string // in front of a token, in any letter case
	via     *userstore.Via

	// valueOf returns the value of via.Column for a token. ok is false for a text
	// that can't be a token of the library.
	valueOf func(token string) (value string, ok bool)

	// isLikely reports whether a token has the form that the library makes by
	// default, so that it is tried first.
	isLikely func(token string) bool

	refresh *apitoken.KnoxRefresh // nil for tokens whose end stays
	store   func() *userstore.MySQL
	logger  *zap.Logger
}

// The columns of the libraries' tables.
const (
	tokenCreated = "created"
	tokenExpiry  = "expiry"
	tokenKey     = "key"
	tokenDigest  = "digest"
	tokenUser    = "user_id"
)

// newDRF reads tokens of rest_framework.authtoken.
func newDRF(c *APITokenConfig, ways *ways) *tokenTable {
	return &tokenTable{
		scheme:  libraryDRF,
		keyword: c.keyword(),
		via: ways.share(&userstore.Via{
			Name: libraryDRF, Option: "api_token: drf: table", Table: c.table(), Column: tokenKey, User: tokenUser,
			Reads: []string{tokenKey, tokenCreated},
		}),
		valueOf:  func(token string) (string, bool) { return token, apitoken.IsDRFKey(token) },
		isLikely: isDRFForm,
	}
}

// isDRFForm reports whether a token looks as DRF makes keys: 40 hexadecimal
// digits.
func isDRFForm(token string) bool {
	if len(token) != 40 {
		return false
	}
	for i := range len(token) {
		if c := token[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// newKnox reads tokens of django-rest-knox. A token that has expired is not found
// where tokens are extended, since that is for the database to tell.
func newKnox(c *APITokenConfig, env *Environment, ways *ways) *tokenTable {
	generation := c.generation()
	via := &userstore.Via{
		Name: libraryKnox, Option: "api_token: knox: table", Table: c.table(), Column: tokenDigest, User: tokenUser,
		Reads: []string{tokenDigest, tokenCreated, tokenExpiry},
	}
	var refresh *apitoken.KnoxRefresh
	if c.AutoRefresh {
		refresh, via.Until, via.Extends = c.refresh(), tokenExpiry, true
	}
	return &tokenTable{
		scheme:  libraryKnox,
		keyword: c.keyword(),
		via:     ways.share(via),
		valueOf: func(token string) (string, bool) {
			if apitoken.IsJWT(token) {
				return "", false
			}
			knox, err := apitoken.ParseKnox(token, generation)
			return knox.Digest, err == nil
		},
		isLikely: func(token string) bool { return !isDRFForm(token) },
		refresh:  refresh,
		store:    env.Store,
		logger:   env.Logger,
	}
}

func (t *tokenTable) name() string { return t.scheme }

func (t *tokenTable) challenge() string { return t.keyword }

// addNeeds implements library.
func (t *tokenTable) addNeeds(needs *userstore.Needs) { addVia(needs, t.via) }

// addVia adds a way that two libraries may share.
func addVia(needs *userstore.Needs, via *userstore.Via) {
	if !slices.Contains(needs.Vias, via) {
		needs.Vias = append(needs.Vias, via)
	}
}

func (t *tokenTable) isAddressed(credentials string) bool {
	_, ok := claim.AfterScheme(credentials, t.keyword)
	return ok
}

// read implements library.
func (t *tokenTable) read(credentials string) (Credential, certainty) {
	token, err := apitoken.FromHeader(credentials, t.keyword)
	switch {
	case errors.Is(err, apitoken.ErrOtherScheme):
		return nil, others
	case err != nil:
		return &rejectedToken{t.scheme, errMalformedToken}, own
	}
	value, ok := t.valueOf(token)
	if !ok {
		if _, isQuoted := t.valueOf(strings.Trim(token, "\"'`<>()[]{};")); isQuoted {
			return &rejectedToken{t.scheme, errMalformedToken}, own
		}
		return nil, others
	}
	return &tableToken{table: t, value: value, isLikely: t.isLikely(token)}, own
}

// tableToken is a token whose row has the user.
type tableToken struct {
	table    *tokenTable
	value    string // of the row
	isLikely bool
	now      time.Time
	issued   time.Time
	until    time.Time // zero where it isn't known
}

// Scheme implements Credential.
func (c *tableToken) Scheme() string { return c.table.scheme }

// Subject implements Credential.
func (c *tableToken) Subject(_ context.Context, at At) (userstore.Key, error) {
	c.now = at.Now
	return c.table.via.Key(c.value), nil
}

// Prove implements Credential. The database has compared the value as its
// collation does.
func (c *tableToken) Prove(user *userstore.User) error {
	row := user.Via()
	value, _ := row.Value(c.table.via.Column)
	if subtle.ConstantTimeCompare([]byte(value), []byte(c.value)) == 0 {
		return Reject(apiTokenUnknown)
	}
	c.issued, _ = row.Time(tokenCreated)
	ends, ok := row.Time(tokenExpiry)
	if _, isSet := row.Value(tokenExpiry); isSet && (!ok || apitoken.KnoxExpired(&ends, c.now)) {
		return Stale{RejectAs(Expired, apiTokenExpired)} // also what is no time
	}
	if ok && c.table.refresh == nil {
		c.until = ends // as no other request can have it end later
	}
	return nil
}

// Origin implements Credential. To revoke one token, its row is deleted.
func (c *tableToken) Origin() (fingerprint string, issued time.Time) { return "", c.issued }

// tableReasons are the reasons to reject tokens in tables.
var tableReasons = &Reasons{
	UnknownUser:  Reject(apiTokenUnknown),
	InactiveUser: Reject(apiTokenInactive),
	Revoked:      Stale{Reject(apiTokenRevoked)},
}

// Traits implements Credential.
func (c *tableToken) Traits() Traits {
	return Traits{Guess: c.table.scheme + "\x00" + c.value, Until: c.until, OutlivesPassword: true, Reasons: tableReasons}
}

// Refresh implements RefreshedCredential: knox's AUTO_REFRESH moves the end of a
// token in use. A token is valid even if it can't be extended.
func (c *tableToken) Refresh(r *http.Request, user *userstore.User) {
	if c.table.refresh == nil {
		return
	}
	ends, ok := user.Via().Time(tokenExpiry)
	if !ok {
		return
	}
	by := userstore.Extension{By: c.table.refresh.TTL, AtLeast: c.table.refresh.MinInterval}
	if c.table.refresh.MaxTTL > 0 {
		text, _ := user.Via().Value(tokenCreated)
		created, err := time.Parse("2006-01-02 15:04:05.999999", text)
		if err != nil {
			return
		}
		by.Latest = created.Add(c.table.refresh.MaxTTL)
	}
	if _, isDue := c.table.refresh.Expiry(c.issued, &ends, c.now); !isDue {
		return
	}
	ctx := context.WithoutCancel(r.Context())
	if _, err := c.table.store().Extend(ctx, c.table.via.Key(c.value), user, c.now, by); err != nil {
		c.table.logger.Warn("an API token of knox could not be extended", zap.Error(err))
	}
}
