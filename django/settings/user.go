package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// userModel is what Script tells of the user model.
type userModel struct {
	Table       []string           `json:"table"` // with the database in front where it is named
	Columns     map[string]*column `json:"columns"`
	Computed    []string           `json:"computed"` // columns whose attributes Python computes
	View        *view              `json:"view"`     // nil where a table will do
	Groups      *membership        `json:"groups"`
	Permissions *membership        `json:"permissions"`
	Undecided   []Note             `json:"undecided"`
	Notes       []Note             `json:"notes"`
}

type column struct {
	Column string   `json:"column"`
	Table  []string `json:"table"`
	Type   string   `json:"type"`
}

// view is a view with the users that Django finds.
type view struct {
	Select   string   `json:"select"`
	Columns  []string `json:"columns"`
	Writable bool     `json:"writable"`
	Complete bool     `json:"complete"` // whether nothing is left for the operator to fill in
}

// membership is a table with users and their groups, or their permissions.
type membership struct {
	Table []string `json:"table"`
	User  string   `json:"user"`
	Other string   `json:"other"`
	Names []string `json:"names"` // the table of groups or permissions
}

// giveScript is the advice if settings alone don't tell enough.
const giveScript = "Run the script that `caddy sesame import-django --script` prints in the project, and give what it prints, which tells"

// table writes the names of the table and its columns.
func (b *block) table(d *database) error {
	if b.user == nil {
		return b.assumedTable()
	}
	for _, note := range b.user.Notes {
		b.note(note.Setting, "%s", note.Text)
	}
	for _, note := range b.user.Undecided {
		b.undecide(note.Setting, "%s", note.Text)
	}
	if err := b.userTable(d); err != nil {
		return err
	}
	b.membership("groups", b.user.Groups)
	b.membership("permissions", b.user.Permissions)
	return nil
}

// assumedTable is for settings that don't tell of the model.
func (b *block) assumedTable() error {
	const setting = "AUTH_USER_MODEL"
	b.knownBackends()
	model, err := b.text(setting)
	if err != nil || model == "" || model == "auth.User" {
		return err
	}
	app, class, ok := strings.Cut(model, ".")
	if !ok || app == "" || class == "" {
		return problem(setting, "it must be written as app.Model")
	}
	table := strings.ToLower(app + "_" + class)
	b.undecide(setting, "the settings tell neither what the table of %s and its columns are called (%q and the names of auth_user's columns were assumed, and without a column username, Remote-User is the primary key), nor which users its manager hides. %s", model, table, giveScript)
	return b.storeWord(setting, "table", table)
}

// knownBackends is for settings that name backends without their rules.
func (b *block) knownBackends() {
	const setting, sesame = "AUTHENTICATION_BACKENDS", "sesame.backends.ModelBackend"
	backends, ok := b.settings[setting].([]any)
	if !ok || slices.Contains(backends, any(sesame)) {
		return
	}
	for _, backend := range backends {
		if name, _ := backend.(string); name != "django.contrib.auth.backends.ModelBackend" {
			b.undecide(setting, "which users %q lets in, the settings don't tell. %s", name, giveScript)
			return
		}
	}
	b.note(setting, "%s isn't among them: the gateway lets in every user with a valid token and is_active", sesame)
}

// userTable writes the table that the script has found, or the view to be made of
// it.
func (b *block) userTable(d *database) error {
	const setting = "AUTH_USER_MODEL"
	if len(b.user.Table) == 0 {
		return problem(setting, "the JSON has no table of users")
	}
	if b.user.View != nil {
		return b.view(d)
	}
	if b.user.Columns["primary_key"] == nil && !slices.Contains(b.user.Computed, "primary_key") {
		return problem("SESAME_PRIMARY_KEY_FIELD", "the user model has no such field, or one of several columns")
	}
	if !slices.Equal(b.user.Table, []string{"auth_user"}) {
		if err := b.storeWord(setting, "table", tableName(b.user.Table)); err != nil {
			return err
		}
	}
	return b.columns()
}

// view writes the statement that makes a view, and has the gateway read the view.
// The view's name depends on its statement: if a manager changes, the former view
// no longer fits.
func (b *block) view(d *database) error {
	const setting = "AUTH_USER_MODEL"
	v := b.user.View
	sum := sha256.Sum256([]byte(v.Select))
	name := "sesame_users_" + hex.EncodeToString(sum[:4])
	columns := make([]string, len(v.Columns))
	for i, column := range v.Columns {
		columns[i] = quoteName(column)
	}
	schema, err := d.text("NAME", "db", "database")
	if err != nil {
		return err
	}
	qualified := quoteName(name)
	if schema != "" {
		b.report.View = "USE " + quoteName(schema) + ";\n"
		qualified = quoteName(schema) + "." + qualified
	}
	b.report.View += "CREATE VIEW " + qualified + " (" + strings.Join(columns, ", ") + ") AS\n" + v.Select + ";"
	if v.Complete {
		b.note(setting, "Caddy doesn't start before there is a view %s, which the statement below makes. The dsn's user must be allowed to read it, and to update its last_login for one_time and session", qualified)
	} else {
		b.note(setting, "a view can hide users: complete the statement below, make the view %s, and remove the lines with undecided. The dsn's user must be allowed to read the view", qualified)
	}
	if !v.Writable {
		b.note(setting, "MySQL may not let last_login be written through this view, because of its DISTINCT, GROUP BY or subquery: then one_time isn't possible, and session needs update_last_login off")
	}
	b.viewComment()
	b.lines = append(b.lines, "\t\ttable "+name, "\t\tprimary_key id")
	for _, name := range []string{"password", "last_login", "is_active", "email", "username"} {
		if !slices.Contains(v.Columns, name) {
			b.lines = append(b.lines, "\t\t"+name+" -")
		}
	}
	b.computedFlags()
	if slices.Contains(v.Columns, "pk") {
		comment := "# "
		if b.hasVias {
			comment = "" // tables of sessions and tokens refer to it
		}
		b.lines = append(b.lines, "\t\t"+comment+"relation_key pk")
	}
	b.noteActive(slices.Contains(v.Columns, "is_active"))
	return nil
}

