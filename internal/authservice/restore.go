package authservice

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/origin"
)

// The header fields in which proxies say what the client's request was.
const (
	forwardedMethod = "X-Forwarded-Method"
	forwardedURI    = "X-Forwarded-Uri"
	forwardedHost   = "X-Forwarded-Host"
	forwardedProto  = "X-Forwarded-Proto"
	originalMethod  = "X-Original-Method"
	originalURI     = "X-Original-Uri"
	originalURL     = "X-Original-Url"
)

// Restore turns the request of a proxy into the client's, for this handler and for
// placeholders. Only a proxy in Caddy's trusted_proxies may say what the client has
// asked for, and it must say it once: a second value is one that the client has sent.
func (s *Service) Restore(r *http.Request) error {
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return &Misasked{Status: http.StatusForbidden, Why: "its sender isn't in trusted_proxies"}
	}
	asked, err := s.read(r.Header)
	if err != nil {
		return err
	}
	target, err := parseTarget(asked.uri)
	if err != nil {
		return err
	}
	method := r.Method
	r.Method, r.URL, r.RequestURI = asked.method, target, asked.uri
	if asked.host != "" {
		r.Host = asked.host
		r.Header[forwardedHost] = []string{asked.host}
	}
	if asked.scheme != "" {
		r.Header[forwardedProto] = []string{asked.scheme}
	}
	for _, name := range []string{forwardedMethod, forwardedURI, originalMethod, originalURI, originalURL} {
		delete(r.Header, name)
	}
	withoutBody(r)
	restoreUpgrade(r.Header)
	return replaceOriginal(r, method)
}

// asked is what a proxy says of the client's request.
type asked struct{ method, uri, host, scheme string }

// read reads what the kind of proxy says. Fields of the other kind are the client's
// own, and don't count.
func (s *Service) read(header http.Header) (a asked, err error) {
	methodField := forwardedMethod
	if s.kind == AuthRequest {
		methodField = originalMethod
	}
	if a.method, err = one(header, methodField); err != nil {
		return a, err
	}
	if a.method == "" || !httpguts.ValidHeaderFieldName(a.method) { // both are tokens (RFC 9110, section 9.1)
		return a, misasked("%s is %q and no method", methodField, a.method)
	}
	if a.host, err = one(header, forwardedHost); err != nil {
		return a, err
	}
	if a.scheme, err = one(header, forwardedProto); err != nil {
		return a, err
	}
	if s.kind == AuthRequest {
		err = a.readOriginal(header)
	} else {
		a.uri, err = one(header, forwardedURI)
	}
	switch {
	case err != nil:
		return a, err
	case a.uri == "":
		return a, misasked("the field with the URI is missing")
	case a.host != "" && !origin.IsHost(a.host):
		return a, misasked("%s is %q and no host", forwardedHost, a.host)
	}
	switch a.scheme = strings.ToLower(a.scheme); a.scheme {
	case "", "http", "https":
	case "ws", "wss": // of the request that opens a WebSocket
		a.scheme = "http" + strings.TrimPrefix(a.scheme, "ws")
	default:
		return a, misasked("%s is %q, not http or https", forwardedProto, a.scheme)
	}
	return a, nil
}

// readOriginal reads the URI as nginx says it: the target, or the whole URL, or both,
// which must agree.
func (a *asked) readOriginal(header http.Header) (err error) {
	if a.uri, err = one(header, originalURI); err != nil {
		return err
	}
	whole, err := one(header, originalURL)
	if err != nil || whole == "" {
		return err
	}
	scheme, rest, ok := strings.Cut(whole, "://")
	end := strings.IndexByte(rest, '/')
	if !ok || end < 0 {
		return misasked("%s has no scheme, host and path", originalURL)
	}
	said := asked{uri: rest[end:], host: rest[:end], scheme: scheme}
	for _, part := range []struct{ of, other *string }{{&a.uri, &said.uri}, {&a.host, &said.host}, {&a.scheme, &said.scheme}} {
		if *part.of != "" && *part.of != *part.other {
			return misasked("%s contradicts another field", originalURL)
		}
		*part.of = *part.other
	}
	return nil
}

// one returns the value of a field that may be there once.
func one(header http.Header, name string) (string, error) {
	values := header[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", misasked("%s is there %d times: the proxy must replace what the client sends", name, len(values))
}

// parseTarget parses a target in origin-form (RFC 9112, section 3.2.1), as a server
// parses it.
func parseTarget(uri string) (*url.URL, error) {
	isUnfit := func(c rune) bool { return c <= ' ' || c == 0x7f }
	if !strings.HasPrefix(uri, "/") || strings.ContainsFunc(uri, isUnfit) {
		return nil, misasked("the URI doesn't begin with a slash, or has characters that no URI has")
	}
	target, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, misasked("the URI can't be parsed")
	}
	return target, nil
}

// withoutBody removes what tells of a body, which stays with the proxy.
func withoutBody(r *http.Request) {
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = http.NoBody, 0, nil, nil
	r.Form, r.PostForm = nil, nil
	for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Expect", "Trailer"} {
		delete(r.Header, name)
	}
}

// restoreUpgrade puts the field back by which a client opens a WebSocket, which
// proxies leave out: pages of other origins can open one without being asked.
func restoreUpgrade(header http.Header) {
	for _, name := range []string{"Sec-Websocket-Key", "Sec-Websocket-Version"} {
		if len(header[name]) > 0 {
			header["Upgrade"] = []string{"websocket"}
		}
	}
}

// replaceOriginal replaces the copy that Caddy keeps of a request as it came.
func replaceOriginal(r *http.Request, method string) error {
	original := *r
	copied := *r.URL
	original.URL = &copied
	original.Header = r.Header.Clone()
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	// Caddy's placeholders, which a scope may have, read the request for which Caddy
	// made them.
	if of, known := repl.GetString("http.request.uri"); known && of != r.URL.RequestURI() {
		return &Misasked{Status: http.StatusInternalServerError, Why: "a directive in front of sesame, such as tracing, has replaced the " + method + " request; remove it from this site"}
	}
	return nil
}
