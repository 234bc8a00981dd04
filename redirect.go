package sesame

import (
	"net/http"
	"net/url"
	"strings"
)

// seeOther sends a browser to another page of the same site.
func seeOther(w http.ResponseWriter, target string) error {
	forbidLinking(w.Header())
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// ownURI is the URI of a request as the browser sees it, for a link or a
// redirect to it: as it came, before any rewrite. It leads to this site even
// for a path like //evil.example, which alone would be a link to that host.
func ownURI(r *http.Request) string {
	uri := r.URL.RequestURI()
	if original, ok := originalRequest(r); ok {
		uri = original.URL.RequestURI()
		if strings.HasPrefix(original.RequestURI, "/") {
			uri = original.RequestURI
		}
	}
	if !strings.HasPrefix(uri, "/") {
		return "/"
	}
	if len(uri) > 1 && (uri[1] == '/' || uri[1] == '\\') {
		return "/." + uri // the same path (RFC 3986, section 5.2.4), but no host
	}
	return uri
}

// ownTarget returns where a next parameter leads if that is a page of this
// site, or else the fallback. What browsers, proxies or apps could take for
// another host isn't: //host, /\host, encoded forms of these, another scheme,
// or anything with a control character, which browsers drop.
func ownTarget(next, fallback string) string {
	if next == "" || next[0] != '/' || len(next) > maxTarget {
		return fallback
	}
	for i := range len(next) {
		if next[i] <= ' ' || next[i] == 0x7f || next[i] == '\\' {
			return fallback
		}
	}
	parsed, err := url.Parse(next)
	if err != nil || parsed.Scheme != "" || parsed.Host != "" || parsed.User != nil || parsed.Opaque != "" {
		return fallback
	}
	// Decoded once more, the path must not begin with two slashes either.
	decoded := parsed.Path
	for range maxDecodings {
		if len(decoded) > 1 && (decoded[1] == '/' || decoded[1] == '\\') {
			return fallback
		}
		again, err := url.PathUnescape(decoded)
		if err != nil || again == decoded {
			break
		}
		decoded = again
	}
	return next
}

const (
	// maxTarget is the longest target that is taken: that of a long URL.
	maxTarget = 2048
	// maxDecodings is how often an app behind may decode a path.
	maxDecodings = 3
)
