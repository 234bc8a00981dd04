// Package scope makes the scope that the credentials of a request must have
// from the option scope, which may be a template with Caddy's placeholders.
//
// A scope that is taken from the request target restricts a token to the
// resource that the target names. That holds only if the application behind the
// gateway reads the same resource from the same bytes. Servers, languages and
// frameworks disagree on many targets: file_server resolves `..`, PHP takes the
// last of two parameters, Ruby the first. So a template that reads the target
// rejects each target that has more than one possible reading.
package scope

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// Template is a parsed scope option. The zero value is the default scope.
type Template struct {
	text         string
	fixed        string // the scope, where there are no placeholders
	placeholders []placeholder

	readsTarget   bool     // the path must have one reading
	readsAnyQuery bool     // so must all query parameters
	parameters    []string // so must these query parameters
	isCompound    bool     // several placeholders whose values the client chooses
}

// Rejection is the error for a request without a scope, because servers read
// its target in different ways. It wraps token.NoScope.
type Rejection struct{ why string }

// Error says what is ambiguous. It doesn't quote the target.
func (e *Rejection) Error() string {
	return "the scope can't be told, because servers read the request target in different ways: " + e.why
}

// Unwrap is token.NoScope.
func (e *Rejection) Unwrap() error { return token.NoScope }

// reject returns a Rejection.
func reject(why string) error { return &Rejection{why} }

// mark stands for a placeholder while a template is parsed.
const mark = "\x00"

// Parse reads a template. The error says why its scopes can't be checked
// safely, and what to configure instead.
func Parse(text string) (*Template, error) {
	t := &Template{text: text, fixed: text}
	if err := checkBraces(text); err != nil {
		return nil, fmt.Errorf("scope %q: %w", text, err)
	}
	if !strings.Contains(text, "{") {
		return t, nil
	}
	if strings.Contains(text, mark) {
		return nil, fmt.Errorf("scope %q: it has a NUL byte, which no scope can have: remove it", text)
	}
	// Caddy's own replacer finds the placeholders, so that the two agree on
	// escaped and unclosed braces.
	var err error
	literals, replaceErr := caddy.NewEmptyReplacer().ReplaceFunc(text, func(key string, _ any) (any, error) {
		p, classifyErr := classify(key)
		if classifyErr != nil {
			err = fmt.Errorf("scope %q: %w", text, classifyErr)
		}
		t.placeholders = append(t.placeholders, p)
		return mark, nil
	})
	switch {
	case replaceErr != nil:
		return nil, fmt.Errorf("scope %q: %w", text, replaceErr)
	case err != nil:
		return nil, err
	}
	t.fixed = literals
	return t, t.prepare(strings.Split(literals, mark))
}

// prepare collects what the placeholders read. literals is the text around
// them.
func (t *Template) prepare(literals []string) error {
	last := -1 // of those whose values the client chooses
	for i, p := range t.placeholders {
		switch p.reads {
		case readsNothing:
			continue
		case readsParameter:
			t.parameters = append(t.parameters, p.parameter)
		case readsUnknown:
			t.readsAnyQuery = true
		}
		t.readsTarget = t.readsTarget || p.reads != readsRequest
		t.isCompound = last >= 0
		last = i
	}
	for i := range max(last, 0) {
		p, next := &t.placeholders[i], t.placeholders[i+1]
		if p.reads == readsNothing {
			continue
		}
		if p.end = literals[i+1]; p.end == "" {
			p.end = next.start
		}
		if p.end == "" {
			return fmt.Errorf("scope %q: nothing separates {%s} from {%s}, so that one scope can stand for several targets, "+
				"as ab+c and a+bc: put a character between them that neither has, such as a colon", t.text, p.key, next.key)
		}
	}
	return nil
}

// IsFixed reports whether all requests have the same scope.
func (t *Template) IsFixed() bool { return len(t.placeholders) == 0 }

// Placeholders returns the names of the placeholders.
func (t *Template) Placeholders() []string {
	names := make([]string, len(t.placeholders))
	for i, p := range t.placeholders {
		names[i] = p.key
	}
	return names
}

