package identity

import (
	"net/http"
	"slices"
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

// removeCredentials removes credentials from which servers derive an unchecked user
// name from the request of a proven user: PHP makes PHP_AUTH_USER and PHP_AUTH_PW
// of Basic (RFC 7617), and PHP_AUTH_DIGEST of Digest (RFC 7616). Credentials of
// other schemes are checked by the application.
func removeCredentials(header http.Header) {
	delete(header, headerProxyAuthorization)
	values, ok := header[headerAuthorization]
	if !ok {
		return
	}
	// Servers join several values with commas, or use the first or the last.
	if !slices.ContainsFunc(values, func(value string) bool { return hasElement(value, isBasic) || hasElement(value, isDigest) }) {
		return
	}
	var kept []string
	for _, value := range values {
		if value = withoutUsers(value); value != "" {
			kept = append(kept, value)
		}
	}
	if len(kept) == 0 {
		delete(header, headerAuthorization)
		return
	}
	header[headerAuthorization] = kept
}

// withoutUsers removes Basic credentials from a value of Authorization. If it has
// Digest credentials, it removes everything, because they have commas and quotes of
// their own.
func withoutUsers(value string) string {
	switch {
	case hasElement(value, isDigest):
		return ""
	case !hasElement(value, isBasic):
		return value
	}
	var others []string
	for credentials := range strings.SplitSeq(value, ",") {
		if !isBasic(credentials) {
			others = append(others, credentials)
		}
	}
	return strings.Trim(strings.Join(others, ","), " \t")
}

// hasElement reports whether is holds for one of the credentials in a value of
// Authorization.
func hasElement(value string, is func(credentials string) bool) bool {
	for credentials := range strings.SplitSeq(value, ",") {
		if is(credentials) {
			return true
		}
	}
	return false
}

func isBasic(credentials string) bool {
	return hasScheme(strings.TrimLeft(credentials, " \t"), "Basic")
}

func isDigest(credentials string) bool {
	return hasScheme(strings.TrimLeft(credentials, " \t"), "Digest")
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
