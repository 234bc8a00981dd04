package limit

import (
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ProxyAdvice is the advice if TrustsInventedAddresses.
const ProxyAdvice = "add trusted_proxies_strict beside trusted_proxies, so that the last address counts that no trusted proxy has"

// TrustsInventedAddresses reports whether clients can choose the address that a
// server knows them by, so that they can evade limit_failures, or have another
// client limited: the server trusts proxies, and takes the first address in
// X-Forwarded-For. Proxies append to that field, so the first address is the
// client's own text.
//
// The server is one that Caddy provisions or has provisioned, or one that was
// read from JSON.
func TrustsInventedAddresses(server *caddyhttp.Server) bool {
	if server.TrustedProxiesStrict > 0 || !trustsProxies(server) {
		return false
	}
	isAppendedTo := func(field string) bool { return strings.EqualFold(field, "X-Forwarded-For") }
	return server.ClientIPHeaders == nil || slices.ContainsFunc(server.ClientIPHeaders, isAppendedTo)
}

// trustsProxies reports whether a server trusts proxies. Caddy clears the
// exported field when it loads the module into another.
func trustsProxies(server *caddyhttp.Server) bool {
	if server.TrustedProxiesUnix || server.TrustedProxiesRaw != nil {
		return true
	}
	loaded := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return loaded.IsValid() && !loaded.IsNil()
}
