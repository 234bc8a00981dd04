package scope

import (
	"fmt"
	"strings"
)

// reads is the part of a request target that a placeholder reads.
type reads uint8

const (
	readsNothing   reads = iota // of the client's request
	readsRequest                // other parts of the request, such as the host
	readsPath                   // the path, or the target byte for byte
	readsParameter              // one query parameter
	readsUnknown                // set by another handler or matcher, from any part of the request
)

// placeholder is one of Caddy's, in a template.
type placeholder struct {
	key       string
	reads     reads
	parameter string // of readsParameter
	start     string // beginning of its value, if known
	end       string // text that follows it, up to the next placeholder's value
}

// The prefixes of placeholders, from Caddy's modules/caddyhttp/replacer.go.
const (
	parameterPrefix = "http.request.uri.query."
	headerPrefix    = "http.request.header."
	cookiePrefix    = "http.request.cookie."
	bodyPrefix      = "http.request.body"
)

// classify determines what a placeholder reads. It rejects placeholders with
// which the client chooses the scope freely.
func classify(key string) (placeholder, error) {
	p := placeholder{key: key}
	isClients := strings.HasPrefix(key, headerPrefix) || strings.HasPrefix(key, cookiePrefix) || strings.HasPrefix(key, bodyPrefix)
	if err := checkKnown(key); err != nil && !isClients {
		return p, err
	}
	switch {
	case strings.HasPrefix(key, headerPrefix), strings.HasPrefix(key, cookiePrefix), strings.HasPrefix(key, bodyPrefix):
		return p, fmt.Errorf("{%s} is a part of the request that its client chooses freely, beside the URL: "+
			"with a token for one scope it could ask for any URL. Take the scope from the path, as in {http.request.uri.path.1}, "+
			"from a query parameter or from the host; to use a field that a trusted proxy sets, copy it to a variable with the directive vars", key)
	case strings.HasPrefix(key, parameterPrefix):
		p.reads, p.parameter = readsParameter, key[len(parameterPrefix):]
		if !isPlainName(p.parameter) {
			return p, fmt.Errorf("{%s}: servers read the name of this query parameter in different ways (PHP takes a.b for a_b, and a[] for a list): "+
				"use a name of letters, digits, hyphens and underscores", key)
		}
	case key == "http.request.uri", strings.HasPrefix(key, "http.request.uri."),
		key == "http.request.orig_uri", strings.HasPrefix(key, "http.request.orig_uri."),
		strings.HasPrefix(key, "http.request.uri_"):
		p.reads, p.start = readsPath, startOf(key)
	case isConstant(key):
	case strings.HasPrefix(key, "http.request."):
		p.reads = readsRequest
	default:
		p.reads = readsUnknown
	}
	return p, nil
}

// isConstant reports whether clients can't influence a placeholder's value.
func isConstant(key string) bool {
	for _, prefix := range []string{"http.auth.user.", "env.", "file.", "system.", "time."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return key == "http.vars.client_ip" || key == "http.vars.trusted_proxy"
}

// startOf returns the known beginning of a placeholder's value, or "".
func startOf(key string) string {
	switch strings.Replace(key, "orig_uri", "uri", 1) {
	case "http.request.uri", "http.request.uri.path", "http.request.uri.path.dir":
		return "/"
	case "http.request.uri.prefixed_query":
		return "?"
	default:
		return ""
	}
}

// isPlainName reports whether all servers read a parameter's name literally.
func isPlainName(name string) bool {
	for i := range len(name) {
		if !isPlain(name[i]) {
			return false
		}
	}
	return name != ""
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
