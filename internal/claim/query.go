package claim

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// parameter is a query parameter that was read.
type parameter struct {
	name   string
	value  string // decoded
	isRead bool
}

// takeParameters takes parameters out of a request's target, and out of all copies
// of the target: the request's current and original URI. It returns the parameters
// that were read: the token of s, and the others.
func (s *Sources) takeParameters(r *http.Request, names []string) (token parameter, others []parameter) {
	for _, name := range names {
		p := parameter{name: name}
		if _, p.value, p.isRead = rawuri.CutParameter(r.URL.RawQuery, name); !p.isRead {
			p.value, p.isRead = rawuri.DamagedParameter(r.URL.RawQuery, name)
		}
		switch {
		case !p.isRead:
		case name == s.Name && s.Reads(FromQuery):
			token = p
		default:
			others = append(others, p)
		}
	}
	asked := target{r.URL.RawQuery, r.RequestURI}
	cleaned := asked.without(names)
	if cleaned.query != asked.query {
		r.URL.RawQuery = cleaned.query
		r.URL.ForceQuery = false
		r.Form = nil // a handler that has parsed it will parse it again
	}
	r.RequestURI = cleaned.uri
	blankPath(r.URL, names)
	blankHost(r, names)
	cleanOriginalRequest(r, names, asked, cleaned)
	return token, others
}

// target is a query, and the URI that it is in.
type target struct{ query, uri string }

// without takes parameters out, and blanks them in the path. It also removes the
// credentials of an absolute URI.
func (t target) without(names []string) target {
	t.uri = withoutUserinfo(t.uri)
	query := cutFromQuery(t.query, names)
	before, repeated, hasQuery := strings.Cut(t.uri, "?")
	path := rawuri.Blank(before, rawuri.Path, names)
	rest := query
	if repeated != t.query {
		rest = cutFromQuery(repeated, names)
	}
	switch {
	case rest == repeated && path == before:
		return target{query, t.uri}
	case hasQuery && rest == "":
		return target{query, path}
	case !hasQuery:
		return target{query, path}
	case path == before && strings.HasPrefix(repeated, rest):
		return target{query, t.uri[:len(before)+len("?")+len(rest)]} // without a copy
	}
	return target{query, path + "?" + rest}
}

// mostPasses is how often a query is cut: the rest after a cut can form another
// parameter, if an attacker wrote the query so.
const mostPasses = 4

// cutFromQuery takes parameters out of a query: first the well-formed ones, then
// those in damaged links. If parameters remain after mostPasses, nothing of the
// query is left.
func cutFromQuery(query string, names []string) string {
	for range mostPasses {
		for _, name := range names {
			query = rawuri.WithoutParameter(query, name)
		}
		query = rawuri.Cut(query, rawuri.Query, names)
		if !rawuri.Has(query, rawuri.Query, names) {
			return query
		}
	}
	return ""
}

// blankPath removes the values of parameters from a path. Their names stay, so
// that the path has the same segments: handlers have been chosen by it.
func blankPath(u *url.URL, names []string) (isBlanked bool) {
	if !rawuri.Has(pathOf(u), rawuri.Path, names) {
		return false
	}
	blanked := rawuri.Blank(u.EscapedPath(), rawuri.Path, names)
	path, err := url.PathUnescape(blanked)
	if err != nil {
		path = rawuri.Blank(u.Path, rawuri.Path, names) // unreachable: escapes stay whole
	}
	u.Path, u.RawPath = path, blanked
	return true
}

// blankHost removes the values of parameters from the host's name, which may
// contain any separator, and from the text in front of it in an absolute target.
func blankHost(r *http.Request, names []string) {
	r.Host = rawuri.Blank(r.Host, rawuri.Path, names)
	r.URL.Host = rawuri.Blank(r.URL.Host, rawuri.Path, names)
	r.URL.User = nil
}

// withoutUserinfo removes the user name and password of an absolute URI (RFC 3986,
// section 3.2.1). Clients make Authorization of them, and don't send them.
func withoutUserinfo(uri string) string {
	if uri == "" || uri[0] == '/' {
		return uri // as of almost all requests
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return uri
	}
	return scheme + "://" + rest[at+1:]
}

// pathOf is a path as it came, if that is known, without an allocation.
func pathOf(u *url.URL) string {
	if u.RawPath != "" {
		return u.RawPath
	}
	return u.Path
}

// cleanOriginalRequest takes parameters out of the copy of the request that Caddy
// keeps as it came, which php_fastcgi sends as REQUEST_URI and which is restored
// for handle_errors. All holders of the copy share its URL, but not its RequestURI,
// so the copy is replaced, in this request and for placeholders. Mostly the
// original target is the current one, whose cleaned form is known already.
func cleanOriginalRequest(r *http.Request, names []string, asked, cleaned target) {
	original, ok := OriginalRequest(r)
	if !ok {
		return
	}
	original.URL.User = nil
	if blankPath(original.URL, names) {
		// The directive tracing stands in front, and has told the path.
		path := original.URL.Path
		trace.SpanFromContext(r.Context()).SetAttributes(attribute.String("url.path", path), attribute.String("http.target", path))
	}
	came := target{original.URL.RawQuery, original.RequestURI}
	if came != asked {
		cleaned = came.without(names)
	}
	if cleaned == came {
		return
	}
	original.URL.RawQuery, original.RequestURI = cleaned.query, cleaned.uri
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
	const placeholder = "http.request.orig_uri"
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	// The function knows the copy of the request that it was made for.
	if known, _ := repl.GetString(placeholder); known != original.RequestURI {
		repl.Set(placeholder, original.RequestURI)
	}
}

// OriginalRequest is Caddy's copy of the request as it came.
func OriginalRequest(r *http.Request) (original http.Request, ok bool) {
	original, ok = r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return original, ok && original.URL != nil
}

// isInTarget reports whether the target of a request has one of the parameters, or
// a user name and password.
func isInTarget(r *http.Request, names []string) bool {
	if isInURL(r.URL, names) || isInURI(r.RequestURI, r.URL, names) || rawuri.Has(r.Host, rawuri.Path, names) {
		return true
	}
	original, ok := OriginalRequest(r)
	switch {
	case !ok:
		return false
	case original.RequestURI == r.RequestURI && original.URL.RawQuery == r.URL.RawQuery && pathOf(original.URL) == pathOf(r.URL):
		return false
	}
	return isInURL(original.URL, names) || isInURI(original.RequestURI, original.URL, names)
}

func isInURL(u *url.URL, names []string) bool {
	return u.User != nil || isInQuery(u.RawQuery, names) || rawuri.Has(pathOf(u), rawuri.Path, names)
}

// isInURI is isInURL for a URI. It checks only the parts that differ from those of
// u, which the URI mostly equals.
func isInURI(uri string, u *url.URL, names []string) bool {
	path, query, _ := strings.Cut(uri, "?")
	return query != u.RawQuery && isInQuery(query, names) || path != pathOf(u) && rawuri.Has(path, rawuri.Path, names)
}

func isInQuery(query string, names []string) bool {
	if query == "" {
		return false
	}
	for _, name := range names {
		if rawuri.HasParameter(query, name) {
			return true
		}
	}
	return rawuri.Has(query, rawuri.Query, names)
}

// Clean takes the parameters of all handlers out of a target.
func (s *Sources) Clean(uri string) string {
	return target{uri: uri}.without(s.shared.forms().parameters).uri
}
