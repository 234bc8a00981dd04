package userstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// tableName is a table or view, in the DSN's database where schema is empty.
type tableName struct{ schema, table string }

// sql is the name as it stands in a statement.
func (t tableName) sql() string {
	if t.schema == "" {
		return quote(t.table)
	}
	return quote(t.schema) + "." + quote(t.table)
}

// parseTable reads `table` or `database.table`. Either may be in backticks,
// where a backtick is doubled and a dot is a part of the name.
func parseTable(text string) (tableName, error) {
	first, rest, err := parseName(text)
	if err != nil {
		return tableName{}, fmt.Errorf("table %q: %w", text, err)
	}
	if rest == "" {
		return tableName{table: first}, nil
	}
	second, rest, err := parseName(rest[1:])
	if err != nil {
		return tableName{}, fmt.Errorf("table %q: %w", text, err)
	}
	if rest != "" {
		return tableName{}, fmt.Errorf("table %q has more parts than database.table: "+
			"write a name with a dot in backticks", text)
	}
	return tableName{schema: first, table: second}, nil
}

// parseName reads a name up to the end or to the dot with which rest begins.
func parseName(text string) (name, rest string, err error) {
	if !strings.HasPrefix(text, "`") {
		end := strings.IndexByte(text, '.')
		if end < 0 {
			end = len(text)
		}
		name, rest = text[:end], text[end:]
	} else if name, rest, err = parseQuoted(text[1:]); err != nil {
		return "", "", err
	}
	if name == "" {
		return "", "", errors.New("a name is missing")
	}
	return name, rest, checkName(name)
}

// parseQuoted reads what follows an opening backtick.
func parseQuoted(text string) (name, rest string, err error) {
	var b strings.Builder
	for {
		before, after, closed := strings.Cut(text, "`")
		b.WriteString(before)
		switch {
		case !closed:
			return "", "", errors.New("a closing backtick is missing")
		case strings.HasPrefix(after, "`"):
			b.WriteByte('`')
			text = after[1:]
		case after == "" || after[0] == '.':
			return b.String(), after, nil
		default:
			return "", "", errors.New("a dot or nothing must follow the closing backtick")
		}
	}
}

// checkName refuses what MySQL can't have in a name, so that quote is all that
// the remaining names need.
func checkName(name string) error {
	const longest = 64 // characters: MySQL, "Identifier Length Limits"
	switch {
	case !utf8.ValidString(name):
		return errors.New("a name must be UTF-8")
	case strings.ContainsRune(name, 0):
		return errors.New("a name can't hold a zero byte")
	case utf8.RuneCountInString(name) > longest:
		return fmt.Errorf("a name has at most %d characters", longest)
	default:
		return nil
	}
}

// quote writes a name so that MySQL takes it literally. Within backticks, only a
// backtick is special (MySQL, "Schema Object Names").
func quote(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}
