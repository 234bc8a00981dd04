package userstore

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/directive"
	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Defaults of FollowConfig, and its limits.
const (
	DefaultFollowLease    = 2 * time.Second
	DefaultFollowMaxUsers = 1_000_000
	DefaultFollowMaxSize  = 512 << 20

	shortestLease = 100 * time.Millisecond
	longestLease  = time.Minute
)

// FollowConfig says how the server's log of changes, the binlog, is followed, so that
// rows can be used again until they change.
type FollowConfig struct {
	// The DSN of an account that may read the log (`REPLICATION SLAVE`), on the server
	// that answers lookups. Where several servers may answer them, the account alone is
	// taken of it. Default: the DSN that lookups use.
	DSN string `json:"dsn,omitempty"`

	// A file with that DSN, in its place. It is read each time that following begins.
	DSNFile string `json:"dsn_file,omitempty"`

	// For how long rows are used after the server was last known to have reported all
	// changes. While the log is followed, a change ends a row within milliseconds; this
	// is the most if the network or the server fails. Default: 2s.
	Lease caddy.Duration `json:"lease,omitempty"`

	// The most users to keep; sessions and API tokens in tables count, too. Default:
	// 1000000.
	MaxUsers int `json:"max_users,omitempty"`

	// The most memory to use for rows, in bytes. Default: 512 MiB.
	MaxSize int64 `json:"max_size,omitempty"`

	// Whether each request waits until all changes from before it are known, so that it
	// is as if its row had been read after it arrived. Requests that wait together share
	// one question to the server. Default: false.
	Strict bool `json:"strict,omitempty"`
}

// Validate checks the values.
func (c *FollowConfig) Validate() error {
	switch lease := c.lease(); {
	case c.DSN != "" && c.DSNFile != "":
		return setting.Errorf("dsn_file", "dsn_file is set beside dsn: there can be one of them")
	case lease < shortestLease:
		return setting.Errorf("lease", "lease: %s is too short for the answers that it is renewed by: %s is the least", lease, shortestLease)
	case lease > longestLease:
		return setting.Errorf("lease", "lease: %s is too long for users who may no longer log in: %s is the most", lease, longestLease)
	case c.MaxUsers < 0:
		return setting.Errorf("max_users", "max_users is negative; leave it out for the default")
	case c.MaxSize < 0:
		return setting.Errorf("max_size", "max_size is negative; leave it out for the default")
	}
	if c.DSN == "" {
		return nil
	}
	_, err := parseDSN(c.DSN)
	return setting.Of("dsn", err)
}

func (c *FollowConfig) lease() time.Duration {
	return orDefault(time.Duration(c.Lease), DefaultFollowLease)
}

// server is the account and the server to follow: the one that a connector's lookups
// are answered by. isOneOfSeveral says that the DSN's own address doesn't tell which.
func (c *FollowConfig) server(lookups *connector, isOneOfSeveral bool) (*mysql.Config, error) {
	text := c.DSN
	if c.DSNFile != "" {
		var err error
		if text, _, err = readDSN(c.DSNFile); err != nil {
			return nil, err
		}
	}
	own := text != ""
	if !own {
		text = lookups.current.Load().dsn
	}
	cfg, err := parseDSN(text)
	if err != nil {
		return nil, err
	}
	if own && isOneOfSeveral {
		cfg.Net, cfg.Addr = lookups.config().Net, lookups.config().Addr
	}
	cfg.Params = nil // session variables of lookups
	cfg.Logger = lookups.log
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = lookups.limits.query, lookups.limits.query, lookups.limits.query
	if err := lookups.source.tls.set(cfg); err != nil {
		return nil, fmt.Errorf("the TLS options for the server to follow: %w", err)
	}
	return cfg, nil
}

// followOption is the follow option with its block, which may be missing.
func followOption(to **FollowConfig) directive.Option {
	cfg := new(FollowConfig)
	return directive.Block(func() { *to = cfg }, directive.Options{
		"dsn":       directive.Text(&cfg.DSN, "a DSN, as {env.SESAME_FOLLOW_DSN}").Secret(),
		"dsn_file":  directive.Text(&cfg.DSNFile, "a path"),
		"lease":     directive.Duration(&cfg.Lease),
		"max_users": directive.Positive(&cfg.MaxUsers),
		"max_size":  directive.Size(&cfg.MaxSize),
		"strict":    directive.Switch(&cfg.Strict),
	}).HoldingSecrets()
}
