package userstore

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// The columns of Django's auth_user.
const (
	defaultPrimaryKey = "id"
	defaultPassword   = "password"
	defaultLastLogin  = "last_login"
	defaultIsActive   = "is_active"
	defaultEmail      = "email"
	defaultUsername   = "username"
	defaultIsStaff    = "is_staff"
	defaultSuperuser  = "is_superuser"
)

// Schema is what the check of the table found.
type Schema struct {
	// PrimaryKey is the column whose value tokens hold, and Kind the kind of its
	// values in Packer.
	PrimaryKey string
	Kind       token.Kind

	// Packer is the class in sesame.packers that django-sesame chooses for a
	// column of this type.
	Packer string

	// The columns that exist and that the configuration doesn't exclude.
	HasPassword, HasLastLogin, HasIsActive, HasEmail, HasUsername bool

	// LastLoginPrecision is the number of digits of a second's fraction that
	// last_login can hold.
	LastLoginPrecision int

	// View: the table is a view, so that nothing says whether keys are unique.
	View bool
}

// misfit is an error that waiting for MySQL doesn't fix: the configuration doesn't
// fit the database. start_without doesn't forgive it.
type misfit struct{ err error }

func (m misfit) Error() string { return m.err.Error() }
func (m misfit) Unwrap() error { return m.err }

func misfitf(format string, args ...any) error { return misfit{fmt.Errorf(format, args...)} }

func (s *MySQL) chooseKey(ctx context.Context, t table, p *plan) error {
	name := s.keyName(t)
	c, ok := t.find(name)
	if !ok {
		return setting.Of("primary_key", t.lacks(name, "name the column that tokens hold with the primary_key option"))
	}
	key, err := newKeyColumn(c)
	if err != nil {
		return err
	}
	if s.needs.Kind != 0 {
		if err := key.check(s.needs.Kind); err != nil {
			return err
		}
	}
	if !t.view {
		unique, err := s.isUnique(ctx, t, c)
		if err != nil {
			return fmt.Errorf("looking for a unique index on column %q: %w", c.name, err)
		}
		if !unique {
			return setting.Of("primary_key", misfitf("column %q of %s isn't unique, so that a token could be good for several users: "+
				"name a column with a unique index of its own with the primary_key option", c.name, t))
		}
	}
	p.key = key
	p.schema.PrimaryKey, p.schema.Packer, p.schema.Kind = key.name, key.packer, key.kind
	if s.needs.Kind != 0 {
		p.schema.Kind = s.needs.Kind
	}
	return nil
}

// keyName is the primary key column's name by the configuration.
func (s *MySQL) keyName(t table) string {
	if s.cfg.Columns.PrimaryKey != "" {
		return s.cfg.Columns.PrimaryKey
	}
	if field := s.cfg.primaryKeyField(); field != DefaultPrimaryKeyField {
		return field
	}
	if primary := t.primaryKey(); len(primary) == 1 {
		return primary[0]
	}
	return defaultPrimaryKey
}

// pick finds the column for an option. ok is false if the table has none, which
// is an error only where it is required or the operator named it.
func (b *builder) pick(option, name, fallback string, required bool, why string) (c column, ok bool, err error) {
	if name == NoColumn {
		if required {
			return c, false, setting.Of(option, misfitf("%s is -, but %s", option, why))
		}
		return c, false, nil
	}
	if c, ok = b.table.find(orDefault(name, fallback)); ok || name == "" && !required {
		return c, ok, nil
	}
	advice := fmt.Sprintf("name it with the %s option", option)
	if required {
		advice += "; " + why
	} else {
		advice += ", or remove that option"
	}
	return c, false, setting.Of(option, b.table.lacks(orDefault(name, fallback), advice))
}

func (s *MySQL) choosePassword(b *builder) error {
	b.plan.password = -1
	if s.cfg.Columns.Password == NoColumn {
		return nil
	}
	c, _, err := b.pick("password", s.cfg.Columns.Password, defaultPassword, true,
		"if the table has none, say so with - for a name")
	if err != nil {
		return err
	}
	b.plan.schema.HasPassword = true
	b.plan.password = b.add(quote(c.name))
	b.conditions = append(b.conditions, sameText(c))
	return nil
}

func (s *MySQL) chooseLastLogin(b *builder) error {
	b.plan.lastLogin = -1
	name := s.cfg.Columns.LastLogin
	c, ok, err := b.pick("last_login", name, defaultLastLogin, s.needs.LastLogin,
		"logins and one-time tokens write it; a table without such a column needs last_login -, update_last_login off in session, and links that aren't one-time")
	if err != nil || !ok {
		return err
	}
	precision, err := b.lastLoginPrecision(c)
	if err != nil {
		if name == "" && !s.needs.LastLogin {
			return nil // the column has that name, but isn't Django's
		}
		return err
	}
	b.plan.schema.HasLastLogin, b.plan.schema.LastLoginPrecision = true, precision
	if !s.needs.LastLogin {
		return nil
	}
	// As text, in the SELECT and in the UPDATE: the value is compared to the last
	// digit, and no layer converts it between time zones. In binary form, the
	// driver would cut fractions off times that a view computes.
	b.lastLogin = quote(c.name)
	text := "CAST(" + b.lastLogin + " AS CHAR)"
	b.plan.lastLogin = b.add(text)
	b.conditions = append(b.conditions, text+" <=> ?")
	return nil
}

