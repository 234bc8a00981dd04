package origin

import (
	"net/http"
	"strings"
)

// IsAhead reports whether a request is one that mail scanners, messengers and
// browsers make before a user has clicked: it doesn't consume a token.
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

// containsFold is strings.Contains without regard to case.
func containsFold(s, substr string) bool {
	return strings.Contains(strings.ToLower(s), substr)
}

// IsPreflight reports whether a browser asks by this request if another may be
// sent (Fetch standard, section 3.2.2, CORS-preflight request).
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) > 0 &&
		len(r.Header["Access-Control-Request-Method"]) > 0
}
