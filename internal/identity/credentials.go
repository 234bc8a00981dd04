package identity

import (
	"net/http"
	"strings"
)

// The fields with credentials (RFC 9110, section 11), of which servers know no
// other spelling.
const (
	headerProxyAuthorization = "Proxy-Authorization"

	foldedAuthorization      = "authorization"
	foldedProxyAuthorization = "proxyauthorization"
)

// isDisguisedCredentials reports whether a name is that of a field with
// credentials, but for what isn't a letter or digit. No client spells it so.
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

// removeCredentials takes the credentials out of the request of a proven user
// from which servers derive a user's name that was never checked: PHP makes
// PHP_AUTH_USER and PHP_AUTH_PW of Basic (RFC 7617), and PHP_AUTH_DIGEST of
// Digest (RFC 7616). Those of other schemes are checked by the application.
func removeCredentials(header http.Header) {
	delete(header, headerProxyAuthorization)
	values, ok := header[headerAuthorization]
	if !ok {
		return
	}
	// Servers join several values by commas, or take the first, or the last.
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

// hasScheme reports whether credentials are of a scheme, in any case, with
// anything that isn't part of a name behind it.
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
