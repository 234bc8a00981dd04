// Package claim finds the credentials in requests, removes them, and redacts
// what logs show of them.
package claim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// Source is a place in a request where a token is looked for.
type Source struct {
	// Where: `query` for the query parameter that `token_name` names,
	// `bearer` for `Authorization: Bearer`, `basic` for the password of
	// `Authorization: Basic`, with any user name, or `header` for the header
	// field that `name` names.
	From string `json:"from"`

	// The name of the header field, with `header` only. Its whole value is the
	// token.
	Name string `json:"name,omitempty"`
}

// The values of Source.From.
const (
	FromQuery  = "query"
	FromBearer = "bearer"
	FromBasic  = "basic"
	FromHeader = "header"
)

// defaultSources are used where token_from is not set.
var defaultSources = []Source{{From: FromQuery}, {From: FromBearer}}

// Validate returns an error if the source is invalid.
func (s Source) Validate() error {
	switch s.From {
	case FromQuery, FromBearer, FromBasic:
		if s.Name != "" {
			return fmt.Errorf("token_from %s takes no name", s.From)
		}
		return nil
	case FromHeader:
		if !httpguts.ValidHeaderFieldName(s.Name) {
			return fmt.Errorf("token_from header %q: it is not a valid header field name", s.Name)
		}
		switch http.CanonicalHeaderKey(s.Name) {
		case "Host", "Cookie", "Content-Length", "Transfer-Encoding", "Connection", "Content-Type":
			return fmt.Errorf("token_from header %s: this header field has another meaning, and its whole value would be taken for the token; "+
				"name a field of its own, such as X-Sesame-Token", s.Name)
		}
		return nil
	default:
		return fmt.Errorf("token_from %q: it must be query, bearer, basic or header%s", s.From, s.hint())
	}
}

// hint names the source that was probably meant.
func (s Source) hint() string {
	kinds := []string{FromQuery, FromBearer, FromBasic, FromHeader}
	name := strings.TrimPrefix(strings.TrimPrefix(s.From, FromHeader), ":")
	if near := nearest.Close(s.From, kinds); near != "" {
		return "; did you mean " + near + "?"
	}
	if strings.Contains(name, "-") && httpguts.ValidHeaderFieldName(name) {
		return "; did you mean header " + name + "?"
	}
	return nearest.Hint(s.From, kinds)
}

// Sources finds and removes the credentials of one handler in requests, and removes
// those of the other handlers of its HTTP app.
type Sources struct {
	Name        string   // of the query parameter
	ConfirmName string   // name of the parameter that confirms it
	Ordered     []Source // header names are canonical

	form    Form                            // of the handler's tokens; nil where it isn't known
	cookies []string                        // names, without __Host-
	others  []func(credentials string) bool // readers of schemes beside tokens
	shared  *shared
}

// DefaultName is the name of the query parameter if token_name is not set.
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
	s.share(new(shared))
	return s, nil
}

// Form tells the handler's tokens from other texts.
type Form interface {
	IsToken(text string) bool   // reports whether a text could be a token
	Resembles(text string) bool // reports whether it could be a broken one, too
}

// Recognize has tokens in Authorization told by their form. Other credentials are
// the application's, and stay in the request.
func (s *Sources) Recognize(form Form) {
	s.form = form
	s.share(new(shared))
}

// AddCookies names the cookies that are credentials of the handler, without the
// prefix __Host-.
func (s *Sources) AddCookies(names ...string) {
	s.cookies = append(s.cookies, names...)
	s.share(new(shared))
}

// Reads reports whether tokens come from a kind of place.
func (s *Sources) Reads(from string) bool {
	return slices.ContainsFunc(s.Ordered, func(source Source) bool { return source.From == from })
}

// Token is a token as a request presents it.
type Token struct {
	Value string
	From  string // the Source's From
	Found bool
}

// Take takes the credentials of all handlers of the app out of a request, and
// returns the token of this one. The others are kept for handlers that the
// request meets later. This one's cookies are then in the request for it to take.
// isExposed is what IsExposed said of the request.
func (s *Sources) Take(r *http.Request, isExposed bool) (first Token) {
	all := s.shared.forms()
	aside := setAsideOf(r)
	var fromQuery parameter
	if isExposed {
		var others []parameter
		fromQuery, others = s.takeParameters(r, all.parameters)
		if len(others) > 0 {
			aside = aside.of(r)
			aside.parameters = append(aside.parameters, others...)
		}
		cutFromFields(r.Header, all.parameters)
	}
	if aside != nil {
		if s.Reads(FromQuery) {
			aside.takeParameter(s.Name, &fromQuery)
		}
		aside.restore(r.Header, s)
	}
	for _, source := range s.Ordered {
		token := Token{From: source.From}
		switch source.From {
		case FromQuery:
			token.Value, token.Found = fromQuery.value, fromQuery.isRead
		case FromBearer:
			token.Value, token.Found = s.takeBearer(r.Header)
		case FromBasic:
			token.Value, token.Found = s.takeBasic(r.Header)
		case FromHeader:
			token.Value, token.Found = takeHeader(r.Header, source.Name)
		}
		if token.Found && !first.Found {
			first = token
		}
	}
	if !s.isAlone(all) {
		s.setOthersAside(r, all, aside)
	}
	return first
}

// TakeConfirmation returns the value of the parameter that confirms the token,
// which Take has taken out of the request; empty if there was none.
func (s *Sources) TakeConfirmation(r *http.Request) string {
	var confirmation parameter
	if aside := setAsideOf(r); aside != nil {
		aside.takeParameter(s.ConfirmName, &confirmation)
	}
	return confirmation.value
}
