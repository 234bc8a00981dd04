package sesame

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// shortest is the least that a duration in a configuration can mean. A number
// in JSON is nanoseconds, and 600 of them were meant to be seconds.
const shortest = time.Millisecond

// checkDurations rejects durations that are too short to be meant.
func (h *Handler) checkDurations() error {
	type duration struct {
		option string
		value  caddy.Duration
	}
	store := &h.UserStore
	all := []duration{
		{"userstore: query_timeout", store.QueryTimeout},
		{"userstore: conn_max_lifetime", store.ConnMaxLifetime},
		{"userstore: conn_max_idle_time", store.ConnMaxIdleTime},
	}
	if h.MaxAge != nil {
		all = append(all, duration{"max_age", *h.MaxAge})
	}
	if h.Watch != nil {
		all = append(all, duration{"watch", *h.Watch})
	}
	if h.Session != nil {
		all = append(all, duration{"session: max_age", h.Session.MaxAge}, duration{"session: idle", h.Session.Idle})
	}
	if h.Cache != nil {
		all = append(all, duration{"cache: for", h.Cache.For})
	}
	if h.Assertion != nil {
		all = append(all, duration{"assertion: ttl", h.Assertion.TTL})
	}
	if h.LimitFailures != nil {
		all = append(all, duration{"limit_failures: per", h.LimitFailures.Per})
	}
	for _, d := range all {
		if d.value != 0 && time.Duration(d.value).Abs() < shortest {
			return setting.Errorf(d.option, "%s: %s is too short to be meant: a number in JSON is nanoseconds; write seconds as %q",
				d.option, time.Duration(d.value), fmt.Sprintf("%ds", int64(d.value)))
		}
	}
	return nil
}
