// Package origin determines where a request comes from, as far as the browser
// says: by fetch metadata (Sec-Fetch-Site, Sec-Fetch-Mode and Sec-Fetch-Dest),
// which browsers send over HTTPS only, and by Origin, which they send with
// every method but GET and HEAD, and to open a WebSocket.
package origin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Initiator is what made a browser send a request.
type Initiator uint8

// The initiators.
const (
	// Unknown: no header field tells. The client is a program, or a browser
	// that sends GET over plain HTTP, which a page of another site may have
	// caused.
	Unknown Initiator = iota
	// Own: a page of this origin, or the user, with the address bar or a
	// bookmark.
	Own
	// Opaque: a page that hides its origin (Origin: null), which is one in a
	// sandboxed frame, a data: URL, or any page with the referrer policy
	// no-referrer. It counts as a page of another origin.
	Opaque
	// Other: a page of another origin, on another site or on a sibling host
	// (same-site).
	Other
)

// Request describes where a request comes from. The zero value is that of a
// program.
type Request struct {
	Initiator Initiator

	// IsFrame: the response would be shown within another page. Known from
	// fetch metadata only.
	IsFrame bool

	// IsLink: the request is for a page in its own window, as when the user
	// clicks a link, or can't be distinguished from such a request.
	IsLink bool

	// isPart: a browser requests a part of a page, without fetch metadata: an
	// image, a script, or a resource that a script fetches.
	isPart bool
}

// Of determines where a request comes from. A page can neither set nor remove
// the header fields that it reads. Sec-Fetch-Site has precedence: it is
// correct also if the page's referrer policy hides its Origin.
func Of(r *http.Request) Request {
	from := Request{Initiator: initiatorOf(r), IsFrame: isFrame(r.Header)}
	if r.Method != http.MethodGet || from.IsFrame {
		return from
	}
	from.IsLink = IsNavigation(r.Header) && isAll(r.Header["Sec-Fetch-Dest"], "document") && len(r.Header["Upgrade"]) == 0
	if r.Header.Get(siteField) == "" {
		from.isPart = isPart(r.Header)
		// Browsers send no Origin when they open a page.
		from.IsLink = from.IsLink && len(r.Header["Origin"]) == 0 && !from.isPart
	}
	return from
}

// MayLogIn reports whether a request may start a session by the token in its
// URL: it was sent by this origin, or opens a link. Within a frame it may not,
// since the user doesn't see the URL of the framed page there.
func (from Request) MayLogIn() bool {
	return !from.IsFrame && (from.Initiator == Own || from.IsLink)
}

// IsOther reports whether a page of another origin sent the request. This
// includes a clicked link on such a page.
func (from Request) IsOther() bool {
	return from.Initiator == Opaque || from.Initiator == Other
}

// IsForced reports whether a page may have sent the request without the user's
// knowledge: with a form, a script, an image, a frame or a WebSocket of
// another origin. Without fetch metadata, the requests of images and scripts
// of any page count, too. A clicked link doesn't.
func (from Request) IsForced() bool {
	return from.IsFrame || from.isPart || from.IsOther() && !from.IsLink
}

// siteField returns the initiator by Sec-Fetch-Site (Fetch Metadata Request
// Headers, section 2.4).
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

// isOwn reports whether an origin is the one that a request is for.
func isOwn(r *http.Request, origin string) bool {
	page, err := url.Parse(origin)
	if err != nil || page.Hostname() == "" {
		return false
	}
	isHTTPS := page.Scheme == "https"
	// An attacker on the network path can forge an http: page of the same
	// host. Conversely, a proxy in front may terminate HTTPS.
	if r.TLS != nil && !isHTTPS {
		return false
	}
	if sameHost(page.Host, r.Host, isHTTPS) {
		return true
	}
	// A trusted proxy may forward the host that the browser used.
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && sameHost(page.Host, r.Header.Get("X-Forwarded-Host"), isHTTPS)
}

// sameHost compares hosts with their ports. Browsers leave out the default
// port of the scheme; other clients may not.
func sameHost(a, b string, isHTTPS bool) bool {
	port := "80"
	if isHTTPS {
		port = "443"
	}
	return strings.EqualFold(withoutPort(a, port), withoutPort(b, port))
}

