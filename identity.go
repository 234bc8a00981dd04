package sesame

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// IdentityHeader is a header field that tells the upstream who the user is.
type IdentityHeader struct {
	// The name of the field.
	Name string `json:"name"`

	// Its value, with placeholders. Those of the user are
	// `{http.auth.user.id}`, `{http.auth.user.username}`,
	// `{http.auth.user.email}` and one for each column that the store reads.
	// Where the value is empty, the field is not set.
	Value string `json:"value"`
}

// userPlaceholder starts the placeholders of the user.
const userPlaceholder = "http.auth.user."

// defaultIdentity is used where identity is not set.
var defaultIdentity = []IdentityHeader{
	{Name: "Remote-User", Value: "{" + userPlaceholder + "username}"},
	{Name: "Remote-User-Id", Value: "{" + userPlaceholder + "id}"},
	{Name: "Remote-Email", Value: "{" + userPlaceholder + "email}"},
}

// groupsHeader is one of them where groups are read. No client can set it then,
// whatever identity says.
var groupsHeader = IdentityHeader{Name: "Remote-Groups", Value: "{" + userPlaceholder + groupsColumn + "}"}

// identity sets the header fields of a user, and sees to it that no client can.
type identity struct {
	fields     []identityField
	folded     []string     // the names, folded, that of the assertion included
	assertions *assertions  // nil for none
	warned     atomic.Int64 // when it was warned of groups, in Unix nanoseconds
}

type identityField struct {
	name     string // canonical
	column   string // the user's, where the value is just its placeholder
	template string // else
}

// unsuitableHeaders can't tell who the user is, since they mean something to
// proxies and servers.
var unsuitableHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade",
	"Trailer", "Te", "Keep-Alive", "Proxy-Connection", "Content-Type", "Cookie",
}

func newIdentity(headers []IdentityHeader, withGroups bool) (*identity, error) {
	if len(headers) == 0 {
		headers = defaultIdentity
		if withGroups {
			headers = append(slices.Clip(headers), groupsHeader)
		}
	}
	id := new(identity)
	for _, header := range headers {
		field := identityField{name: http.CanonicalHeaderKey(header.Name), template: header.Value}
		if err := id.reserve("identity", header.Name); err != nil {
			return nil, err
		}
		if column, ok := strings.CutPrefix(header.Value, "{"+userPlaceholder); ok && strings.IndexByte(column, '}') == len(column)-1 {
			field.column = strings.TrimSuffix(column, "}")
		}
		id.fields = append(id.fields, field)
	}
	if folded := fold(groupsHeader.Name); withGroups && !slices.Contains(id.folded, folded) {
		id.folded = append(id.folded, folded)
	}
	return id, nil
}

// reserve makes a name one of ours, which an option gives.
func (id *identity) reserve(option, name string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%s %q: that is not a name of a header field", option, name)
	}
	for _, unsuitable := range unsuitableHeaders {
		if http.CanonicalHeaderKey(name) == unsuitable {
			return fmt.Errorf("%s %s: this header field has another meaning; use a name of your own", option, name)
		}
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

// remove takes out of a request every header field that an upstream might take
// for one of ours: CGI, WSGI and PHP make HTTP_REMOTE_USER of Remote-User, of
// Remote_User and of remote.user, and old ones of Remote~User. So a name is
// ours if its letters and digits are.
func (id *identity) remove(r *http.Request) {
	for name := range r.Header {
		if id.isOurs(name) {
			delete(r.Header, name)
		}
	}
	if values := r.Header["Connection"]; len(values) > 0 {
		id.removeFromConnection(r.Header, values)
	}
	if r.Trailer != nil {
		id.removeFromTrailer(r)
	}
}

// removeFromConnection takes our names out of Connection. A proxy drops the
// fields that it names before it forwards a request, ours included.
func (id *identity) removeFromConnection(header http.Header, values []string) {
	namesOurs := func(option string) bool { return id.isOurs(option) }
	if !anyOption(values, namesOurs) {
		return
	}
	var kept []string
	for _, value := range values {
		for option := range strings.SplitSeq(value, ",") {
			if option = strings.Trim(option, " \t"); option != "" && !id.isOurs(option) {
				kept = append(kept, option)
			}
		}
	}
	if len(kept) == 0 {
		delete(header, "Connection")
		return
	}
	header["Connection"] = []string{strings.Join(kept, ", ")}
}

// anyOption reports whether is holds for one of the options of Connection.
func anyOption(values []string, is func(string) bool) bool {
	for _, value := range values {
		for option := range strings.SplitSeq(value, ",") {
			if is(strings.Trim(option, " \t")) {
				return true
			}
		}
	}
	return false
}

// removeFromTrailer takes our names out of the trailers, which arrive behind
// the body: now those that were announced, and at the end of the body whatever
// came.
func (id *identity) removeFromTrailer(r *http.Request) {
	id.removeFrom(r.Trailer)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &trailerCleaner{ReadCloser: r.Body, identity: id, trailer: r.Trailer}
	}
}

