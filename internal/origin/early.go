package origin

import "net/http"

// Early data is what a browser sends with the first packet of a resumed TLS
// 1.3 connection, before the handshake, which HTTP/3 has as well (0-RTT). An
// attacker on the network path can record it and send it again, to this
// gateway or to another (RFC 8470, section 2). So no request in early data
// consumes a token or starts a session.

// earlyField is the header field by which a proxy that has taken early data
// says so to the next (RFC 8470, section 5.1).
const earlyField = "Early-Data"

// MarkEarly marks a request that came as early data, as such a proxy must, for
// this handler and for the upstream, which may reject it. Once the handshake
// is complete, early data is known not to be a repetition.
func MarkEarly(r *http.Request) {
	if r.TLS != nil && !r.TLS.HandshakeComplete {
		r.Header[earlyField] = []string{"1"}
	}
}

// IsEarly reports whether a request came as early data, to this server or to a
// proxy in front. The field's value doesn't matter: one that is repeated, or
// isn't 1, counts as 1.
func IsEarly(r *http.Request) bool { return len(r.Header[earlyField]) > 0 }

// IsSafe reports whether a method asks for no change (RFC 9110, section 9.2.1).
func IsSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