func (b *builder) lastLoginPrecision(c column) (int, error) {
	switch {
	case c.isTime():
		return c.precision, nil
	case c.isText() && c.length >= int64(len(microseconds)):
		return 6, nil
	case c.isText() && c.length >= int64(len(wholeSeconds)):
		return 0, nil
	default:
		return 0, misfitf("column %q of %s is of type %s: last_login must be DATETIME or TIMESTAMP, or VARCHAR(%d)",
			c.name, b.table, c.columnType, len(microseconds))
	}
}

func (s *MySQL) chooseIsActive(ctx context.Context, b *builder) error {
	b.plan.isActive = -1
	c, ok, err := b.pick("is_active", s.cfg.Columns.IsActive, defaultIsActive, false, "")
	if err != nil {
		return err
	}
	if !ok {
		if s.cfg.Columns.IsActive != NoColumn {
			if err := s.seesAllColumns(ctx, b.table); err != nil {
				return err
			}
			s.logger.Warn("every user counts as active: the table has no column "+defaultIsActive+
				"; name it with the is_active option, or say with - that there is none",
				zap.Stringer("table", b.table))
		}
		return nil
	}
	truth, err := b.truth("is_active", c)
	if err != nil {
		return err
	}
	b.plan.schema.HasIsActive = true
	b.plan.isActive = b.add(truth)
	b.conditions = append(b.conditions, truth)
	return nil
}

// truth is the expression for a column's truth: 1, or 0, also for NULL.
func (b *builder) truth(option string, c column) (string, error) {
	switch c.dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "bit", "decimal":
		return quote(c.name) + " IS TRUE", nil
	default:
		// MySQL takes text for true if it begins with a number, and any ENUM.
		return "", setting.Of(option, misfitf("column %q of %s is of type %s: %s must be a number or a boolean; "+
			"a view can make one of it", c.name, b.table, c.columnType, option))
	}
}

// seesAllColumns makes sure that a column that isn't listed isn't there. The list
// leaves out columns that the DSN's user may not read, and such a column may say
// that a user is inactive.
func (s *MySQL) seesAllColumns(ctx context.Context, t table) error {
	rows, err := s.pool.db.QueryContext(ctx, "SELECT * FROM "+s.name.sql()+" LIMIT 0")
	if err != nil {
		return misfitf("it can't be told whether %s has a column %s, since the dsn's user may not read all of its columns: "+
			"grant SELECT on %[2]s, or say with is_active - that there is none (%w)", t, defaultIsActive, err)
	}
	defer rows.Close()
	return rows.Err()
}

// chooseNames is for e-mail address and user name.
func (s *MySQL) chooseNames(b *builder) error {
	b.plan.email, b.plan.username = -1, -1
	email, ok, err := b.pick("email", s.cfg.Columns.Email, defaultEmail, s.needs.Email,
		"tokens depend on the e-mail address")
	if err != nil {
		return err
	}
	if ok {
		b.plan.schema.HasEmail = true
		b.plan.email = b.add(readText(email))
		b.name(nameEmail, "email", email.name, s.cfg.Columns.Email)
		if s.needs.Email {
			b.conditions = append(b.conditions, sameText(email))
		}
	}
	username, ok, err := b.pick("username", s.cfg.Columns.Username, defaultUsername, false, "")
	if err != nil {
		return err
	}
	if ok {
		b.plan.schema.HasUsername = true
		b.plan.username = b.add(readText(username))
		b.name(nameUsername, "username", username.name, s.cfg.Columns.Username)
	}
	return nil
}

func (s *MySQL) chooseExtra(b *builder) error {
	b.plan.extra = len(b.columns)
	for i, name := range s.cfg.Columns.Extra {
		c, ok := b.table.find(name)
		if !ok {
			return setting.Of("columns", b.table.lacks(name, "correct or remove that extra column"))
		}
		b.add(readText(c))
		b.name(i, name, c.name)
	}
	return nil
}

// name makes a column known to User.Column.
func (b *builder) name(position int, names ...string) {
	for _, name := range names {
		if name != "" {
			b.plan.names[name] = position
		}
	}
}

// readText is the expression that reads a column as text.
func readText(c column) string {
	switch {
	case c.isTime() || c.dataType == "time":
		return "CAST(" + quote(c.name) + " AS CHAR)" // with all digits, in views too
	case c.dataType == "bit":
		return "CAST(" + quote(c.name) + " AS UNSIGNED)"
	default:
		return quote(c.name)
	}
}

// sameText is the condition that a column still equals the parameter byte for byte:
// most collations take passwords of other letter case for equal.
func sameText(c column) string {
	if c.isBinary() {
		return quote(c.name) + " <=> ?"
	}
	return "CAST(CONVERT(" + quote(c.name) + " USING utf8mb4) AS BINARY) <=> ?"
}
