package identity

import (
	"net/http"
	"strings"
)

// The header fields with credentials (RFC 9110, section 11). Servers accept
// them in this spelling only.
const (
	headerProxyAuthorization = "Proxy-Authorization"

	foldedAuthorization      = "authorization"
	foldedProxyAuthorization = "proxyauthorization"
)

// isDisguisedCredentials reports whether a name differs from that of a field
// with credentials only in characters that aren't letters or digits. No honest
// client sends such a name.
func isDisguisedCredentials(name string) bool {
	switch name {
	case headerAuthorization, headerProxyAuthorization:
		return false
	}
	return isCredentials(name)
}

func isCredentials(name string) bool {
	return foldsTo(name, foldedAuthorization) || foldsTo(name, foldedProxyAuthorization)
}

// removeCredentials removes credentials from which servers derive an unchecked
// user name from the request of a proven user: PHP makes PHP_AUTH_USER and
// PHP_AUTH_PW of Basic (RFC 7617), and PHP_AUTH_DIGEST of Digest (RFC 7616).
// Those of other schemes are checked by the application.
func removeCredentials(header http.Header) {
	delete(header, headerProxyAuthorization)
	values, ok := header[headerAuthorization]
	if !ok {
		return
	}
	// Servers join several values with commas, or use the first or the last.
	for _, value := range values {
		if namesUser(value) {
			delete(header, headerAuthorization)
			return
		}
	}
}

// namesUser reports whether one of the credentials in a value of Authorization is
// Basic or Digest.
func namesUser(value string) bool {
	for credentials := range strings.SplitSeq(value, ",") {
		credentials = strings.TrimLeft(credentials, " \t")
		if hasScheme(credentials, "Basic") || hasScheme(credentials, "Digest") {
			return true
		}
	}
	return false
}

// hasScheme reports whether credentials begin with the name of a scheme, in
// any letter case, followed by a character that can't be part of the name.
func hasScheme(credentials, scheme string) bool {
	if len(credentials) < len(scheme) || !strings.EqualFold(credentials[:len(scheme)], scheme) {
		return false
	}
	if len(credentials) == len(scheme) {
		return true
	}
	_, goesOn := foldByte(credentials[len(scheme)])
	return !goesOn && credentials[len(scheme)] != '-'
}
