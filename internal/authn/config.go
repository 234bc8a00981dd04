package authn

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Config is a block of the configuration that turns a scheme on.
type Config interface {
	// Option is the block's name in the configuration.
	Option() string

	// Validate returns the first error that can be found without secrets and
	// without a database. It names the option within the block (see
	// internal/setting).
	Validate() error

	// New makes the scheme.
	New(*Environment) (ConfiguredScheme, error)
}

// A ConfiguredScheme is a Scheme that a Config turns on.
type ConfiguredScheme interface {
	Scheme

	// AddNeeds adds what the scheme needs from the store, which is opened
	// afterwards.
	AddNeeds(*userstore.Needs)

	// Cookies are the names of the cookies that it takes, without __Host-.
	Cookies() []string
}

// An AuthorizationScheme takes credentials from Authorization.
type AuthorizationScheme interface {
	// IsAuthorization reports whether credentials, with the name of their scheme
	// in front, are this scheme's.
	IsAuthorization(credentials string) bool

	// Challenges are the scheme's challenges for WWW-Authenticate (RFC 9110,
	// section 11.6.1).
	Challenges() []string
}

// A SchemeGroup is a Scheme that makes credentials of several schemes, with other
// names than its own.
type SchemeGroup interface {
	Scheme

	// Names returns the names of the credentials' schemes.
	Names() []string
}

// Environment has what a scheme is made with.
type Environment struct {
	// Settings are the token settings, with SECRET_KEY and its fallbacks.
	Settings token.Settings

	// Resolve replaces the placeholders in a secret, which is the value of the
	// named option.
	Resolve func(option, secret string) (string, error)

	// Store returns the store, once requests come.
	Store func() *userstore.MySQL

	Now func() time.Time

	// TimeZone is the time zone of database times that have none.
	TimeZone *time.Location

	Logger *zap.Logger

	// Users identifies the configured table of users, for what a scheme keeps
	// across reloads.
	Users string

	// Hashed counts the passwords that are hashed; nil if nothing reads it.
	Hashed *atomic.Uint64

	// Realm is the configured one, which may be empty.
	Realm string

	// AsksPassword: the login page has a form for passwords.
	AsksPassword bool

	// Remember is how long a session lasts of a user who chooses to be remembered; 0
	// if that is not offered.
	Remember time.Duration
}
