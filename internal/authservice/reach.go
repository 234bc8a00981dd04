package authservice

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// WarnOfMissedRequests logs a warning if some requests to a site with auth_service don't
// reach its handler: Caddy answers them with an empty 200, which proxies take for a yes.
// It is called while handlers are being provisioned, which have their JSON until then.
func WarnOfMissedRequests(app *caddyhttp.App, logger *zap.Logger) {
	for name, server := range app.Servers {
		for _, route := range server.Routes {
			isMatched := len(route.MatcherSets)+len(route.MatcherSetsRaw) > 0
			for _, raw := range route.HandlersRaw {
				var handler any
				if err := json.Unmarshal(raw, &handler); err != nil || !isMissed(handler, isMatched) {
					continue
				}
				logger.Warn("auth_service is in a site with a host name or behind a matcher: Caddy answers other requests with an empty 200, which proxies take for a yes",
					zap.String("server", name), zap.Strings("listen", server.Listen),
					zap.String("remedy", "give the site an address without a host, as http://:9181, and sesame no matcher"))
				return
			}
		}
	}
}

// isMissed reports whether a part of the configuration has a handler with auth_service
// behind a matcher.
func isMissed(part any, isMatched bool) bool {
	switch part := part.(type) {
	case []any:
		for _, element := range part {
			if isMissed(element, isMatched) {
				return true
			}
		}
	case map[string]any:
		if kind, ok := part["auth_service"].(string); ok && kind != "" && part["handler"] == "sesame" {
			return isMatched
		}
		matchers, _ := part["match"].([]any)
		isMatched = isMatched || len(matchers) > 0
		for _, value := range part {
			if isMissed(value, isMatched) {
				return true
			}
		}
	}
	return false
}
