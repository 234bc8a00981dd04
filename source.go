package sesame

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/rawuri"
)

// TokenSource is a place in a request where a token is looked for.
type TokenSource struct {
	// Where: `query` for the query parameter that `token_name` names,
	// `bearer` for `Authorization: Bearer`, or `header` for the header field
	// that `name` names.
	From string `json:"from"`

	// The name of the header field, with `header` only. Its whole value is the
	// token.
	Name string `json:"name,omitempty"`
}

// The values of TokenSource.From.
const (
	fromQuery  = "query"
	fromBearer = "bearer"
	fromHeader = "header"
)

// defaultTokenSources are used where token_from is not set.
var defaultTokenSources = []TokenSource{{From: fromQuery}, {From: fromBearer}}

func (s TokenSource) validate() error {
	switch s.From {
	case fromQuery, fromBearer:
		if s.Name != "" {
			return fmt.Errorf("token_from %s takes no name", s.From)
		}
		return nil
	case fromHeader:
		if !httpguts.ValidHeaderFieldName(s.Name) {
			return fmt.Errorf("token_from header %q: that is not a name of a header field", s.Name)
		}
		return nil
	default:
		return fmt.Errorf("token_from %q: it must be query, bearer or header", s.From)
	}
}

// tokenSources finds tokens in requests and takes them out.
type tokenSources struct {
	name        string        // of the query parameter
	confirmName string        // of the one that confirms it
	ordered     []TokenSource // header names are canonical
	places      *tokenPlaces
}

// tokenPlaces are the sources of all handlers of an HTTP app: a request may
// hold the token of another handler than the one that answers it, and logs
// show none.
type tokenPlaces struct {
	mu   sync.Mutex
	list atomic.Pointer[[]TokenSource] // Name of query is the parameter's
}

// placesOf has the tokenPlaces of each HTTP app.
var placesOf sync.Map

// register adds the sources of a handler to those of its app, until the app is
// gone.
func (s *tokenSources) register(app *caddyhttp.App) (unregister func()) {
	shared, _ := placesOf.LoadOrStore(app, s.places)
	places := shared.(*tokenPlaces)
	if places != s.places {
		places.add(s.places.all())
		s.places = places
	}
	return func() { placesOf.CompareAndDelete(app, places) }
}

func (p *tokenPlaces) add(sources []TokenSource) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.Clone(p.all())
	for _, source := range sources {
		if !slices.Contains(list, source) {
			list = append(list, source)
		}
	}
	p.list.Store(&list)
}

func (p *tokenPlaces) all() []TokenSource {
	if list := p.list.Load(); list != nil {
		return *list
	}
	return nil
}

// defaultTokenName is Handler.TokenName where it is not set.
const defaultTokenName = "sesame"

func newTokenSources(name string, sources []TokenSource) (*tokenSources, error) {
	if name == "" {
		name = defaultTokenName
	}
	if len(sources) == 0 {
		sources = defaultTokenSources
	}
	s := &tokenSources{name: name, confirmName: name + "_confirm"}
	for i, source := range sources {
		if err := source.validate(); err != nil {
			return nil, err
		}
		source.Name = http.CanonicalHeaderKey(source.Name)
		for _, earlier := range sources[:i] {
			if strings.EqualFold(earlier.From+earlier.Name, source.From+source.Name) {
				return nil, errors.New("token_from names the same source twice")
			}
		}
		s.ordered = append(s.ordered, source)
	}
	s.places = new(tokenPlaces)
	for _, place := range s.ordered {
		if place.From == fromQuery {
			place.Name = name
		}
		s.places.add([]TokenSource{place})
	}
	return s, nil
}

// presented is a token as a request presents it.
type presented struct {
	token string
	from  string // the TokenSource's From
	found bool
}

