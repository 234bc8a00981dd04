package claim

import (
	"net/http"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// Header fields repeat URIs: Referer has the URI of the page before. Proxies and
// scripts send the request's own URI in fields of any name, so no list has them all.

// placeOf is how a header field is read.
func placeOf(field string) rawuri.Place {
	if field == "Cookie" {
		return rawuri.Cookie
	}
	return rawuri.Field
}

// isInFields reports whether a header field has a parameter of one of the names.
func isInFields(header http.Header, names []string) bool {
	for field, values := range header {
		for _, value := range values {
			if rawuri.Has(value, placeOf(field), names) {
				return true
			}
		}
	}
	return false
}

// cutFromFields takes parameters out of the header.
func cutFromFields(header http.Header, names []string) {
	for field, values := range header {
		for i, value := range values {
			values[i] = rawuri.Cut(value, placeOf(field), names)
		}
	}
}

// takeHeader removes a header field. If the field is repeated, none of its values
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
