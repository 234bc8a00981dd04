package identity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
	"github.com/caddy-sesame/caddy-sesame/internal/placeholders"
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
	written := "{" + Placeholder + column + "}"
	if strings.EqualFold(column, "password") || strings.EqualFold(column, c.Store.Columns.Password) {
		return fmt.Errorf("%s: the password's hash is never passed on; remove the placeholder", written)
	}
	if column == groupsColumn || column == permissionsColumn {
		return fmt.Errorf("%s: the store doesn't read them; add %s to userstore", written, column)
	}
	if near := nearest.Name(column, names); near != "" {
		return fmt.Errorf("%s: the store reads no column %q; did you mean {%s%s}? If not, name it in columns of userstore", written, column, Placeholder, near)
	}
	return fmt.Errorf("%s: the store reads no column %q; name it in columns of userstore", written, column)
}

// checkPlaceholder rejects a placeholder in the value of a header field that
// would always be empty: for a column that isn't read, for a part of requests
// that Caddy doesn't know, or with a misspelled name. Other modules may
// provide any other placeholder.
func (c Columns) checkPlaceholder(name string) error {
	if column, ok := strings.CutPrefix(name, Placeholder); ok {
		return c.check(column)
	}
	if err := placeholders.Check(name); err != nil {
		return err
	}
	if _, isForeign := placeholders.Foreign(name); !isForeign && !strings.HasPrefix(name, "http.auth.") {
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
