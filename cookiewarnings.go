package sesame

import (
	"cmp"
	"fmt"
	"net"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/accesslog"
	"github.com/caddy-sesame/caddy-sesame/internal/operator"
)

// cookieWarnings tells where browsers would not take the session's cookie, or
// not send it, on a site of these hosts. None of it keeps Caddy from starting:
// other hosts of the site may be right.
func (h *Handler) cookieWarnings(hosts []string) []operator.Warning {
	if h.Session == nil {
		return nil
	}
	var warnings []operator.Warning
	domain := strings.TrimPrefix(strings.ToLower(h.Session.Domain), ".")
	for _, host := range hosts {
		if domain == "" || isBelow(host, domain) {
			continue
		}
		warnings = append(warnings, operator.Warning{
			Text:   fmt.Sprintf("session domain %s is not a parent of the host %s: browsers reject the cookie there, and nobody stays logged in", domain, host),
			Advice: "set it to a domain that " + host + " is in, or leave it out for a cookie of the host alone",
		})
	}
	path, reserved := cmp.Or(h.Session.Path, "/"), cmp.Or(h.ReservedPath, defaultReservedPath)
	if reserved != reservedOff && !isPathBelow(reserved, path) {
		below := strings.TrimSuffix(path, "/") + defaultReservedPath
		warnings = append(warnings, operator.Warning{
			Text:   fmt.Sprintf("session path %s leaves out %s: browsers don't send the cookie to its pages, and nobody can log out there", path, reserved),
			Advice: fmt.Sprintf("set reserved_path %s, and let no matcher keep it away from sesame", below),
		})
	}
	return warnings
}

// isBelow reports whether a host of a site, which may have a wildcard or a
// placeholder in it, is a domain or in it.
func isBelow(host, domain string) bool {
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	if host == "" || strings.Contains(host, "{") {
		return true // it isn't known
	}
	host = strings.ToLower(host)
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// isPathBelow reports whether a cookie with a path is sent with requests for
// another (RFC 6265, section 5.1.4).
func isPathBelow(requested, path string) bool {
	rest, ok := strings.CutPrefix(requested, path)
	return ok && (rest == "" || strings.HasSuffix(path, "/") || rest[0] == '/')
}

// warnAboutCookie logs the warnings when the handler starts, as far as its sites
// are known.
func (h *Handler) warnAboutCookie(ctx caddy.Context) {
	var hosts []string
	if h.Source != "" {
		hosts = sitesWith(accesslog.HTTPApp(ctx), h.Source)
	}
	for _, warning := range h.cookieWarnings(hosts) {
		h.logger.Warn(warning.Text, zap.String("advice", warning.Advice))
	}
}