func (id *identity) removeFrom(header http.Header) {
	for name := range header {
		if id.isOurs(name) {
			delete(header, name)
		}
	}
}

// trailerCleaner is a request body that cleans the trailers when it ends,
// before its reader can look at them.
type trailerCleaner struct {
	io.ReadCloser
	identity *identity
	trailer  http.Header
}

func (c *trailerCleaner) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		c.identity.removeFrom(c.trailer)
	}
	return n, err
}

// isOurs reports whether name is one of ours once both are folded.
func (id *identity) isOurs(name string) bool {
	for _, ours := range id.folded {
		if foldsTo(name, ours) {
			return true
		}
	}
	return false
}

// fold keeps the letters, in lower case, and the digits of a name.
func fold(name string) string {
	folded := make([]byte, 0, len(name))
	for i := range len(name) {
		if c, ok := foldByte(name[i]); ok {
			folded = append(folded, c)
		}
	}
	return string(folded)
}

// foldsTo reports whether fold(name) is folded, without allocating.
func foldsTo(name, folded string) bool {
	n := 0
	for i := range len(name) {
		c, ok := foldByte(name[i])
		if !ok {
			continue
		}
		if n == len(folded) || folded[n] != c {
			return false
		}
		n++
	}
	return n == len(folded)
}

func foldByte(c byte) (folded byte, ok bool) {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c, true
	case 'A' <= c && c <= 'Z':
		return c | 0x20, true
	default:
		return 0, false
	}
}

// userVar is the variable of a request that holds its user.
const userVar = "sesame.user"

// set tells the upstream, placeholders and Caddy's access log who the user is.
func (id *identity) set(r *http.Request, user *userstore.User, logger *zap.Logger) {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	setUserPlaceholders(r, repl, user)
	values := make([]string, len(id.folded)) // of all fields, each a part of it
	for i, field := range id.fields {
		var value string
		if field.column != "" {
			value, _ = userColumn(user, field.column)
			if field.column == groupsColumn {
				id.warnOfGroups(user, logger)
			}
		} else {
			value = repl.ReplaceAll(field.template, "")
		}
		if value == "" {
			continue
		}
		if !survivesHeader(value) {
			if c := logger.Check(zap.WarnLevel, "identity header left out: its value has a control character, or a space at an end, which a header can't carry"); c != nil {
				c.Write(zap.String("header", field.name), zap.Stringer("user", user.PrimaryKey))
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

// restore sets the fields again that an earlier handler has set for its user,
// and that remove has taken for the client's: that user is proven.
func (id *identity) restore(r *http.Request, logger *zap.Logger) {
	if user, ok := caddyhttp.GetVar(r.Context(), userVar).(*userstore.User); ok {
		id.set(r, user, logger)
	}
}

// setUserPlaceholders provides {http.auth.user.*}. Where basic_auth was before,
// the id goes where it has put its own, which is looked at first.
func setUserPlaceholders(r *http.Request, repl *caddy.Replacer, user *userstore.User) {
	_, isProvided := caddyhttp.GetVar(r.Context(), userVar).(*userstore.User)
	if _, isSet := repl.Get(userPlaceholder + "id"); isSet {
		repl.Set(userPlaceholder+"id", user.ID())
	}
	caddyhttp.SetVar(r.Context(), userVar, user)
	if isProvided {
		return
	}
	ctx := r.Context()
	repl.Map(func(key string) (any, bool) {
		column, ok := strings.CutPrefix(key, userPlaceholder)
		if !ok {
			return nil, false
		}
		user, ok := caddyhttp.GetVar(ctx, userVar).(*userstore.User)
		if !ok {
			return nil, false
		}
		return userColumn(user, column)
	})
}

// userColumn is what {http.auth.user.<column>} stands for. A table without a
// column of user names has the primary key in its place.
func userColumn(user *userstore.User, column string) (string, bool) {
	if column == "id" {
		return user.ID(), true
	}
	value, ok := user.Column(column)
	if !ok && column == "username" {
		return user.ID(), true
	}
	return value, ok
}

// survivesHeader reports whether a value arrives as it is in a header field.
// Control characters are not allowed there, and white space at the ends is cut
// off on the way: "bob" and "bob " would become one.
func survivesHeader(value string) bool {
	return httpguts.ValidHeaderFieldValue(value) &&
		!strings.ContainsRune(value, '\t') &&
		value[0] != ' ' && value[len(value)-1] != ' '
}
