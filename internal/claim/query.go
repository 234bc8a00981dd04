package claim

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// TakeParameter takes a parameter out of a request's query, and out of all
// that repeats it: the request's URI as it is and as it came.
func TakeParameter(r *http.Request, name string) (value string, found bool) {
	asked := target{r.URL.RawQuery, r.RequestURI}
	cleaned := asked
	if rawuri.HasParameter(asked.query, name) {
		cleaned.query, value, found = rawuri.CutParameter(asked.query, name)
		r.URL.RawQuery = cleaned.query
		r.URL.ForceQuery = false
		r.Form = nil // whoever parsed it will parse it again
	}
	cleaned.uri = rawuri.CutFromURI(asked.uri, name)
	r.RequestURI = cleaned.uri
	cleanOriginalRequest(r, name, asked, cleaned)
	return value, found
}

// target is a query, and the URI that it is in.
type target struct{ query, uri string }

// cleanOriginalRequest takes a parameter out of the copy of the request that
// Caddy keeps as it came, which php_fastcgi sends as REQUEST_URI and which is
// restored for handle_errors. The copy's URL is shared by all that have the
// copy; its RequestURI is not, so the copy is replaced, in this request and
// for placeholders. Mostly it is what the request asked for, of which it is
// known how it looks cleaned.
func cleanOriginalRequest(r *http.Request, name string, asked, cleaned target) {
	original, ok := OriginalRequest(r)
	if !ok || !rawuri.HasParameter(original.URL.RawQuery, name) {
		return
	}
	if (target{original.URL.RawQuery, original.RequestURI}) == asked {
		original.URL.RawQuery, original.RequestURI = cleaned.query, cleaned.uri
	} else {
		original.URL.RawQuery, _, _ = rawuri.CutParameter(original.URL.RawQuery, name)
		original.RequestURI = rawuri.CutFromURI(original.RequestURI, name)
	}
	*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
	const placeholder = "http.request.orig_uri"
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	// It knows the copy of the request that it was made for.
	if known, _ := repl.GetString(placeholder); known != original.RequestURI {
		repl.Set(placeholder, original.RequestURI)
	}
}

// OriginalRequest is Caddy's copy of the request as it came.
func OriginalRequest(r *http.Request) (original http.Request, ok bool) {
	original, ok = r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return original, ok && original.URL != nil
}
