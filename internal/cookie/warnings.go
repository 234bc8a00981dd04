package cookie

import (
	"fmt"
	"net"
	"strings"
)

// Warning says why browsers would not take a cookie, or not send it.
type Warning struct {
	Text   string
	Advice string // what to do about it
}

// DomainWarnings are those about the domain of a cookie, which an option sets, on a
// site of these hosts.
func DomainWarnings(option, domain string, hosts []string) (warnings []Warning) {
	domain = strings.TrimPrefix(strings.ToLower(domain), ".")
	for _, host := range hosts {
		if domain == "" || isBelow(host, domain) {
			continue
		}
		warnings = append(warnings, Warning{
			Text:   fmt.Sprintf("%s %s is not a parent of the host %s: browsers reject the cookie there, and no user stays logged in", option, domain, host),
			Advice: "set it to a domain that " + host + " is in, or leave it out for a cookie of the host alone",
		})
	}
	if domain != "" && domain != "localhost" && !strings.Contains(domain, ".") {
		warnings = append(warnings, Warning{
			Text:   fmt.Sprintf("%s %s is a whole top-level domain: browsers reject the cookie, and no user stays logged in", option, domain),
			Advice: "set it to a domain of your own, such as example." + domain + ", or leave it out for a cookie of the host alone",
		})
	}
	return warnings
}

// isBelow reports whether a host is a domain or in it. The host may have a wildcard
// or a placeholder in it.
func isBelow(host, domain string) bool {
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	if host == "" || strings.Contains(host, "{") {
		return true // the placeholder's value isn't known
	}
	host = strings.ToLower(host)
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// IsSentBelow reports whether a cookie with a path is sent with requests for
// another (RFC 6265, section 5.1.4).
func IsSentBelow(requested, path string) bool {
	rest, ok := strings.CutPrefix(requested, path)
	return ok && (rest == "" || strings.HasSuffix(path, "/") || rest[0] == '/')
}
