package sesame

import (
	"net/http"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
)

// seeOther sends a browser to another page of the same site.
func seeOther(w http.ResponseWriter, target string) error {
	claim.ForbidLinking(w.Header())
	w.Header().Set("Location", escaped(target))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// escaped is a target with all that isn't visible ASCII percent-encoded, as a URI
// must be (RFC 3986, section 2.1). Browsers guess an encoding otherwise. What is
// encoded already stays.
func escaped(target string) string {
	isUnfit := func(c byte) bool { return c <= ' ' || c >= 0x7f }
	unfit := 0
	for i := range len(target) {
		if isUnfit(target[i]) {
			unfit++
		}
	}
	if unfit == 0 {
		return target
	}
	uri := make([]byte, 0, len(target)+2*unfit)
	for i := range len(target) {
		if c := target[i]; isUnfit(c) {
			uri = append(uri, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		} else {
			uri = append(uri, c)
		}
	}
	return string(uri)
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
