package claim

import (
	"net/http"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// isInText reports whether a header field has a URI with the parameter in it:
// that of the page before, as in Referer, or of this one, as proxies and
// scripts say it, in fields that nobody has a list of.
func isInText(header http.Header, name string) bool {
	for field, values := range header {
		if field == "Cookie" {
			continue // what the application has put there stays as it is
		}
		for _, value := range values {
			if rawuri.IsInText(value, name) {
				return true
			}
		}
	}
	return false
}

// changeTexts changes the values of the header fields that isInText looks at.
func changeTexts(header http.Header, name string, change func(text, name string) string) {
	for field, values := range header {
		if field == "Cookie" {
			continue
		}
		for i, value := range values {
			values[i] = change(value, name)
		}
	}
}

// takeBearer removes every bearer token. Credentials of other schemes stay.
// Where there are several tokens it isn't clear whose request this is, so that
// none of them counts.
func takeBearer(header http.Header) (token string, found bool) {
	values := header["Authorization"]
	if !hasBearer(values) {
		return "", false
	}
	if len(values) == 1 {
		delete(header, "Authorization")
		return cutBearer(values[0])
	}
	others := make([]string, 0, len(values))
	for _, value := range values {
		bearer, ok := cutBearer(value)
		switch {
		case !ok:
			others = append(others, value)
		case found:
			token = ""
		default:
			token, found = bearer, true
		}
	}
	if len(others) == 0 {
		delete(header, "Authorization")
	} else {
		header["Authorization"] = others
	}
	return token, found
}

// hasBearer reports whether one of the values of Authorization is a bearer
// token.
func hasBearer(values []string) bool {
	for _, value := range values {
		if _, ok := cutBearer(value); ok {
			return true
		}
	}
	return false
}

// cutBearer returns the credentials of RFC 6750, section 2.1. The name of the
// scheme is case-insensitive (RFC 9110, section 11.1).
func cutBearer(value string) (token string, ok bool) {
	const scheme = "bearer"
	value = strings.TrimLeft(value, " \t")
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	token = strings.Trim(rest, " \t")
	return token, rest == "" || rest[0] == ' ' || rest[0] == '\t'
}

// takeHeader removes a header field. Where it is repeated, none of its values
// counts.
func takeHeader(header http.Header, name string) (token string, found bool) {
	values := header[name]
	if len(values) == 0 {
		return "", false
	}
	delete(header, name)
	if len(values) > 1 {
		return "", true
	}
	return strings.Trim(values[0], " \t"), true
}
