// Package claim finds the tokens in requests, and removes and redacts them.
package claim

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// Source is a place in a request where a token is looked for.
type Source struct {
	// Where: `query` for the query parameter that `token_name` names,
	// `bearer` for `Authorization: Bearer`, or `header` for the header field
	// that `name` names.
	From string `json:"from"`

	// The name of the header field, with `header` only. Its whole value is the
	// token.
	Name string `json:"name,omitempty"`
}

// The values of Source.From.
const (
	FromQuery  = "query"
	FromBearer = "bearer"
	FromHeader = "header"
)

// defaultSources are used where token_from is not set.
var defaultSources = []Source{{From: FromQuery}, {From: FromBearer}}

// Validate says what is wrong with a source.
func (s Source) Validate() error {
	switch s.From {
	case FromQuery, FromBearer:
		if s.Name != "" {
			return fmt.Errorf("token_from %s takes no name", s.From)
		}
		return nil
	case FromHeader:
		if !httpguts.ValidHeaderFieldName(s.Name) {
			return fmt.Errorf("token_from header %q: that is not a name of a header field", s.Name)
		}
		return nil
	default:
		return fmt.Errorf("token_from %q: it must be query, bearer or header", s.From)
	}
}

// Sources finds tokens in requests and takes them out.
type Sources struct {
	Name        string   // of the query parameter
	ConfirmName string   // of the one that confirms it
	Ordered     []Source // header names are canonical
	places      *places
}

// DefaultName is that of the query parameter where token_name is not set.
const DefaultName = "sesame"

// New makes sources of the name of the query parameter and of the places to
// look at, or of the defaults for both.
func New(name string, sources []Source) (*Sources, error) {
	if name == "" {
		name = DefaultName
	}
	if len(sources) == 0 {
		sources = defaultSources
	}
	s := &Sources{Name: name, ConfirmName: name + "_confirm"}
	for i, source := range sources {
		if err := source.Validate(); err != nil {
			return nil, err
		}
		source.Name = http.CanonicalHeaderKey(source.Name)
		for _, earlier := range sources[:i] {
			if strings.EqualFold(earlier.From+earlier.Name, source.From+source.Name) {
				return nil, errors.New("token_from names the same source twice")
			}
		}
		s.Ordered = append(s.Ordered, source)
	}
	s.places = new(places)
	for _, place := range s.Ordered {
		if place.From == FromQuery {
			place.Name = name
		}
		s.places.add([]Source{place})
	}
	return s, nil
}

// Token is a token as a request presents it.
type Token struct {
	Value string
	From  string // the Source's From
	Found bool
}

// IsExposed reports whether the request has a token where Caddy's logs show
// it. A token in an Authorization header isn't, unless credentials are logged.
func (s *Sources) IsExposed(r *http.Request) bool {
	for _, place := range s.places.all() {
		switch place.From {
		case FromQuery:
			if rawuri.HasParameter(r.URL.RawQuery, place.Name) {
				return true
			}
			if original, ok := OriginalRequest(r); ok && rawuri.HasParameter(original.URL.RawQuery, place.Name) {
				return true
			}
			if isInText(r.Header, place.Name) {
				return true
			}
		case FromHeader:
			if len(r.Header[place.Name]) > 0 {
				return true
			}
		case FromBearer:
			if LogsCredentials(r) && hasBearer(r.Header["Authorization"]) {
				return true
			}
		}
	}
	return false
}

// Take finds the token of the first source that has one, and removes from the
// request whatever any of the sources could be read from. isExposed is what
// IsExposed said of the request.
func (s *Sources) Take(r *http.Request, isExposed bool) Token {
	var first Token
	for _, source := range s.Ordered {
		var p Token
		switch source.From {
		case FromQuery:
			p.Value, p.Found = TakeParameter(r, s.Name)
			if isExposed {
				changeTexts(r.Header, s.Name, rawuri.CutFromText)
			}
		case FromBearer:
			p.Value, p.Found = takeBearer(r.Header)
		case FromHeader:
			p.Value, p.Found = takeHeader(r.Header, source.Name)
		}
		p.From = source.From
		if p.Found && !first.Found {
			first = p
		}
	}
	return first
}
