package identity

import (
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Remove removes from a request every header field that an upstream might take
// for one of the gateway's, or of another gateway's: CGI, WSGI and PHP turn
// Remote-User, Remote_User and remote.user into HTTP_REMOTE_USER, and old
// versions Remote~User, too. So only the letters and digits of a name count.
// Fields that another handler has set for the user it has proven stay.
func (id *Fields) Remove(r *http.Request) {
	for name := range r.Header {
		if id.isForged(r, name) {
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

// removeFromConnection removes the gateway's field names from Connection. A
// proxy drops the fields that Connection names before it forwards a request,
// the gateway's included.
func (id *Fields) removeFromConnection(header http.Header, values []string) {
	if !anyOption(values, id.names) {
		return
	}
	var kept []string
	for _, value := range values {
		for option := range strings.SplitSeq(value, ",") {
			if option = strings.Trim(option, " \t"); option != "" && !id.names(option) {
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

// anyOption reports whether is returns true for one of the options of
// Connection.
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

// removeFromTrailer removes the gateway's field names from the trailers, which
// follow the body: those announced now, and those that arrived after the body.
func (id *Fields) removeFromTrailer(r *http.Request) {
	id.removeFrom(r.Trailer)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &trailerCleaner{ReadCloser: r.Body, fields: id, trailer: r.Trailer}
	}
}

func (id *Fields) removeFrom(header http.Header) {
	for name := range header {
		if id.IsOurs(name) || isCredentials(name) || trusted.has(name) && !id.passes(name) {
			delete(header, name)
		}
	}
}

// trailerCleaner is a request body that removes trailers when it ends, before
// its reader can see them.
type trailerCleaner struct {
	io.ReadCloser
	fields  *Fields
	trailer http.Header
}

func (c *trailerCleaner) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		c.fields.removeFrom(c.trailer)
	}
	return n, err
}

// isForged reports whether a field of a request was set by the client, and
// upstreams might trust it.
func (id *Fields) isForged(r *http.Request, name string) bool {
	if id.IsOurs(name) || isDisguisedCredentials(name) {
		return true
	}
	return trusted.has(name) && !id.passes(name) && !isSet(r, name)
}

// names reports whether a field carries the identity of the user to upstreams.
func (id *Fields) names(name string) bool { return id.IsOurs(name) || trusted.has(name) }

// setters are the handlers that have set fields of a request.
type setters struct {
	fields *Fields
	before *setters
}

// settersVar is the variable of a request that holds its setters.
const settersVar = "sesame.setters"

// noteSetter records, for later handlers, that the fields were set by this
// handler and not by the client.
func (id *Fields) noteSetter(vars variables) {
	before, _ := vars[settersVar].(*setters)
	for s := before; s != nil; s = s.before {
		if s.fields == id {
			return
		}
	}
	if before == nil {
		vars[settersVar] = &id.alone
		return
	}
	vars[settersVar] = &setters{fields: id, before: before}
}

// isSet reports whether another handler has set a field.
func isSet(r *http.Request, name string) bool {
	s, _ := caddyhttp.GetVar(r.Context(), settersVar).(*setters)
	for ; s != nil; s = s.before {
		if s.fields.assertions != nil && s.fields.assertions.header == name {
			return true
		}
		for i := range s.fields.fields {
			if s.fields.fields[i].name == name {
				return true
			}
		}
	}
	return false
}

// IsOurs reports whether name equals a field of the gateway once both are folded.
func (id *Fields) IsOurs(name string) bool {
	for _, ours := range id.folded {
		if foldsTo(name, ours) {
			return true
		}
	}
	return false
}

// fold keeps the letters, in lower case, and the digits of a name.
func fold(name string) string {
	return string(appendFolded(make([]byte, 0, len(name)), name))
}

func appendFolded(folded []byte, name string) []byte {
	for i := range len(name) {
		if c, ok := foldByte(name[i]); ok {
			folded = append(folded, c)
		}
	}
	return folded
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
