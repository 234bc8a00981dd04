// Package origin says where a request comes from, as far as the browser that
// sent it tells: by fetch metadata (Sec-Fetch-Site, Sec-Fetch-Mode and
// Sec-Fetch-Dest), which browsers send over HTTPS only, and by Origin, which
// they send with every method but GET and HEAD, and to open a WebSocket.
package origin

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Initiator is what made a browser send a request.
type Initiator uint8

// The initiators.
const (
	// Unknown: nothing says. It is a program, or a GET of a browser over plain
	// HTTP, which a page of another site may have caused.
	Unknown Initiator = iota
	// Own: a page of this origin, or the user, by the address bar or a bookmark.
	Own
	// Opaque: a page that hides its origin (Origin: null), which is one in a
	// sandboxed frame, a data: URL, or any page with the referrer policy
	// no-referrer. It counts as a page of another origin.
	Opaque
	// Other: a page of another origin, on another site or on a sibling host
	// (same-site).
	Other
)

// Request is where a request comes from. The zero value is that of a program.
type Request struct {
	Initiator Initiator

	// IsFrame: the response would be shown within another page. Only fetch
	// metadata tells that.
	IsFrame bool

	// IsLink: the request is one for a page of its own, as when the user clicks a
	// link; or nothing tells it from such a request.
	IsLink bool

	// isPart: the request of a browser, without fetch metadata, for a part of a
	// page: an image, a script, or what a script fetches.
	isPart bool
}

// Of says where a request comes from. A page can neither set nor remove the
// header fields that tell it. Sec-Fetch-Site counts first: the browser knows
// the origin of a page also where Origin hides it.
func Of(r *http.Request) Request {
	from := Request{Initiator: initiatorOf(r), IsFrame: isFrame(r.Header)}
	if r.Method != http.MethodGet || from.IsFrame {
		return from
	}
	from.IsLink = IsNavigation(r.Header) && isAll(r.Header["Sec-Fetch-Dest"], "document") && len(r.Header["Upgrade"]) == 0
	if r.Header.Get(siteField) == "" {
		from.isPart = isPart(r.Header)
		// Browsers send no Origin with what opens a page.
		from.IsLink = from.IsLink && len(r.Header["Origin"]) == 0 && !from.isPart
	}
	return from
}

// MayLogIn reports whether a request may start a session by the token in its
// URL: it was sent by this origin, or opens a link. Within a frame it may not,
// since a user doesn't see there whose page it is.
func (from Request) MayLogIn() bool {
	return !from.IsFrame && (from.Initiator == Own || from.IsLink)
}

// IsOther reports whether a page of another origin sent the request. A link on
// such a page that was clicked is sent by it, too.
func (from Request) IsOther() bool {
	return from.Initiator == Opaque || from.Initiator == Other
}

// IsForced reports whether a page sent a request that its user need not know of:
// by a form, a script, an image, a frame or a WebSocket of another origin.
// Without fetch metadata, what an image or a script of any page asks for is one,
// too. A link that was clicked isn't.
func (from Request) IsForced() bool {
	return from.IsFrame || from.isPart || from.IsOther() && !from.IsLink
}

// siteField is what a browser says of the page that sent a request (Fetch
// Metadata Request Headers, section 2.4).
const siteField = "Sec-Fetch-Site"

func initiatorOf(r *http.Request) Initiator {
	if r.Header.Get(siteField) != "" {
		if isAll(r.Header[siteField], "same-origin", "none") {
			return Own
		}
		return Other
	}
	origins := r.Header["Origin"]
	switch {
	case len(origins) == 0:
		return Unknown
	case slices.Contains(origins, "null"):
		return Opaque
	case slices.ContainsFunc(origins, func(origin string) bool { return !isOwn(r, origin) }):
		return Other
	}
	return Own
}

// isOwn reports whether an origin is that of the site that a request is for.
func isOwn(r *http.Request, origin string) bool {
	page, err := url.Parse(origin)
	if err != nil || page.Host == "" {
		return false
	}
	isHTTPS := page.Scheme == "https"
	// Anyone between the browser and us can write a page of http: for the same
	// host. The other way round, a proxy in front may speak HTTPS for us.
	if r.TLS != nil && !isHTTPS {
		return false
	}
	if sameHost(page.Host, r.Host, isHTTPS) {
		return true
	}
	// A proxy that is trusted may say by which host the browser knows the site.
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && sameHost(page.Host, r.Header.Get("X-Forwarded-Host"), isHTTPS)
}

// sameHost compares hosts with their ports. A browser leaves out the port that
// its scheme has by default; others may not.
func sameHost(a, b string, isHTTPS bool) bool {
	port := "80"
	if isHTTPS {
		port = "443"
	}
	return strings.EqualFold(withoutPort(a, port), withoutPort(b, port))
}

// withoutPort is a host without that port.
func withoutPort(hostport, port string) string {
	if host, own, err := net.SplitHostPort(hostport); err == nil && own == port {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return hostport
}

// IsNavigation reports whether a request is for a page, as far as
// Sec-Fetch-Mode says: not for a part of one, and not by a script.
func IsNavigation(header http.Header) bool {
	return isAll(header["Sec-Fetch-Mode"], "navigate", "nested-navigate")
}

// isFrame reports whether a response would be shown within another page. The
// mode says it in browsers of before Sec-Fetch-Dest.
func isFrame(header http.Header) bool {
	for _, destination := range header["Sec-Fetch-Dest"] {
		switch strings.ToLower(destination) {
		case "iframe", "frame", "fencedframe", "embed", "object":
			return true
		}
	}
	return slices.Contains(header["Sec-Fetch-Mode"], "nested-navigate")
}

// isPart reports whether a browser asks for something other than a page, by
// what it would accept. All browsers name text/html where they ask for a page,
// and begin User-Agent like this. Programs have other names, or accept what
// they get.
func isPart(header http.Header) bool {
	accept := header["Accept"]
	namesPage := func(value string) bool {
		value = strings.ToLower(value)
		return strings.Contains(value, "text/html") || strings.Contains(value, "application/xhtml+xml")
	}
	return len(accept) > 0 && !slices.ContainsFunc(accept, namesPage) && strings.HasPrefix(header.Get("User-Agent"), "Mozilla/")
}

// isAll reports whether a field has no values but these. It may have none.
func isAll(values []string, allowed ...string) bool {
	for _, value := range values {
		if value != "" && !slices.Contains(allowed, value) {
			return false
		}
	}
	return true
}
