// Package limit limits how many rejected credentials a client may send, and has a
// queue for the lookups of clients over the limit.
package limit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Config limits how often a client may guess: how many different rejected tokens or
// session cookies it may send that may have been made without the key. A client is
// an address of IPv4, or a network /64 of IPv6, as Caddy's `trusted_proxies` and
// `trusted_proxies_strict` tell it.
//
// A client over the limit gets 429 where it would get 401. A valid token or session
// of such a client is still served, after its turn in a queue of its own, so that
// one user doesn't lock out the others at a shared address.
type Config struct {
	// How many failures a client may have at once. Default: 100.
	Failures int `json:"failures,omitempty"`

	// The time in which that many failures are forgiven, one after the other. 24h
	// at most. Default: 1m.
	Per caddy.Duration `json:"per,omitempty"`

	// Whether there is no limit. Default: false.
	Off bool `json:"off,omitempty"`
}

// The defaults of Config, and its longest time. A page with fifty images that are
// all requested with an invalid cookie or link is one mistake of one user.
const (
	defaultFailures = 100
	defaultPer      = time.Minute
	longestPer      = 24 * time.Hour
)

// Validate checks the limit, which may be nil.
func (l *Config) Validate() error {
	switch {
	case l == nil:
		return nil
	case l.Failures < 0 || l.Failures > math.MaxInt32:
		return fmt.Errorf("limit_failures %d: it must be a number of failures, at least 1", l.Failures)
	case l.Per < 0 || time.Duration(l.Per) > longestPer:
		return fmt.Errorf("limit_failures: per %s: it must be a duration such as 1m, at most %s", time.Duration(l.Per), longestPer)
	case l.Off && (l.Failures != 0 || l.Per != 0):
		return errors.New("limit_failures: it can't be off and have a number")
	}
	return nil
}

// WithDefaults returns the limit with its defaults filled in. l may be nil.
func (l *Config) WithDefaults() Config {
	limit := Config{Failures: defaultFailures, Per: caddy.Duration(defaultPer)}
	if l != nil {
		limit.Off = l.Off
		if l.Failures > 0 {
			limit.Failures = l.Failures
		}
		if l.Per > 0 {
			limit.Per = l.Per
		}
	}
	return limit
}

// ParseArgs reads the values of limit_failures: a number per duration, or off.
func ParseArgs(args []string) (*Config, error) {
	const form = "limit_failures: it must be a number per time, such as 20 per 1m, or off"
	if len(args) == 1 && args[0] == "off" {
		return &Config{Off: true}, nil
	}
	if len(args) == 0 {
		return nil, errors.New(form + "; there is nothing")
	}
	if len(args) != 3 || args[1] != "per" {
		return nil, fmt.Errorf("%s, not %q", form, strings.Join(args, " "))
	}
	failures, err := strconv.Atoi(args[0])
	if err != nil || failures < 1 {
		return nil, fmt.Errorf("%s; %q is no number of at least 1", form, args[0])
	}
	per, err := caddy.ParseDuration(args[2])
	if err != nil || per <= 0 {
		return nil, fmt.Errorf("%s; %q is no time, which has a number and a unit: s, m, h or d", form, args[2])
	}
	return &Config{Failures: failures, Per: caddy.Duration(per)}, nil
}
