package userstore

import (
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// validateNames checks the names of tables and columns, without a database.
func (c *Config) validateNames() error {
	if err := c.validateRelations(); err != nil {
		return err
	}
	if c.Columns.PrimaryKey == NoColumn {
		return setting.Errorf("primary_key", "primary_key can't be -: without a primary key no user can be found")
	}
	columns := []struct{ option, name string }{
		{"primary_key", c.Columns.PrimaryKey},
		{"primary_key_field", c.PrimaryKeyField},
		{"password", c.Columns.Password},
		{"last_login", c.Columns.LastLogin},
		{"is_active", c.Columns.IsActive},
		{"email", c.Columns.Email},
		{"username", c.Columns.Username},
		{"is_staff", c.Columns.IsStaff},
		{"is_superuser", c.Columns.IsSuperuser},
		{"relation_key", c.Columns.RelationKey},
	}
	for _, column := range columns {
		if err := checkName(column.name); err != nil {
			return setting.In(column.option, err)
		}
	}
	for i := range c.Columns.Extra {
		if err := c.validateExtra(i); err != nil {
			return err
		}
	}
	return nil
}

// validateRelations checks the tables that are read beside that of the users, and the
// column by which they name users.
func (c *Config) validateRelations() error {
	if c.Revocations != "" {
		if _, err := parseTable(c.Revocations); err != nil {
			return setting.In("revocations", err)
		}
	}
	if c.Groups != nil {
		if err := c.Groups.validate(); err != nil {
			return setting.In("groups", err)
		}
	}
	if c.Permissions != nil {
		if err := c.Permissions.validate(); err != nil {
			return setting.In("permissions", err)
		}
	}
	switch {
	case c.Columns.RelationKey == NoColumn:
		return setting.Errorf("relation_key", "relation_key can't be -: without it no user's groups can be found")
	case c.Columns.RelationKey != "" && c.Groups == nil && c.Permissions == nil && !c.HasRelations:
		return setting.Errorf("relation_key", "relation_key has no effect without groups or permissions: add one of these options, or remove it")
	}
	return nil
}

// validateExtra checks the name of a column that is read for the identity alone.
func (c *Config) validateExtra(i int) error {
	name := c.Columns.Extra[i]
	if err := checkName(name); err != nil {
		return setting.Errorf("columns", "extra column %d: %w", i+1, err)
	}
	same := func(other string) bool { return strings.EqualFold(name, other) }
	switch {
	case name == "" || name == NoColumn:
		return setting.Errorf("columns", "extra column %d has no name", i+1)
	case slices.ContainsFunc(c.Columns.Extra[:i], same):
		return setting.Errorf("columns", "extra column %q is named twice", name)
	case strings.Contains(name, ","):
		return setting.Errorf("columns", "extra column %q has a comma: write several names with spaces between them", name)
	case same("groups") && c.Groups != nil || same("permissions") && c.Permissions != nil:
		return setting.Errorf("columns", "extra column %q has the name of what is read of the user by the option %[1]s: "+
			"give it another name in a view", name)
	// A password's hash in an extra column could easily get into a header or a log.
	case same(c.Columns.Password) || same(defaultPassword) && (c.Columns.Password == "" || c.Columns.Password == NoColumn):
		return setting.Errorf("columns", "extra column %q holds the password: it is never passed on", name)
	}
	return nil
}
