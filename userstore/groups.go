package userstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Groups and permissions are in tables of their own. They are read in the query
// that reads the user, like revocations: a lookup, or a batch of lookups, stays one
// round trip, and no answer mixes two states of the database.

// GroupsConfig says where the groups of users are. Empty, it is where Django's
// own `User.groups` has them.
type GroupsConfig struct {
	// The table of memberships: which user is in which group. It is in the database
	// of the users' table, or written `database.table`. Default: the users' table
	// with `_groups` behind its name, as Django calls it: `auth_user_groups`.
	Table string `json:"table,omitempty"`

	// Its column with the user. Default: Django's name for the users' table, such
	// as `person_id` for `app_person`, or else `user_id`.
	User string `json:"user,omitempty"`

	// Its column with the group. Default: `group_id`.
	Group string `json:"group,omitempty"`

	// Where the groups have their names. Default: Django's `auth_group`; but
	// where `group` is set, that column itself has the name.
	Names *GroupNames `json:"names,omitempty"`
}

// GroupNames says where groups have their names.
type GroupNames struct {
	// The table with a row for each group. Required.
	Table string `json:"table,omitempty"`

	// Its column that the column with the group refers to. Required.
	Key string `json:"key,omitempty"`

	// Its column with the name: text, or an integer. Required.
	Name string `json:"name,omitempty"`
}

// The tables and columns of Django's groups.
const (
	djangoGroupsSuffix = "_groups"
	djangoGroupColumn  = "group_id"
	djangoUserColumn   = "user_id"
	djangoGroupTable   = "auth_group"
	djangoKey          = "id"
	djangoGroupName    = "name"
)

// validate returns the first error.
func (g *GroupsConfig) validate() error {
	if g.Table == "" && (g.User != "" || g.Group != "") {
		return errors.New("columns are named, but not the table that they are in")
	}
	tables := []string{g.Table}
	columns := []string{g.User, g.Group}
	if g.Names != nil {
		if g.Names.Table == "" || g.Names.Key == "" || g.Names.Name == "" {
			return errors.New("the names of groups need a table, its key column and its name column")
		}
		tables = append(tables, g.Names.Table)
		columns = append(columns, g.Names.Key, g.Names.Name)
	}
	return checkRelated(tables, columns)
}

// checkRelated checks the names of tables and columns. Each may be empty.
func checkRelated(tables, columns []string) error {
	for _, name := range tables {
		if name == "" {
			continue
		}
		if _, err := parseTable(name); err != nil {
			return err
		}
	}
	for _, name := range columns {
		if err := checkName(name); err != nil {
			return fmt.Errorf("column %q: %w", name, err)
		}
	}
	return nil
}

// names has the place of the groups' names; nil if the group column itself has the
// name.
func (g *GroupsConfig) names() *GroupNames {
	if g.Names == nil && g.Group == "" {
		return &GroupNames{Table: djangoGroupTable, Key: djangoKey, Name: djangoGroupName}
	}
	return g.Names
}

// isDjangos reports whether the groups are Django's, which have permissions.
func (g *GroupsConfig) isDjangos() bool {
	if g == nil || g.Names == nil {
		return g != nil && g.Group == ""
	}
	name, err := parseTable(g.Names.Table)
	return err == nil && name.table == djangoGroupTable && strings.EqualFold(g.Names.Key, djangoKey)
}

// django returns the memberships in Django's groups, wherever the names of groups
// are read from.
func (g *GroupsConfig) django() *GroupsConfig {
	if g.isDjangos() {
		return g
	}
	return new(GroupsConfig)
}

// besideDjango names a table of Django's in the database of its groups.
func (g *GroupsConfig) besideDjango(table string) string {
	if g.isDjangos() && g.Names != nil {
		if name, err := parseTable(g.Names.Table); err == nil && name.schema != "" {
			return tableName{name.schema, table}.sql()
		}
	}
	return table
}

// membership is the table of memberships: which user is in which group.
type membership struct {
	related
	user, group column
}

// The names of tables in the queries for relations. No table of users is called
// that: within the queries, the users' table must keep its own name.
const (
	aliasMembership = "`sesame membership`"
	aliasGroup      = "`sesame group`"
)

