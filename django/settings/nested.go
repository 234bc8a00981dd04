package settings

import (
	"fmt"
	"slices"
)

// nested is an option with options of its own, which is written as a whole or
// not at all.
type nested struct {
	head  string
	lines []string
	err   error // of the first option that can't be written
}

// option adds an option, and quotes its arguments.
func (n *nested) option(name string, arguments ...string) {
	line := name
	for _, argument := range arguments {
		quoted, err := quote(argument)
		if err != nil && n.err == nil {
			n.err = fmt.Errorf("option %s: %w", name, err)
		}
		line += " " + quoted
	}
	n.lines = append(n.lines, line)
}

// secret adds an option with a placeholder as its argument.
func (n *nested) secret(name, placeholder string) {
	n.lines = append(n.lines, name+" "+placeholder)
}

// comment adds a comment. The only text of the input in it are words that satisfy
// isPlain.
func (n *nested) comment(format string, arguments ...any) {
	n.lines = append(n.lines, "# "+fmt.Sprintf(format, arguments...))
}

// isPlain reports whether a text can stand in a comment, where Caddy replaces
// {$NAME}, too.
func isPlain(text string) bool {
	quoted, err := quote(text)
	return err == nil && quoted == text
}

// nest writes an option with its options.
func (b *block) nest(n *nested) error {
	if n.err != nil {
		return n.err
	}
	if len(n.lines) == 0 {
		b.option(n.head)
		return nil
	}
	b.option(n.head, "{")
	for _, line := range n.lines {
		b.lines = append(b.lines, "\t\t"+line)
	}
	b.option("}")
	return nil
}

// nestComment writes an option with its options as comments.
func (b *block) nestComment(n *nested) error {
	if n.err != nil {
		return n.err
	}
	if len(n.lines) == 0 {
		b.comment("%s", n.head)
		return nil
	}
	for _, line := range slices.Concat([]string{n.head + " {"}, indented(n.lines), []string{"}"}) {
		b.lines = append(b.lines, "\t# "+line)
	}
	return nil
}

func indented(lines []string) []string {
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i] = "\t" + lines[i]
	}
	return lines
}

// place is where a table is.
type place struct {
	Table    []string      `json:"table"` // with the database in front where it is named
	Database *databaseJSON `json:"database"`
}

// placed names a table for the gateway, which reads it from the server of users.
func (b *block) placed(p *place) (string, error) {
	users, err := b.quietly().writeDatabase()
	if err != nil {
		return "", err
	}
	if p == nil || p.Database == nil || len(p.Table) == 0 {
		return "", problem("DATABASES", "the JSON doesn't tell where a table is")
	}
	database := p.Database.database()
	if database.alias == users.alias {
		return tableName(p.Table), nil
	}
	usersAt, err := b.quietly().address(users)
	if err != nil {
		return "", err
	}
	tableAt, err := b.quietly().address(database)
	if err != nil || database.checkEngine() != nil || tableAt != usersAt {
		return "", problem(database.label(), "the table %q is on another server than the users, and the gateway reads both in one query", tableName(p.Table))
	}
	name, err := database.text("NAME", "db", "database")
	if err != nil {
		return "", err
	}
	usersName, _ := users.text("NAME", "db", "database")
	if name == usersName || len(p.Table) > 1 {
		return tableName(p.Table), nil
	}
	return tableName(append([]string{name}, p.Table...)), nil
}