// withoutPort returns a host without that port.
func withoutPort(hostport, port string) string {
	if host, own, err := net.SplitHostPort(hostport); err == nil && own == port {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return hostport
}

// IsNavigation reports whether a request opens a page, by Sec-Fetch-Mode: it
// is not for a part of a page, and not from a script. Without the field it
// returns true.
func IsNavigation(header http.Header) bool {
	return isAll(header["Sec-Fetch-Mode"], "navigate", "nested-navigate")
}

// IsScript reports whether a script of a page made a request, by fetch or
// XMLHttpRequest, and reads the response. Browsers that don't say so are known by
// the fields that libraries add.
func IsScript(header http.Header) bool {
	if mode := header.Get("Sec-Fetch-Mode"); mode != "" {
		return (mode == "cors" || mode == "same-origin") && header.Get("Sec-Fetch-Dest") == "empty"
	}
	return strings.EqualFold(header.Get("X-Requested-With"), "XMLHttpRequest") || header.Get("HX-Request") == "true"
}

// OwnReferer is the page of this origin that a request came from, as a target with
// its query; empty if it came from elsewhere, or the browser doesn't say.
func OwnReferer(r *http.Request) string {
	page, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || page.Host == "" || !isOwn(r, page.Scheme+"://"+page.Host) {
		return ""
	}
	return page.RequestURI()
}

// isFrame reports whether a response would be shown within another page.
// Browsers older than Sec-Fetch-Dest say so in Sec-Fetch-Mode.
func isFrame(header http.Header) bool {
	for _, destination := range header["Sec-Fetch-Dest"] {
		switch strings.ToLower(destination) {
		case "iframe", "frame", "fencedframe", "embed", "object":
			return true
		}
	}
	return slices.Contains(header["Sec-Fetch-Mode"], "nested-navigate")
}

// isPart reports whether a browser requests something other than a page, by
// its Accept. All browsers accept text/html by name when they request a page,
// and begin User-Agent like this. Programs have other names, or accept any
// type.
func isPart(header http.Header) bool {
	accept := header["Accept"]
	namesPage := func(value string) bool {
		value = strings.ToLower(value)
		return strings.Contains(value, "text/html") || strings.Contains(value, "application/xhtml+xml")
	}
	return len(accept) > 0 && !slices.ContainsFunc(accept, namesPage) && strings.HasPrefix(header.Get("User-Agent"), "Mozilla/")
}

// isAll reports whether a field has only allowed values. It may have none.
func isAll(values []string, allowed ...string) bool {
	for _, value := range values {
		if value != "" && !slices.Contains(allowed, value) {
			return false
		}
	}
	return true
}

// SiteOf is the scheme and the host by which the browser knows the site that a
// request is for, as in https://www.example.com. A proxy that is trusted may say
// it.
func SiteOf(r *http.Request) string {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	scheme, host := "http", r.Host
	if r.TLS != nil || trusted && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	if forwarded := r.Header.Get("X-Forwarded-Host"); trusted && IsHost(forwarded) {
		host = forwarded
	}
	return scheme + "://" + host
}

// IsHost reports whether a text is a host as browsers name it, which may have a
// port: a name in ASCII or an address, of IPv6 in brackets and without a zone, which
// has a meaning on one machine alone.
func IsHost(text string) bool {
	host := text
	if colon := strings.LastIndexByte(text, ':'); colon >= 0 && !strings.HasSuffix(text, "]") {
		if port := text[colon+1:]; port != "" && !isPort(port) {
			return false
		}
		host = text[:colon]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, isClosed := strings.CutSuffix(inner, "]")
		address, err := netip.ParseAddr(inner)
		return isClosed && err == nil && address.Is6() && address.Zone() == ""
	}
	isOther := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-_", c)
	}
	return host != "" && !strings.ContainsFunc(host, isOther)
}

// isPort reports whether a text is the number of a port that can be connected to.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16) // which takes no sign
	return err == nil && port > 0
}

// MayAct reports whether a request does no more than a page of this origin, or
// its user, could have asked for: it asks for no change, and opens no WebSocket,
// or the browser says that this origin sent it. What doesn't say counts as
// another's.
func MayAct(r *http.Request) bool {
	if IsSafe(r.Method) && len(r.Header["Upgrade"]) == 0 {
		return true
	}
	return initiatorOf(r) == Own
}