// viewComment writes the statement into the block, unless Caddy would replace a
// part of it even there.
func (b *block) viewComment() {
	if strings.Contains(b.report.View, "{$") || !isPrintable(strings.ReplaceAll(b.report.View, "\n", " ")) {
		return
	}
	b.lines = append(b.lines, "\t\t# Caddy starts when there is this view:")
	for line := range strings.Lines(b.report.View) {
		b.lines = append(b.lines, "\t\t# "+strings.TrimSuffix(line, "\n"))
	}
}

// tableName writes a name, which may have a dot in it, with its database.
func tableName(parts []string) string {
	written := make([]string, len(parts))
	for i, part := range parts {
		written[i] = part
		if strings.ContainsAny(part, ".`") {
			written[i] = quoteName(part)
		}
	}
	return strings.Join(written, ".")
}

// quoteName writes a name in SQL.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// columns writes the columns that are called differently, or missing.
func (b *block) columns() error {
	const setting = "AUTH_USER_MODEL"
	field, err := b.text("SESAME_PRIMARY_KEY_FIELD")
	if err != nil {
		return err
	}
	if key := b.user.Columns["primary_key"]; key != nil && field != "" && field != "pk" && key.Column != field {
		if err := b.storeWord(setting, "primary_key", key.Column); err != nil {
			return err
		}
	}
	for _, name := range []string{"password", "last_login", "is_active", "email", "username", "is_staff", "is_superuser"} {
		column := b.user.Columns[name]
		isRead := name != "is_staff" && name != "is_superuser" // the others are read if another option needs them
		switch {
		case column == nil && isRead:
			b.lines = append(b.lines, "\t\t"+name+" -")
		case column != nil && column.Column != name:
			if err := b.storeWord(setting, name, column.Column); err != nil {
				return err
			}
		}
	}
	b.computedFlags()
	b.noteActive(b.user.Columns["is_active"] != nil)
	return nil
}

// computedFlags keeps columns from being read that Django doesn't read.
func (b *block) computedFlags() {
	for _, name := range []string{"is_staff", "is_superuser"} {
		if slices.Contains(b.user.Computed, name) {
			b.lines = append(b.lines, "\t\t"+name+" -")
		}
	}
}

func (b *block) noteActive(isRead bool) {
	if !isRead && !slices.Contains(b.user.Computed, "is_active") {
		b.note("AUTH_USER_MODEL", "is_active isn't read: every user may log in")
	}
}

// membership writes, as a comment, where groups or permissions are, unless the
// gateway finds them by itself.
func (b *block) membership(option string, m *membership) {
	if m == nil || len(m.Table) == 0 || slices.Equal(b.user.Table, []string{"auth_user"}) && b.user.View == nil {
		return
	}
	arguments := []string{option, tableName(m.Table), m.User}
	if option == "groups" && len(m.Table) > 1 {
		names := m.Names
		if schema, _ := b.databaseName(); len(names) == 1 && schema != "" {
			names = []string{schema, names[0]}
		}
		arguments = append(arguments, m.Other, tableName(names), "id", "name")
	}
	for i, argument := range arguments {
		quoted, err := quote(argument)
		if err != nil {
			b.note("AUTH_USER_MODEL", "%s: the table %q can't be named in a Caddyfile; name it in JSON", option, tableName(m.Table))
			return
		}
		arguments[i] = quoted
	}
	b.lines = append(b.lines, "\t\t# "+strings.Join(arguments, " "))
}

// databaseName is the NAME of the database with the users.
func (b *block) databaseName() (string, error) {
	if b.databases.write == nil {
		return "", nil
	}
	return b.databases.write.text("NAME", "db", "database")
}

// packers are django-sesame's, by the type of the field that tokens hold.
var packers = map[string]string{
	"SmallAutoField": "ShortPacker", "SmallIntegerField": "ShortPacker", "PositiveSmallIntegerField": "UnsignedShortPacker",
	"AutoField": "LongPacker", "IntegerField": "LongPacker", "PositiveIntegerField": "UnsignedLongPacker",
	"BigAutoField": "LongLongPacker", "BigIntegerField": "LongLongPacker", "PositiveBigIntegerField": "UnsignedLongLongPacker",
	"UUIDField": "UUIDPacker", "BinaryField": "BytesPacker", "CharField": "StrPacker", "TextField": "StrPacker",
}

// fieldPacker writes the packer that django-sesame chooses by the field, as the
// column may be of another type.
func (b *block) fieldPacker() {
	if b.user == nil || b.user.Columns["primary_key"] == nil {
		return
	}
	kind := b.user.Columns["primary_key"].Type
	if packer, ok := packers[kind]; ok {
		b.option("packer_encoding", packer)
	} else if kind != "" {
		b.note("SESAME_PRIMARY_KEY_FIELD", "django-sesame has no packer for a %q, and makes no tokens", kind)
	}
}