// isExposed reports whether the request has a token where Caddy's logs show
// it. A token in an Authorization header isn't, unless credentials are logged.
func (s *tokenSources) isExposed(r *http.Request) bool {
	for _, place := range s.places.all() {
		switch place.From {
		case fromQuery:
			if rawuri.HasParameter(r.URL.RawQuery, place.Name) {
				return true
			}
			if original, ok := originalRequest(r); ok && rawuri.HasParameter(original.URL.RawQuery, place.Name) {
				return true
			}
			if isInText(r.Header, place.Name) {
				return true
			}
		case fromHeader:
			if len(r.Header[place.Name]) > 0 {
				return true
			}
		case fromBearer:
			if logsCredentials(r) && hasBearer(r.Header["Authorization"]) {
				return true
			}
		}
	}
	return false
}

// isInText reports whether a header field has a URI with the parameter in it:
// that of the page before, as in Referer, or of this one, as proxies and
// scripts say it, in fields that nobody has a list of.
func isInText(header http.Header, name string) bool {
	for field, values := range header {
		if field == "Cookie" {
			continue // what the application has put there stays as it is
		}
		for _, value := range values {
			if rawuri.IsInText(value, name) {
				return true
			}
		}
	}
	return false
}

// changeTexts changes the values of the header fields that isInText looks at.
func changeTexts(header http.Header, name string, change func(text, name string) string) {
	for field, values := range header {
		if field == "Cookie" {
			continue
		}
		for i, value := range values {
			values[i] = change(value, name)
		}
	}
}

// take finds the token of the first source that has one, and removes from the
// request whatever any of the sources could be read from. isExposed is what
// isExposed said of the request.
func (s *tokenSources) take(r *http.Request, isExposed bool) presented {
	var first presented
	for _, source := range s.ordered {
		var p presented
		switch source.From {
		case fromQuery:
			p.token, p.found = takeParameter(r, s.name)
			if isExposed {
				changeTexts(r.Header, s.name, rawuri.CutFromText)
			}
		case fromBearer:
			p.token, p.found = takeBearer(r.Header)
		case fromHeader:
			p.token, p.found = takeHeader(r.Header, source.Name)
		}
		p.from = source.From
		if p.found && !first.found {
			first = p
		}
	}
	return first
}

// takeParameter takes a parameter out of a request's query, and out of all
// that repeats it: the request's URI as it is and as it came.
func takeParameter(r *http.Request, name string) (value string, found bool) {
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
	original, ok := originalRequest(r)
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

// originalRequest is Caddy's copy of the request as it came.
func originalRequest(r *http.Request) (original http.Request, ok bool) {
	original, ok = r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return original, ok && original.URL != nil
}

// takeBearer removes every bearer token. Credentials of other schemes stay.
// Where there are several tokens it isn't clear whose request this is, so that
// none of them counts.
func takeBearer(header http.Header) (token string, found bool) {
	values := header["Authorization"]
	if !hasBearer(values) {
		return "", false
	}
	if len(values) == 1 {
		delete(header, "Authorization")
		return cutBearer(values[0])
	}
	others := make([]string, 0, len(values))
	for _, value := range values {
		bearer, ok := cutBearer(value)
		switch {
		case !ok:
			others = append(others, value)
		case found:
			token = ""
		default:
			token, found = bearer, true
		}
	}
	if len(others) == 0 {
		delete(header, "Authorization")
	} else {
		header["Authorization"] = others
	}
	return token, found
}

// hasBearer reports whether one of the values of Authorization is a bearer
// token.
func hasBearer(values []string) bool {
	for _, value := range values {
		if _, ok := cutBearer(value); ok {
			return true
		}
	}
	return false
}

// cutBearer returns the credentials of RFC 6750, section 2.1. The name of the
// scheme is case-insensitive (RFC 9110, section 11.1).
func cutBearer(value string) (token string, ok bool) {
	const scheme = "bearer"
	value = strings.TrimLeft(value, " \t")
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	token = strings.Trim(rest, " \t")
	return token, rest == "" || rest[0] == ' ' || rest[0] == '\t'
}

// takeHeader removes a header field. Where it is repeated, none of its values
// counts.
func takeHeader(header http.Header, name string) (token string, found bool) {
	values := header[name]
	if len(values) == 0 {
		return "", false
	}
	delete(header, name)
	if len(values) > 1 {
		return "", true
	}
	return strings.Trim(values[0], " \t"), true
}
