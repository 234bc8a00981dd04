package userstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// PermissionsConfig says where the permissions of users are, in addition to those
// of their groups. Empty, they are where Django's own `User.user_permissions` has
// them. The rest is in Django's tables. If `groups` names Django's table of groups,
// they are in its database, and users' groups are where `groups` says.
type PermissionsConfig struct {
	// The table of users' own permissions, in the database of the users' table or
	// as `database.table`. Default: the users' table with `_user_permissions`
	// behind its name.
	Table string `json:"table,omitempty"`

	// Its column with the user. Default: as for groups.
	User string `json:"user,omitempty"`
}

// The tables and columns of Django's permissions.
const (
	djangoPermissionsSuffix = "_user_permissions"
	djangoPermissionColumn  = "permission_id"
	djangoGroupPermissions  = "auth_group_permissions"
	djangoPermissionTable   = "auth_permission"
	djangoCodename          = "codename"
	djangoTypeColumn        = "content_type_id"
	djangoTypeTable         = "django_content_type"
	djangoAppLabel          = "app_label"
)

// The names of tables in the queries for permissions.
const (
	aliasGranted    = "`sesame granted`"
	aliasPermission = "`sesame permission`"
	aliasType       = "`sesame content type`"
)

func (p *PermissionsConfig) validate() error {
	return checkRelated([]string{p.Table}, []string{p.User})
}

// choosePermissions adds the user's permissions to the SELECT, as Django's
// ModelBackend finds them: the user's own, and those of the groups.
func (s *MySQL) choosePermissions(ctx context.Context, b *builder) error {
	b.plan.permissions, b.plan.groupPermissions = -1, -1
	if s.cfg.Permissions == nil {
		return nil
	}
	if err := s.readPermissions(ctx, b); err != nil {
		return setting.In("permissions", err)
	}
	return nil
}

func (s *MySQL) readPermissions(ctx context.Context, b *builder) error {
	name, described, err := s.permissionNames(ctx, b)
	if err != nil {
		return err
	}

	own, err := s.lookAtRelated(ctx, b, cmp.Or(s.cfg.Permissions.Table, s.djangoTable(djangoPermissionsSuffix)))
	if err != nil {
		return err
	}
	user, err := s.userColumn(b, own, s.cfg.Permissions.User)
	if err != nil {
		return err
	}
	granted, err := described(own)
	if err != nil {
		return err
	}
	ofUser, err := s.ofUser(b, own, user, aliasGranted)
	if err != nil {
		return err
	}
	b.plan.permissions = b.add(readNames(name, own.sql(aliasGranted)+granted+" WHERE "+ofUser))

	m, err := s.membership(ctx, b, s.cfg.Groups.django())
	if err != nil {
		return err
	}
	ofGroup, err := s.lookAtRelated(ctx, b, s.cfg.Groups.besideDjango(djangoGroupPermissions))
	if err != nil {
		return err
	}
	group, err := ofGroup.column(b, djangoGroupColumn)
	if err != nil {
		return err
	}
	b.followRelated(ofGroup)
	same, err := sameKey(ofGroup.table, group, aliasGranted, m.table, m.group, aliasMembership)
	if err != nil {
		return err
	}
	if granted, err = described(ofGroup); err != nil {
		return err
	}
	if ofUser, err = s.ofUser(b, m.related, m.user, aliasMembership); err != nil {
		return err
	}
	b.plan.groupPermissions = b.add(readNames("DISTINCT "+name,
		m.sql(aliasMembership)+" JOIN "+ofGroup.sql(aliasGranted)+" ON "+same+granted+" WHERE "+ofUser))
	return nil
}

// permissionNames returns the expression for a permission's name, as Django writes
// it, and the joins from a table that grants permissions to the tables with the
// parts of the name.
func (s *MySQL) permissionNames(ctx context.Context, b *builder) (name string, described func(granting related) (string, error), err error) {
	permissions, err := s.lookAtRelated(ctx, b, s.cfg.Groups.besideDjango(djangoPermissionTable))
	if err != nil {
		return "", nil, err
	}
	types, err := s.lookAtRelated(ctx, b, s.cfg.Groups.besideDjango(djangoTypeTable))
	if err != nil {
		return "", nil, err
	}
	b.followRelated(permissions)
	b.followRelated(types)
	var key, codename, ofType, typeKey, label column
	for _, c := range []struct {
		of   related
		name string
		to   *column
	}{
		{permissions, djangoKey, &key},
		{permissions, djangoCodename, &codename},
		{permissions, djangoTypeColumn, &ofType},
		{types, djangoKey, &typeKey},
		{types, djangoAppLabel, &label},
	} {
		if *c.to, err = c.of.column(b, c.name); err != nil {
			return "", nil, err
		}
	}
	sameType, err := sameKey(types.table, typeKey, aliasType, permissions.table, ofType, aliasPermission)
	if err != nil {
		return "", nil, err
	}
	name = "CONCAT(" + nameText(aliasType, label) + ", '2E', " + nameText(aliasPermission, codename) + ")" // 2E is a dot
	return name, func(granting related) (string, error) {
		permission, err := granting.column(b, djangoPermissionColumn)
		if err != nil {
			return "", err
		}
		same, err := sameKey(permissions.table, key, aliasPermission, granting.table, permission, aliasGranted)
		if err != nil {
			return "", err
		}
		return " JOIN " + permissions.sql(aliasPermission) + " ON " + same + " JOIN " + types.sql(aliasType) + " ON " + sameType, nil
	}, nil
}

// HasPermission reports whether the user has a permission, such as
// `blog.change_post`, as Django's User.has_perm with its ModelBackend does: an
// active superuser has all.
func (u *User) HasPermission(name string) bool {
	return u.IsActive && (u.IsSuperuser || u.permissions.has(name) || u.groupPermissions.has(name))
}

// Permissions returns the permissions of the user and of the user's groups, sorted
// byte by byte, each once. It doesn't show that a superuser has all permissions.
func (u *User) Permissions() []string {
	all := slices.Concat(u.permissions.all(), u.groupPermissions.all())
	slices.Sort(all)
	return slices.Compact(all)
}

// PermissionList is GroupList for permissions.
func (u *User) PermissionList() string {
	return joinFitting(u.Permissions())
}
