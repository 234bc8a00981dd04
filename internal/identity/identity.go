// Package identity passes the identity of the user to upstreams: in header
// fields, which it removes from the requests of clients, and in a signed
// assertion.
package identity

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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

	// How the value is written: `percent`, `base64` or `rfc2047`, for applications
	// that don't read header fields as UTF-8, and for values that no field can carry
	// as they are. The names of a list are encoded one by one. Default: the value's
	// bytes.
	Encoding string `json:"encoding,omitempty"`

	// What stands between the names where the value is
	// `{http.auth.user.groups}` or `{http.auth.user.permissions}`: `,`, `;` or `|`, or
	// `fields` for a header field for each name. A name that has the separator in it
	// is left out, unless it is encoded. Default: `,`.
	Separator string `json:"separator,omitempty"`

	// The names by which the application knows the groups, or the permissions.
	Map []GroupMapping `json:"map,omitempty"`

	// What becomes of groups that `map` doesn't name: `keep` or `drop`. With `keep`, a
	// group that is called like one of the application's names is left out all the
	// same, so that no user is in a group by its name alone. Default: `drop`.
	Unmapped string `json:"unmapped,omitempty"`

	// The most bytes of the value, up to 64000. A longer one is left out. Default:
	// 8000, which is what nginx, Apache and gunicorn accept in a field.
	MaxSize int64 `json:"max_size,omitempty"`
}

// The limits of Header.MaxSize and AssertionConfig.MaxSize.
const (
	defaultMaxSize = 8000
	mostMaxSize    = 64_000 // php_fastcgi cuts a value of more than 65,481 bytes off
)

// parseMaxSize returns the most bytes of a value that max_size says.
func parseMaxSize(size int64) (int, error) {
	if size < 0 || size > mostMaxSize {
		return 0, fmt.Errorf("max_size %d: it must be at most %d bytes; leave it out for the default", size, mostMaxSize)
	}
	return int(cmp.Or(size, defaultMaxSize)), nil
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
	list     *list    // how a list is written, if not as the column has it
	template template // else
	encoding encoding
	maxSize  int
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
		if err := id.add(&header, columns); err != nil {
			return nil, setting.Of("identity: "+header.Name, err)
		}
	}
	if folded := fold(groupsHeader.Name); withGroups && !slices.Contains(id.folded, folded) {
		id.folded = append(id.folded, folded)
	}
	return id, nil
}

// add adds a configured header field.
func (id *Fields) add(header *Header, columns Columns) error {
	if err := checkBraces(header.Value); err != nil {
		return fmt.Errorf("identity %s: %w", header.Name, err)
	}
	added := field{name: http.CanonicalHeaderKey(header.Name), template: parseTemplate(header.Value)}
	if err := id.Reserve("identity", header.Name); err != nil {
		return err
	}
	if column, ok := strings.CutPrefix(header.Value, "{"+Placeholder); ok && strings.IndexByte(column, '}') == len(column)-1 {
		added.column = strings.TrimSuffix(column, "}")
	}
	for _, part := range added.template.parts {
		if part.placeholder == "" {
			continue
		}
		if err := columns.checkPlaceholder(part.placeholder); err != nil {
			return fmt.Errorf("identity %s: %w", header.Name, err)
		}
	}
	if err := added.writeAs(header); err != nil {
		return fmt.Errorf("identity %s: %w", header.Name, err)
	}
	id.fields = append(id.fields, added)
	return nil
}

// writeAs reads how a field is written.
func (f *field) writeAs(header *Header) error {
	var err error
	if f.maxSize, err = parseMaxSize(header.MaxSize); err != nil {
		return err
	}
	if f.encoding, err = parseEncoding(header.Encoding); err != nil {
		return err
	}
	if f.column == groupsColumn || f.column == permissionsColumn {
		f.list, err = newList(header, f.encoding)
		return err
	}
	if header.Separator != "" || len(header.Map) > 0 || header.Unmapped != "" {
		return fmt.Errorf("separator, map and unmapped are for a value that is a list alone: {%s%s} or {%s%s}", Placeholder, groupsColumn, Placeholder, permissionsColumn)
	}
	return nil
}

// Names returns the names of the fields that tell upstreams who the user is.
func (id *Fields) Names() []string {
	var names []string
	for _, field := range id.fields {
		names = append(names, field.name)
	}
	if id.assertions != nil {
		names = append(names, id.assertions.header)
	}
	return names
}

// Dropped returns the names of header fields that proxies on the way may drop:
// nginx and Caddy drop names with an underscore or a dot, which CGI confuses
// with others. They are spelled as in the configuration.
func (id *Fields) Dropped() []string {
	return slices.DeleteFunc(id.Names(), func(name string) bool {
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
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(variables)
	setUserPlaceholders(vars, repl, user)
	if !id.passesCredentials {
		removeCredentials(r.Header)
	}
	id.noteSetter(vars)
	values := make([]string, len(id.folded)) // of all fields, each a part of it
	for i := range id.fields {
		field := &id.fields[i]
		if field.list != nil {
			id.setList(r, field, user, logger)
			continue
		}
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
		text, ok := field.encoding.encode(value)
		if !ok || field.encoding == plain && !survivesHeader(text) {
			id.warnOfValue(field, user, logger)
			continue
		}
		if len(text) > field.maxSize {
			id.warnOfSize(field, len(text), user, logger)
			continue
		}
		values[i] = text
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
