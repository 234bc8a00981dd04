package gateway

import (
	"fmt"
	"strings"
)

// The paths of the sites that each gateway has. A host name in the requests
// makes them the same sites for both.
const (
	PathAPI     = "/api/"  // a token with every request
	PathSession = "/app/"  // a link logs in
	PathOnce    = "/once/" // a token is for one use
	Host        = "app.example.com"
)

// caddyfile is a gateway's configuration: at DEBUG, so that what must not be in
// a log has every opportunity, and without what would hide that something is
// left open at the end.
func (g *Gateway) caddyfile(more string) string {
	follow := ""
	if g.cfg.FollowDSN != "" {
		follow = fmt.Sprintf(`follow {
				dsn {env.SESAME_FOLLOW_DSN}
				lease %s
			}`, Lease)
	}
	store := fmt.Sprintf(`userstore mysql {
			dsn {env.SESAME_DSN}
			max_open_conns %d
			conn_max_idle_time 5s
			query_timeout %s
			start_without
			%s
		}`, MaxOpenConns, QueryTimeout, follow)
	options := strings.TrimSpace(g.cfg.Options + "\n" + more)
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	grace_period %s
	metrics
	log {
		level DEBUG
	}
	servers {
		trusted_proxies static 127.0.0.0/8
		trusted_proxies_strict
	}
}

(sesame) {
	secret_key {env.DJANGO_SECRET_KEY}
	max_age 1h
	%s
	%s
}

http://%s {
	bind %s
	log
	handle %s* {
		sesame {
			import sesame
		}
	}
	handle %s* {
		sesame {
			import sesame
			session
			watch %s
		}
	}
	handle %s* {
		sesame {
			import sesame
			one_time
		}
	}
	reverse_proxy %s {
		transport http {
			keepalive 5s
		}
	}
}
`, g.admin, GracePeriod, options, store, ":"+portOf(g.Address), "127.0.0.1",
		PathAPI, PathSession, Watch, PathOnce, g.cfg.Upstream)
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
