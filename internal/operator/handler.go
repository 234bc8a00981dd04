// Package operator does the work of the commands and of the admin API: it
// makes, explains and revokes tokens, checks a configuration against its
// database, and imports a Django project's settings.
//
// It knows a handler only by the fields of Handler, which the module fills in.
package operator

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/cookie"
	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Handler has the properties of a sesame handler, in a configuration's file or in
// the running process.
type Handler struct {
	Issues Issues

	// Settings returns the token settings, checked, with the secrets in them. An
	// error names the environment variable or the file that is missing.
	Settings func() (token.Settings, error)

	// Store returns the configuration of the primary server, with its secrets, and
	// the columns that tokens and requirements need.
	Store func() (userstore.Config, userstore.Needs, error)

	// Validate checks all that can be checked without secrets and without a
	// database.
	Validate func() error

	// Follows returns what reads the server's binlog; nil where it isn't followed.
	Follows func() (userstore.Follower, error)

	// Warnings returns likely mistakes in the configuration of a handler on a site
	// of these hosts. The handler starts all the same.
	Warnings func(hosts []string) []Warning

	// Constants are warnings about identity fields that are the same for every user.
	Constants []Warning

	// Placeholders are warnings about placeholders that have no value, or aren't
	// replaced.
	Placeholders []Warning

	// AssertionKeys returns the IDs of the keys of assertions, the current key
	// first, and whether that key is derived from secret_key. It is nil without
	// assertions.
	AssertionKeys func(token.Settings) (ids []string, isDerived bool, err error)

	// LogsAssertions is whether Caddy's proxies would log assertions at DEBUG.
	LogsAssertions bool

	// HelpURL is where users get a new link, if they can't be on their way there
	// without one.
	HelpURL string

	// Sessions returns the maker of the session cookies that go with tokens, or nil
	// without sessions.
	Sessions func(*token.Tokens) (*session.Sessions, error)

	// SessionCookie is the cookie of these sessions.
	SessionCookie cookie.Cookie

	// Schemes returns the configured schemes of credentials other than tokens,
	// sessions of the gateway and passwords. They take the time from now, and the
	// store, opened with their needs, from store.
	Schemes func(store func() *userstore.MySQL, now func() time.Time) ([]authn.ConfiguredScheme, error)

	// AddNeeds adds the needs of the configured schemes, including passwords.
	AddNeeds func(*userstore.Needs) error

	// Passwords returns the hashers of passwords, and whether users with a second
	// factor are rejected. It is nil if passwords aren't accepted.
	Passwords func() (hashers *password.Hashers, rejectsSecondFactor bool, err error)

	// SessionMaxAge is how long sessions last at the latest, or 0 without sessions.
	SessionMaxAge time.Duration

	// SessionTable is the table that sessions are in, or empty for none.
	SessionTable string

	// HasReplicas is whether gateways read users from replicas, too, and Cached for
	// how long they may go by a row that they have read; 0 is not at all.
	HasReplicas bool
	Cached      time.Duration

	// Mail is the mail server, or nil if no mail is sent.
	Mail *mail.Config

	// WritesLastLogin is whether a login writes last_login.
	WritesLastLogin bool

	// Live is nil unless the handler runs in this process.
	Live *Live
}

// Warning is about a configuration that is likely to be wrong.
type Warning struct {
	Text   string
	Advice string // what to do about it
}

// Issues has the configuration that a handler's tokens, and links with them, depend
// on, with placeholders in place of secrets. Handlers with equal Issues issue the
// same tokens.
type Issues struct {
	TokenName      string // of the query parameter
	FromQuery      bool   // whether links work
	Scope          string // a template
	Tokens         []string
	Settings       token.Settings
	PackerEncoding string
	Store          userstore.Config
}

// Live is a handler that runs.
type Live struct {
	Store   Store
	Cache   *userstore.Cache     // nil for none
	Follows *userstore.Following // nil for none
	Tokens  func(ctx context.Context) (*token.Tokens, error)
	Logger  *zap.Logger
}

// Users are the methods of a store that making and explaining tokens needs.
type Users interface {
	Schema(ctx context.Context) (userstore.Schema, error)
	Lookup(ctx context.Context, pk token.PrimaryKey) (*userstore.User, error)
	LookupMany(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error)
	FindMany(ctx context.Context, by userstore.Field, values []string) (map[string][]*userstore.User, error)
}

// Store are the methods that a running store must have.
type Store interface {
	Users
	Stats() userstore.Stats
	Servers() []userstore.ServerStats
	Ping(ctx context.Context) error
}

// Decode reads a handler from the JSON of a configuration.
type Decode func(raw json.RawMessage) (*Handler, error)

// Source gives access to the handlers that run in this process.
type Source struct {
	// List returns them in the order in which they were provisioned.
	List func() []*Handler
	// Of returns what List has for a handler of a route, or nil for a handler of
	// another module.
	Of func(caddyhttp.MiddlewareHandler) *Handler
	// Reasons counts requests by outcome, since Caddy was started.
	Reasons func() map[string]uint64
}
