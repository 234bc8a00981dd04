package operator

import (
	"bytes"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// sameHandlers reports whether two handlers are interchangeable for a purpose.
type sameHandlers func(a, b *configured) bool

// issueAlike reports whether handlers issue the same tokens.
func issueAlike(a, b *configured) bool { return reflect.DeepEqual(a.Issues, b.Issues) }

// issueAlikeForScope reports whether handlers issue the same tokens for a given
// scope.
func issueAlikeForScope(a, b *configured) bool {
	x, y := a.Issues, b.Issues
	x.Scope, y.Scope = "", ""
	return reflect.DeepEqual(x, y)
}

// areSame reports whether handlers have equal configurations.
func areSame(a, b *configured) bool { return bytes.Equal(a.raw, b.raw) }

// distinct returns the first of each group of equal handlers.
func distinct(handlers []*configured, equal sameHandlers) []*configured {
	var list []*configured
	for _, c := range handlers {
		if !slices.ContainsFunc(list, func(other *configured) bool { return equal(c, other) }) {
			list = append(list, c)
		}
	}
	return list
}

// isNamed reports whether a selector means this handler: its number, its place
// in the JSON, a host, or an address that its server listens on.
func (c *configured) isNamed(selector string) bool {
	if n, err := strconv.Atoi(selector); err == nil {
		return n == c.number
	}
	return selector == c.path || slices.Contains(c.listen, selector) ||
		slices.ContainsFunc(c.hosts, func(host string) bool { return strings.EqualFold(host, selector) })
}

// choose finds the handler that a selector names. Without a selector, it is the
// handler that serves a URL (which may be nil), or else the only handler. Equal
// handlers count as one.
func choose(handlers []*configured, selector string, u *url.URL, equal sameHandlers) (*configured, error) {
	candidates := handlers
	if selector != "" {
		candidates = slices.DeleteFunc(slices.Clone(handlers), func(c *configured) bool { return !c.isNamed(selector) })
		if len(candidates) == 0 {
			return nil, &choiceError{fmt.Sprintf("no sesame handler is called %q. There are:", selector), handlers}
		}
	}
	candidates = distinct(candidates, equal)
	if len(candidates) > 1 && u != nil && u.Host != "" {
		serving := slices.DeleteFunc(slices.Clone(candidates), func(c *configured) bool { return !c.serves(u) })
		if len(serving) > 0 {
			candidates = serving
		}
	}
	if len(candidates) > 1 {
		return nil, &choiceError{"there are several sesame handlers, which differ. Name one by its host, its place in the JSON, or its number:", candidates}
	}
	return candidates[0], nil
}

// choiceError lists the handlers there are.
type choiceError struct {
	message  string
	handlers []*configured
}

func (e *choiceError) Error() string {
	var b strings.Builder
	b.WriteString(e.message)
	for _, c := range e.handlers {
		fmt.Fprintf(&b, "\n  %s", c)
	}
	return b.String()
}

// String describes a handler in a line.
func (c *configured) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", c.number)
	switch {
	case len(c.hosts) > 0:
		fmt.Fprintf(&b, "  %s", strings.Join(c.hosts, ", "))
	case len(c.listen) > 0:
		fmt.Fprintf(&b, "  %s", strings.Join(c.listen, ", "))
	}
	fmt.Fprintf(&b, "  %s", c.path)
	if len(c.matchers) > 0 {
		fmt.Fprintf(&b, "  matcher %s", strings.Join(c.matchers, " "))
	}
	if c.Issues.Scope != "" {
		fmt.Fprintf(&b, "  scope %q", c.Issues.Scope)
	}
	table := c.Issues.Store.Table
	if table == "" {
		table = userstore.DefaultTable
	}
	fmt.Fprintf(&b, "  table %s", table)
	return b.String()
}
