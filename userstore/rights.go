package userstore

import (
	"context"
)

// Reads says which of a user's rights a store reads.
type Reads struct {
	Groups      bool // User.Groups
	Permissions bool // User.Permissions
	Staff       bool // User.IsStaff
	Superuser   bool // User.IsSuperuser
}

// Reads returns which rights a store with this configuration reads.
func (c *Config) Reads(needs Needs) Reads {
	return Reads{
		Groups:      c.Groups != nil,
		Permissions: c.Permissions != nil,
		Staff:       needs.Staff || c.Columns.IsStaff != "" && c.Columns.IsStaff != NoColumn,
		Superuser: needs.Superuser || c.Columns.IsSuperuser != "" && c.Columns.IsSuperuser != NoColumn ||
			c.Permissions != nil && c.Columns.IsSuperuser != NoColumn,
	}
}

// Reads returns which of this user's rights were read. A right that wasn't read is
// unknown, which differs from no.
func (u *User) Reads() Reads {
	if u.plan == nil {
		return Reads{}
	}
	return u.plan.reads
}

// chooseRights adds the user's rights to the SELECT.
func (s *MySQL) chooseRights(ctx context.Context, b *builder) error {
	b.plan.reads = s.cfg.Reads(s.needs)
	var err error
	if b.plan.isStaff, err = b.chooseFlag("is_staff", b.plan.reads.Staff, s.cfg.Columns.IsStaff, defaultIsStaff,
		"it is required of users"); err != nil {
		return err
	}
	why := "it is required of users"
	if s.cfg.Permissions != nil {
		why = "who has it has all permissions; if the table has none, say so with is_superuser -"
	}
	if b.plan.isSuperuser, err = b.chooseFlag("is_superuser", b.plan.reads.Superuser, s.cfg.Columns.IsSuperuser, defaultSuperuser, why); err != nil {
		return err
	}
	if err := s.chooseGroups(ctx, b); err != nil {
		return err
	}
	if err := s.choosePermissions(ctx, b); err != nil {
		return err
	}
	for _, right := range []struct {
		isRead   bool
		position int
		name     string
	}{
		{b.plan.reads.Staff, nameIsStaff, defaultIsStaff},
		{b.plan.reads.Superuser, nameIsSuperuser, defaultSuperuser},
		{b.plan.reads.Groups, nameGroups, "groups"},
		{b.plan.reads.Permissions, namePermissions, "permissions"},
	} {
		if right.isRead {
			b.name(right.position, right.name)
		}
	}
	return nil
}

// chooseFlag adds a boolean column to the SELECT, and returns its position.
func (b *builder) chooseFlag(option string, isRead bool, name, fallback, why string) (position int, err error) {
	if !isRead {
		return -1, nil
	}
	c, _, err := b.pick(option, name, fallback, true, why)
	if err != nil {
		return -1, err
	}
	truth, err := b.truth(option, c)
	if err != nil {
		return -1, err
	}
	return b.add(truth), nil
}

// flag has a column's values for yes and no.
func flag(yes bool) string {
	if yes {
		return "1"
	}
	return "0"
}

// readRights reads the user's rights from a row.
func (u *User) readRights(p *plan, r *row, copies *texts) error {
	u.IsStaff = string(r.get(p.isStaff)) == "1"
	u.IsSuperuser = string(r.get(p.isSuperuser)) == "1"
	u.hasSecondFactor = string(r.get(p.secondFactor)) == "1"
	if p.groups >= 0 {
		names, err := parseNames(string(r.get(p.groups)))
		if err != nil {
			return err
		}
		u.groups = newNameList(names)
	}
	if p.permissions < 0 {
		return nil
	}
	var err error
	if u.permissions, err = parseNames(copies.add(r.get(p.permissions))); err != nil {
		return err
	}
	u.groupPermissions, err = parseNames(copies.add(r.get(p.groupPermissions)))
	return err
}
