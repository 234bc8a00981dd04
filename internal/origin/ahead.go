package origin

import (
	"net/http"
	"strings"
)

// IsAhead reports whether a request was made by a mail scanner, messenger or
// browser before the user has clicked. It doesn't consume a token.
func IsAhead(r *http.Request) bool {
	switch r.Method {
	case http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	for _, field := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, value := range r.Header[field] {
			if containsFold(value, "prefetch") || containsFold(value, "prerender") || containsFold(value, "preview") {
				return true
			}
		}
	}
	return false
}

// containsFold is strings.Contains that ignores case.
func containsFold(s, substr string) bool {
	return strings.Contains(strings.ToLower(s), substr)
}

// IsPreflight reports whether this is a CORS-preflight request (Fetch
// standard, section 3.2.2).
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) > 0 &&
		len(r.Header["Access-Control-Request-Method"]) > 0
}
