package userstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// related is a table beside that of the users.
type related struct{ table }

// sql is the table as it stands behind FROM, with another name in the query.
func (t related) sql(alias string) string {
	return tableName{t.schema, t.name}.sql() + " AS " + alias
}

// relatedColumns are the columns that the DSN's user must be able to read in a
// table beside the users' table, and those that the store writes.
type relatedColumns struct {
	tableName
	columns           []string // that are read
	inserted, updated []string
	deletes           bool // rows
}

// String describes the privileges that are needed.
func (r relatedColumns) String() string {
	text := r.schema + "." + r.table + " (" + strings.Join(r.columns, ", ")
	if len(r.inserted) > 0 {
		return text + "; rows are inserted, updated and deleted)"
	}
	if r.deletes {
		return text + "; rows are deleted)"
	}
	if len(r.updated) > 0 {
		text += "; " + strings.Join(r.updated, ", ") + " is written"
	}
	return text + ")"
}

// privileges returns the privileges to grant on the table, as GRANT lists them.
func (r relatedColumns) privileges() string {
	var all []string
	for _, p := range []struct {
		name    string
		columns []string
	}{{"SELECT", r.columns}, {"INSERT", r.inserted}, {"UPDATE", r.updated}} {
		if len(p.columns) > 0 {
			all = append(all, p.name+" ("+quoteAll(p.columns)+")")
		}
	}
	if r.deletes {
		all = append(all, "DELETE")
	}
	return strings.Join(all, ", ")
}

// grant returns the statement that grants the privileges needed on the table to an
// account.
func (r relatedColumns) grant(to string) string {
	return "GRANT " + r.privileges() + " ON " + r.sql() + " TO " + to
}

// grantee is an account, as user@host, as GRANT writes it.
func grantee(account string) string {
	user, host := account, "%"
	if at := strings.LastIndexByte(account, '@'); at >= 0 {
		user, host = account[:at], account[at+1:]
	}
	return "'" + strings.ReplaceAll(user, "'", "''") + "'@'" + strings.ReplaceAll(host, "'", "''") + "'"
}

// grantTo returns the statement that grants the DSN's user the privileges needed on
// a table, for an error message.
func (s *MySQL) grantTo(ctx context.Context, r relatedColumns) string { return r.grant(s.grantee(ctx)) }

// grantee is the DSN's user as GRANT writes it.
func (s *MySQL) grantee(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var account string
	if err := s.pool.db.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&account); err != nil {
		return "the dsn's user"
	}
	return grantee(account)
}

// lookAtRelated reads the description of a table beside the users' table. It is in
// the same database unless the name has another.
func (s *MySQL) lookAtRelated(ctx context.Context, b *builder, text string) (related, error) {
	name, err := parseTable(text)
	if err != nil {
		return related{}, misfit{err}
	}
	name.schema = orDefault(name.schema, s.schema)
	for _, seen := range b.related {
		if seen.schema == name.schema && seen.name == name.table {
			return seen, nil
		}
	}
	found, err := s.describe(ctx, name)
	if err != nil {
		return related{}, err
	}
	if len(found.columns) == 0 {
		return related{}, s.whyNotRelated(ctx, found)
	}
	b.related = append(b.related, related{found})
	return related{found}, nil
}

// whyNotRelated says why information_schema doesn't show a table, and the remedy.
func (s *MySQL) whyNotRelated(ctx context.Context, t table) error {
	err := s.whyInvisible(ctx, t)
	switch numberOf(err) {
	case erNoSuchTable, erUnknownDatabase:
		return misfitf("table %q doesn't exist in database %q: name the right one, or make it with manage.py migrate (%w)", t.name, t.schema, err)
	case erTableAccessDenied, erDatabaseAccessDenied:
		return misfitf("the dsn's user may not read table %q in database %q, if it exists: execute GRANT SELECT ON %s TO %s (%w)",
			t.name, t.schema, tableName{t.schema, t.name}.sql(), s.grantee(ctx), err)
	}
	return err
}

// column finds a column, and notes that it is read.
func (t related) column(b *builder, name string) (column, error) {
	c, ok := t.find(name)
	if !ok {
		return c, t.lacks(name, "name the right one, or grant the dsn's user SELECT on it")
	}
	access := t.access(b)
	if !slices.Contains(access.columns, c.name) {
		access.columns = append(access.columns, c.name)
	}
	return c, nil
}

// access returns the noted needs of the table, to add to them. The pointer is valid
// until another table is noted.
func (t related) access(b *builder) *relatedColumns {
	of := tableName{t.schema, t.name}
	i := slices.IndexFunc(b.plan.related, func(r relatedColumns) bool { return r.tableName == of })
	if i < 0 {
		i = len(b.plan.related)
		b.plan.related = append(b.plan.related, relatedColumns{tableName: of})
	}
	return &b.plan.related[i]
}

// sameKey is the condition that two columns hold the same key. If the types differ,
// MySQL takes different keys for equal: '1abc' is 1. A collation does so with
// texts, which are therefore compared byte for byte as well. The first comparison
// stays, because it can use an index.
func sameKey(of table, c column, alias string, to table, target column, targetAlias string) (string, error) {
	left, right := alias+"."+quote(c.name), targetAlias+"."+quote(target.name)
	switch {
	case c.isInteger() && target.isInteger(), c.isBinary() && target.isBinary(), c.dataType == "uuid" && target.dataType == "uuid":
		return left + " = " + right, nil
	case c.isText() && target.isText():
		return refersTo(right, target, left, c), nil
	default:
		return "", misfitf("column %q of %s is of type %s, but it is to refer to column %q of %s, of type %s: "+
			"name columns of the same type", c.name, of, c.columnType, target.name, to, target.columnType)
	}
}

// textBytes is a column's text as bytes of UTF-8.
func textBytes(text string) string { return "CAST(CONVERT(" + text + " USING utf8mb4) AS BINARY)" }

func (c column) isInteger() bool { return strings.HasSuffix(c.dataType, "int") }

// nameText is the expression for a name, as the hexadecimal digits of its UTF-8. A
// conversion in a list costs MariaDB five times as much as the rest of the query, and
// most columns need none.
func nameText(alias string, c column) string {
	name := alias + "." + quote(c.name)
	switch {
	case c.isBinary(), c.isUTF8():
		return "HEX(" + name + ")"
	case c.isText():
		return "HEX(CONVERT(" + name + " USING utf8mb4))"
	default:
		return "HEX(CAST(" + name + " AS CHAR))"
	}
}

// selectPerRow begins a subquery that is executed for each row that is found. TiDB would
// join instead, and read the whole table for it. To other servers it is a comment, or an
// unknown hint, which they ignore.
const selectPerRow = "SELECT /*+ NO_DECORRELATE() */"

// readNames is the expression for all names that a part of a query finds: their
// number, a colon, and the names, each in hexadecimal digits with a dot behind it.
// So a name may hold any character, and a cut list is noticed. NULL is no name.
// name may begin with DISTINCT.
func readNames(name, from string) string {
	distinct := ""
	if rest, ok := strings.CutPrefix(name, "DISTINCT "); ok {
		distinct, name = "DISTINCT ", rest
	}
	return fmt.Sprintf("("+selectPerRow+" CONCAT(COUNT(%s%s), ':', COALESCE(GROUP_CONCAT(%[1]sCONCAT(%[2]s, '.') SEPARATOR ''), '')) FROM %[3]s)",
		distinct, name, from)
}
