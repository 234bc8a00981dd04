package identity

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Columns are the columns for which {http.auth.user.<column>} can have a
// value.
type Columns struct {
	Store userstore.Config
	Needs userstore.Needs // other columns that are read
}

// names returns the columns that have a placeholder.
func (c Columns) names() []string {
	reads := c.Store.Reads(c.Needs)
	names := []string{"id", "username", "email"}
	for _, column := range []struct {
		name   string
		isRead bool
	}{{groupsColumn, reads.Groups}, {permissionsColumn, reads.Permissions}, {"is_staff", reads.Staff}, {"is_superuser", reads.Superuser}} {
		if column.isRead {
			names = append(names, column.name)
		}
	}
	for _, name := range append([]string{c.Store.Columns.Username, c.Store.Columns.Email}, c.Store.Columns.Extra...) {
		if name != "" && name != userstore.NoColumn {
			names = append(names, name)
		}
	}
	return names
}

// check rejects a placeholder of the user for a column that the store doesn't
// read, and suggests the column that was probably meant.
func (c Columns) check(column string) error {
	names := c.names()
	same := func(name string) bool { return strings.EqualFold(name, column) } // the table's spelling, too
	if slices.ContainsFunc(names, same) {
		return nil
	}
	placeholder := "{" + Placeholder + column + "}"
	if strings.EqualFold(column, "password") || strings.EqualFold(column, c.Store.Columns.Password) {
		return fmt.Errorf("%s: the password's hash is never passed on; remove the placeholder", placeholder)
	}
	if column == groupsColumn || column == permissionsColumn {
		return fmt.Errorf("%s: the store doesn't read them; add %s to userstore", placeholder, column)
	}
	if near := nearest.Name(column, names); near != "" {
		return fmt.Errorf("%s: the store reads no column %q; did you mean {%s%s}? If not, name it in columns of userstore", placeholder, column, Placeholder, near)
	}
	return fmt.Errorf("%s: the store reads no column %q; name it in columns of userstore", placeholder, column)
}

// checkPlaceholder rejects a placeholder in the value of a header field that
// would always be empty: for a column that isn't read, for a part of requests
// that Caddy doesn't know, or with a misspelled name. Other modules may
// provide any other placeholder.
func (c Columns) checkPlaceholder(name string) error {
	if column, ok := strings.CutPrefix(name, Placeholder); ok {
		return c.check(column)
	}
	namespace, _, _ := strings.Cut(name, ".")
	switch {
	case strings.HasPrefix(name, "http.request."):
		return checkRequestPlaceholder(name)
	case namespace == "system" || namespace == "time":
		if _, known := caddy.NewReplacer().Get(name); !known {
			return fmt.Errorf("{%s}: Caddy knows no such placeholder", name)
		}
		return nil
	case namespace == "env", namespace == "file", strings.HasPrefix(name, "http.vars."), strings.HasPrefix(name, "http.regexp."):
		return nil
	}
	var meant []string
	for _, column := range c.names() {
		right := Placeholder + column
		meant = append(meant, right)
		for rest := right; rest != ""; _, rest, _ = strings.Cut(rest, ".") {
			if name == rest && name != "id" && name != groupsColumn {
				return fmt.Errorf("{%s}: there is no such placeholder; did you mean {%s}?", name, right)
			}
		}
	}
	if near := nearest.Name(name, meant); near != "" {
		return fmt.Errorf("{%s}: there is no such placeholder; did you mean {%s}?", name, near)
	}
	return nil
}

// requestPlaceholders are Caddy's placeholders for parts of a request, for
// suggestions.
var requestPlaceholders = []string{
	"http.request.host", "http.request.hostport", "http.request.port", "http.request.method", "http.request.proto", "http.request.scheme",
	"http.request.uri", "http.request.uri.path", "http.request.uri.query", "http.request.uri.path.file", "http.request.uri.path.dir",
	"http.request.orig_uri", "http.request.orig_uri.path", "http.request.orig_uri.query", "http.request.orig_method",
	"http.request.remote", "http.request.remote.host", "http.request.remote.port", "http.request.uuid",
	"http.request.local", "http.request.local.host", "http.request.local.port", "http.request.duration",
}

// checkRequestPlaceholder has Caddy evaluate a placeholder for a part of a
// request.
func checkRequestPlaceholder(name string) error {
	if strings.HasPrefix(name, "http.request.tls.") || strings.HasPrefix(name, "http.request.local") || slices.Contains(requestPlaceholders, name) || strings.HasPrefix(name, "http.request.body") {
		return nil // some need a connection, or a body
	}
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Path: "/"}, Host: "localhost", Header: make(http.Header), RemoteAddr: "127.0.0.1:80"}
	repl := caddy.NewReplacer()
	caddyhttp.PrepareRequest(r, repl, nil, nil)
	if _, known := repl.Get(name); known {
		return nil
	}
	hint := ""
	if near := nearest.Name(name, requestPlaceholders); near != "" {
		hint = "; did you mean {" + near + "}?"
	}
	return fmt.Errorf("{%s}: Caddy knows no such placeholder%s", name, hint)
}