// chooseGroups has the SELECT read the names of the user's groups.
func (s *MySQL) chooseGroups(ctx context.Context, b *builder) error {
	b.plan.groups = -1
	if s.cfg.Groups == nil {
		return nil
	}
	m, err := s.membership(ctx, b, s.cfg.Groups)
	if err != nil {
		return setting.In("groups", err)
	}
	from := m.sql(aliasMembership)
	name := nameText(aliasMembership, m.group)
	if named := s.cfg.Groups.names(); named != nil {
		groups, err := s.lookAtRelated(ctx, b, named.Table)
		if err != nil {
			return setting.In("groups", err)
		}
		key, err := groups.column(b, named.Key)
		if err != nil {
			return setting.In("groups", err)
		}
		column, err := groups.column(b, named.Name)
		if err != nil {
			return setting.In("groups", err)
		}
		b.followRelated(groups)
		same, err := sameKey(groups.table, key, aliasGroup, m.table, m.group, aliasMembership)
		if err != nil {
			return setting.In("groups", err)
		}
		from += " JOIN " + groups.sql(aliasGroup) + " ON " + same
		name = nameText(aliasGroup, column)
	}
	ofUser, err := s.ofUser(b, m.related, m.user, aliasMembership)
	if err != nil {
		return setting.In("groups", err)
	}
	b.plan.groups = b.add(readNames(name, from+" WHERE "+ofUser))
	return nil
}

// membership checks the table of memberships.
func (s *MySQL) membership(ctx context.Context, b *builder, g *GroupsConfig) (*membership, error) {
	table, err := s.lookAtRelated(ctx, b, cmp.Or(g.Table, s.djangoTable(djangoGroupsSuffix)))
	if err != nil {
		return nil, err
	}
	m := &membership{related: table}
	if m.user, err = s.userColumn(b, table, g.User); err != nil {
		return nil, err
	}
	if m.group, err = table.column(b, cmp.Or(g.Group, djangoGroupColumn)); err != nil {
		return nil, err
	}
	return m, nil
}

// djangoTable returns Django's name for a table beside the users' table.
func (s *MySQL) djangoTable(suffix string) string {
	return quote(s.name.table + suffix)
}

// userColumn is the column with the user of a table that refers to users. Django
// calls it after the model, which the users' table is called after, too:
// "person_id" for "app_person". Where that isn't so, the model is mostly User.
func (s *MySQL) userColumn(b *builder, t related, name string) (column, error) {
	if name != "" {
		return t.column(b, name)
	}
	model := s.name.table[strings.LastIndexByte(s.name.table, '_')+1:]
	if _, ok := t.find(model + "_id"); ok {
		return t.column(b, model+"_id")
	}
	return t.column(b, djangoUserColumn)
}

// ofUser is the condition that a row belongs to the user being read.
func (s *MySQL) ofUser(b *builder, t related, user column, alias string) (string, error) {
	key, err := s.relationKey(b)
	if err != nil {
		return "", err
	}
	b.plan.relationKey = key.name
	if err := s.followReferring(b, t, user, key); err != nil {
		return "", err
	}
	return sameKey(t.table, user, alias, b.table, key, s.name.sql())
}

// relationKey is the users' column that other tables refer to.
func (s *MySQL) relationKey(b *builder) (column, error) {
	name := s.cfg.Columns.RelationKey
	if name == "" {
		name = b.plan.key.name
		if primary := b.table.primaryKey(); len(primary) == 1 {
			name = primary[0]
		}
	}
	c, ok := b.table.find(name)
	if !ok {
		return c, b.table.lacks(name, "name the column that the tables of groups and permissions refer to with the relation_key option")
	}
	return c, nil
}

// Groups returns the names of the user's groups, sorted byte by byte, each once.
// It is empty where they aren't read. The caller must not change it.
func (u *User) Groups() []string { return u.groups.all }

// InGroup reports whether the user is in the group with just that name.
func (u *User) InGroup(name string) bool { return u.groups.has(name) }

// GroupList returns the names of the user's groups with commas between them. It
// leaves out, and counts, names that a list can't hold unambiguously, or that a
// header field can't carry.
func (u *User) GroupList() (text string, leftOut int) { return u.groups.text, u.groups.leftOut }
