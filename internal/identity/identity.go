// Package identity passes the identity of the user to upstreams: in header
// fields, which it removes from the requests of clients, and in a signed
// assertion.
package identity

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Header is a header field that passes the identity of the user to the
// upstream.
type Header struct {
	// The name of the field.
	Name string `json:"name"`

	// Its value, with placeholders. The placeholders of the user are
	// `{http.auth.user.id}`, `{http.auth.user.username}`,
	// `{http.auth.user.email}` and one for each column that the store reads.
	// If the value is empty, the field is not set.
	Value string `json:"value"`
}

// defaultIdentity is used where identity is not set.
var defaultIdentity = []Header{
	{Name: "Remote-User", Value: "{" + Placeholder + "username}"},
	{Name: "Remote-User-Id", Value: "{" + Placeholder + "id}"},
	{Name: "Remote-Email", Value: "{" + Placeholder + "email}"},
}

// groupsHeader is a default header field if groups are read. Then no client
// can set it, whatever identity says.
var groupsHeader = Header{Name: "Remote-Groups", Value: "{" + Placeholder + groupsColumn + "}"}

// Fields sets the header fields of a user, and removes those that clients have
// sent.
type Fields struct {
	fields     []field
	folded     []string    // the folded names, including the assertion's
	assertions *Assertions // nil for none

	passed            []string // canonical names of clients' fields that are not removed
	passedPrefixes    []string // canonical prefixes of such names
	passesCredentials bool     // Basic and Digest of a proven user
	alone             setters  // the setters of this handler alone, if no other handler has set fields

	warnings warnings
}

type field struct {
	name     string   // canonical
	column   string   // the user's column, if the value is only its placeholder
	template template // else
}

// unsuitableHeaders can't carry an identity, since proxies and servers give
// them another meaning.
var unsuitableHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade",
	"Trailer", "Te", "Keep-Alive", "Proxy-Connection", "Content-Type", "Cookie",
}

// New prepares the configured header fields, or the default ones if there are
// none. The error names the option.
func New(headers []Header, columns Columns) (*Fields, error) {
	withGroups := columns.Store.Groups != nil
	if len(headers) == 0 {
		headers = defaultIdentity
		if withGroups {
			headers = append(slices.Clip(headers), groupsHeader)
		}
	}
	id := new(Fields)
	id.alone.fields = id
	for _, header := range headers {
		if err := checkBraces(header.Value); err != nil {
			return nil, setting.Errorf("identity: "+header.Name, "identity %s: %w", header.Name, err)
		}
		field := field{name: http.CanonicalHeaderKey(header.Name), template: parseTemplate(header.Value)}
		if err := id.Reserve("identity", header.Name); err != nil {
			return nil, setting.Of("identity: "+header.Name, err)
		}
		if column, ok := strings.CutPrefix(header.Value, "{"+Placeholder); ok && strings.IndexByte(column, '}') == len(column)-1 {
			field.column = strings.TrimSuffix(column, "}")
		}
		for _, part := range field.template.parts {
			if part.placeholder == "" {
				continue
			}
			if err := columns.checkPlaceholder(part.placeholder); err != nil {
				return nil, setting.Errorf("identity: "+header.Name, "identity %s: %w", header.Name, err)
			}
		}
		id.fields = append(id.fields, field)
	}
	if folded := fold(groupsHeader.Name); withGroups && !slices.Contains(id.folded, folded) {
		id.folded = append(id.folded, folded)
	}
	return id, nil
}

// Dropped returns the names of header fields that proxies on the way may drop:
// nginx and Caddy drop names with an underscore or a dot, which CGI confuses
// with others. They are spelled as in the configuration.
func (id *Fields) Dropped() []string {
	var names []string
	for _, field := range id.fields {
		names = append(names, field.name)
	}
	if id.assertions != nil {
		names = append(names, id.assertions.header)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return !strings.ContainsFunc(name, func(r rune) bool {
			_, isAlphanumeric := foldByte(byte(r)) // names are ASCII
			return !isAlphanumeric && r != '-'
		})
	})
}

// UseAssertions has the fields carry an assertion as well.
func (id *Fields) UseAssertions(a *Assertions) error {
	id.assertions = a
	return id.Reserve("assertion: header", a.header)
}

// Reserve adds the name of a field that an option sets to the names that clients
// can't send.
func (id *Fields) Reserve(option, name string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%s %q: it is not a valid header field name", option, name)
	}
	for _, unsuitable := range unsuitableHeaders {
		if http.CanonicalHeaderKey(name) == unsuitable {
			return fmt.Errorf("%s %s: this header field has another meaning; use a name of your own", option, name)
		}
	}
	if strings.HasPrefix(name, "-") || strings.HasPrefix(name, "+") {
		return fmt.Errorf("%s %s: it begins with %s, which is no operation here: write the name of the header field alone", option, name, name[:1])
	}
	folded := fold(name)
	if folded == "" {
		return fmt.Errorf("%s: a name needs a letter or a digit", option)
	}
	if slices.Contains(id.folded, folded) {
		return fmt.Errorf("%s %s is named twice, or can't be told from another by some servers", option, name)
	}
	id.folded = append(id.folded, folded)
	return nil
}

// Set passes the user on to the upstream, to placeholders and to Caddy's
// access log.
func (id *Fields) Set(r *http.Request, user *userstore.User, logger *zap.Logger) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	setUserPlaceholders(r, repl, user)
	if !id.passesCredentials {
		removeCredentials(r.Header)
	}
	id.noteSetter(r)
	values := make([]string, len(id.folded)) // of all fields, each a part of it
	for i, field := range id.fields {
		var value string
		if field.column != "" {
			value, _ = Column(user, field.column)
			if field.column == groupsColumn {
				id.warnOfGroups(user, logger)
			}
		} else {
			value = field.template.fill(repl)
		}
		if value == "" {
			continue
		}
		if !survivesHeader(value) {
			if id.warnings.isDue(field.name, user.PrimaryKey) {
				logger.Warn("identity header left out: its value has a control character, or a space at an end, which a header can't carry",
					zap.String("header", field.name), zap.Stringer("user", user.PrimaryKey))
			}
			continue
		}
		values[i] = value
		r.Header[field.name] = values[i : i+1 : i+1]
	}
	if id.assertions != nil {
		i := len(id.fields) // there is room, as the assertion's name is reserved
		id.assertions.set(r, user, values[i:i+1:i+1], logger)
	}
}

// Restore sets the fields again that an earlier handler has set for its user,
// and that Remove has removed as the client's: that user is proven.
func (id *Fields) Restore(r *http.Request, logger *zap.Logger) {
	if user, ok := UserOf(r); ok {
		id.Set(r, user, logger)
	}
}

// survivesHeader reports whether a header field transports a value unchanged.
// Control characters are not allowed, and white space at the ends is removed
// on the way: "bob" and "bob " would become equal.
func survivesHeader(value string) bool {
	return httpguts.ValidHeaderFieldValue(value) &&
		!strings.ContainsRune(value, '\t') &&
		value[0] != ' ' && value[len(value)-1] != ' '
}
