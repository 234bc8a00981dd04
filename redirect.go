package sesame

import (
	"net/http"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
)

// seeOther sends a browser to another page of the same site.
func seeOther(w http.ResponseWriter, target string) error {
	claim.ForbidLinking(w.Header())
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// ownURI is the URI of a request as the browser sees it, for a link or a
// redirect to it: as it came, before any rewrite. It leads to this site even
// for a path like //evil.example, which alone would be a link to that host.
func ownURI(r *http.Request) string {
	uri := ""
	switch original, ok := claim.OriginalRequest(r); {
	case !ok:
		uri = r.URL.RequestURI()
	case strings.HasPrefix(original.RequestURI, "/"):
		uri = original.RequestURI
	default:
		uri = original.URL.RequestURI()
	}
	if !strings.HasPrefix(uri, "/") {
		return "/"
	}
	if len(uri) > 1 && (uri[1] == '/' || uri[1] == '\\') {
		return "/." + uri // the same path (RFC 3986, section 5.2.4), but no host
	}
	return uri
}
