package limit

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// warnedServer is the last server with a warning, so that all of its handlers
// together cause one line. Caddy provisions one server after the other.
var warnedServer struct {
	mu   sync.Mutex
	last weak.Pointer[caddyhttp.Server]
}

// WarnOfInventedAddresses logs a warning if the server whose handlers are being
// provisioned takes clients' addresses from a field that the clients can set.
func WarnOfInventedAddresses(app *caddyhttp.App, logger *zap.Logger) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		if !isBeingProvisioned(server) || !TrustsInventedAddresses(server) {
			continue
		}
		warnedServer.mu.Lock()
		isTold := warnedServer.last.Value() == server
		warnedServer.last = weak.Make(server)
		warnedServer.mu.Unlock()
		if !isTold {
			logger.Warn("clients can invent their addresses: trusted_proxies is set without trusted_proxies_strict",
				zap.String("server", name), zap.Strings("listen", server.Listen), zap.String("remedy", ProxyAdvice))
		}
	}
}

// isBeingProvisioned reports whether the handlers that Caddy still has to load,
// or is loading, into a server are some of ours. It has loaded the server's
// trusted proxies before.
func isBeingProvisioned(server *caddyhttp.Server) bool {
	if server.TrustedProxiesRaw != nil {
		return false
	}
	routes, err := json.Marshal([]any{server.Routes, server.Errors, server.NamedRoutes})
	return err == nil && strings.Contains(string(routes), `"handler":"sesame"`)
}