// Of returns the scope of a request that Caddy handles. The error is a
// *Rejection for a target that servers read in different ways, and
// token.NoScope if the template evaluates to an empty scope: that would be the
// default scope, whose tokens are not meant for the request.
func (t *Template) Of(r *http.Request) (string, error) {
	if t.IsFixed() {
		return t.fixed, nil
	}
	if t.readsTarget {
		if err := t.check(r); err != nil {
			return "", err
		}
	}
	scope, err := t.fill(r)
	if err == nil && scope == "" {
		err = t.empty()
	}
	return scope, err
}

// Empty is the error for a request for which the template comes out empty. It wraps
// token.NoScope.
type Empty struct{ template string }

// Error names the template.
func (e *Empty) Error() string {
	return "the request has no scope, because no placeholder of " + e.template + " has a value for it: check their names, and that what sets them comes before sesame"
}

// Unwrap is token.NoScope.
func (e *Empty) Unwrap() error { return token.NoScope }

// empty returns an Empty.
func (t *Template) empty() error { return &Empty{t.text} }

// fill replaces the placeholders.
func (t *Template) fill(r *http.Request) (string, error) {
	replacer := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !t.isCompound {
		return replacer.ReplaceAll(t.text, ""), nil
	}
	i := 0
	return replacer.ReplaceFunc(t.text, func(_ string, value any) (any, error) {
		end := t.placeholders[i].end
		i++
		if end == "" {
			return value, nil
		}
		// /a:b/c must not have the scope of /a/b:c.
		if text := caddy.ToString(value); strings.Index(text+end, end) != len(text) {
			return nil, reject("a value in the scope contains the text that separates it from the next value")
		}
		return value, nil
	})
}

// check rejects a request whose target servers read in different ways. There
// are two targets: the one that the client sent, which is PHP's REQUEST_URI,
// and the rewritten one.
func (t *Template) check(r *http.Request) error {
	current := r.URL.EscapedPath()
	if r.URL.Opaque != "" {
		return reject("it is neither a path nor a URL with a host")
	}
	if err := checkPath(current); err != nil {
		return err
	}
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.RequestURI == "" {
		return t.checkQuery(r.URL.RawQuery, r.URL.RawQuery)
	}
	path, query, err := splitTarget(original.RequestURI)
	if err != nil {
		return err
	}
	if path != current {
		if err := checkPath(path); err != nil {
			return err
		}
	}
	return t.checkQuery(r.URL.RawQuery, query)
}

// checkQuery checks the parameters that the template reads in the query as it
// is, and as the client sent it.
func (t *Template) checkQuery(current, original string) error {
	if t.readsAnyQuery {
		if err := checkAllParameters(current); err != nil {
			return err
		}
		if current != original {
			if err := checkAllParameters(original); err != nil {
				return err
			}
		}
	}
	for _, name := range t.parameters {
		value, found, err := readParameter(current, name)
		if err != nil {
			return err
		}
		if !found {
			return reject("it lacks the query parameter " + name)
		}
		if current == original {
			continue
		}
		sent, found, err := readParameter(original, name)
		if err != nil {
			return err
		}
		if found && sent != value {
			return reject("a rewrite changed the query parameter " + name + ", which is another one for applications that read the original URI")
		}
	}
	return nil
}

// OfTarget returns the scope of a request for another target of the same site,
// a path with or without a query and a fragment. Placeholders that don't read
// the target are evaluated for r.
func (t *Template) OfTarget(r *http.Request, target string) (string, error) {
	if t.IsFixed() {
		return t.fixed, nil
	}
	target, _, _ = strings.Cut(target, "#") // browsers don't send it
	parsed, err := url.ParseRequestURI(target)
	if err != nil || parsed.Host != "" || parsed.Opaque != "" {
		return "", reject("it is not a path")
	}
	// Placeholders read the request that Caddy prepared, by its pointer.
	own, ownURL := *r, *r.URL
	defer func() { *r, *r.URL = own, ownURL }()
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = parsed.Path, parsed.RawPath, parsed.RawQuery
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		original.RequestURI, original.URL = target, parsed
		*r = *r.WithContext(context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original))
	}
	return t.Of(r)
}
