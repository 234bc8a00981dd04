package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// InnoDB changes rows by itself where a foreign key says so (ON DELETE CASCADE and the
// like), and that isn't in the log. So the tables that such keys refer to are followed,
// too, and theirs in turn.

// The statements that describe tables to follow. MariaDB shows constraints to accounts
// with a privilege on the whole database that isn't SELECT. Those that see no
// constraint of a table, which has a primary key at least, see no foreign key either.
const (
	askTable = `SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, '') FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`

	askConstraints = `SELECT CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`

	askForeignKeys = `SELECT CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, UPDATE_RULE, DELETE_RULE
FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ? AND TABLE_NAME = ?`

	askKeyColumns = `SELECT CONSTRAINT_NAME, COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`
)

// loggedEngines are the engines whose changes are in the log as those of the table, and are
// visible to queries when their transaction is committed. Tables of MyISAM may be changed
// under the name of a table of MERGE. Rows that are added to tables of MyISAM or Aria under
// LOCK TABLES ... WRITE CONCURRENT are in the log long before queries see them, and no event
// tells when they do.
var loggedEngines = []string{"innodb", "rocksdb"}

// lookAtFollowed describes tables to follow as the server has them now. The first is
// that of users.
func lookAtFollowed(ctx context.Context, tables []keyedTable, server *mysql.Config, limit time.Duration) ([]keyedTable, error) {
	connector, err := mysql.NewConnector(server)
	if err != nil {
		return nil, errDSN
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx, cancel := context.WithTimeout(ctx, 4*limit)
	defer cancel()
	l := tableLooker{db: db}
	var found []keyedTable
	for _, t := range tables {
		if t.tableName, err = l.named(ctx, t.tableName); err != nil {
			return nil, err
		}
		t.keys = slices.Clone(t.keys)
		found = append(found, t)
	}
	l.users = found[0].tableName
	for i := 0; i < len(found); i++ {
		if found, err = l.addParents(ctx, found, i); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// tableLooker looks at tables.
type tableLooker struct {
	db    *sql.DB
	users tableName
}

// named returns a table's name as the log has it.
func (l *tableLooker) named(ctx context.Context, name tableName) (tableName, error) {
	var kind, engine string
	is := name
	switch err := l.db.QueryRowContext(ctx, askTable, name.schema, name.table).Scan(&is.schema, &is.table, &kind, &engine); {
	case errors.Is(err, sql.ErrNoRows):
		return name, l.cantSee(ctx, name)
	case err != nil:
		return name, fmt.Errorf("looking at table %s, which is to be followed: %w", name.sql(), err)
	}
	if strings.Contains(kind, "VIEW") {
		return name, &Unfollowable{fmt.Errorf("%s is a view, whose changes are not in the log: name the tables themselves, or remove follow", name.sql())}
	}
	if !slices.Contains(loggedEngines, strings.ToLower(engine)) {
		return name, &Unfollowable{fmt.Errorf("table %s has the engine %s, and the log doesn't tell when queries see its changes: use InnoDB, or remove follow", name.sql(), engine)}
	}
	return is, nil
}

// cantSee is the error for a table whose foreign keys the account doesn't see.
func (l *tableLooker) cantSee(ctx context.Context, name tableName) error {
	to := "the account"
	var account string
	if l.db.QueryRowContext(ctx, "SELECT CURRENT_USER()").Scan(&account) == nil {
		to = grantee(account)
	}
	return &Unfollowable{fmt.Errorf("the account that follows doesn't see the foreign keys of table %s, by which rows may change without being in the log: "+
		"execute GRANT REFERENCES ON %s.* TO %s, which lets it read no row", name.sql(), quote(name.schema), to)}
}

// addParents adds the tables whose changes may change rows of a table.
func (l *tableLooker) addParents(ctx context.Context, found []keyedTable, of int) ([]keyedTable, error) {
	child := found[of].tableName
	keys, err := l.foreignKeys(ctx, child)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if !key.cascades {
			continue
		}
		i := slices.IndexFunc(found, func(t keyedTable) bool { return t.tableName == key.parent })
		switch {
		case i < 0:
			parent, err := l.named(ctx, key.parent)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(found, func(t keyedTable) bool { return t.tableName == parent }) {
				found = append(found, keyedTable{tableName: parent})
			}
		case key.parent == l.users && key.isIn(found[of].whose):
			// The child's rows belong to the user whose row changes, and which is dropped.
		default:
			found[i].keys = nil
		}
	}
	return found, nil
}

// foreignKey is a foreign key of a table.
type foreignKey struct {
	parent   tableName
	columns  []string // of the table that has the key
	cascades bool
}

// isIn reports whether the key is one of some columns.
func (k foreignKey) isIn(columns []string) bool {
	return len(k.columns) == 1 && slices.ContainsFunc(columns, func(name string) bool { return strings.EqualFold(name, k.columns[0]) })
}

// foreignKeys reads a table's foreign keys.
func (l *tableLooker) foreignKeys(ctx context.Context, of tableName) ([]foreignKey, error) {
	doing := func(err error) error { return fmt.Errorf("looking at the foreign keys of table %s: %w", of.sql(), err) }
	isVisible := false
	if err := l.each(ctx, askConstraints, of, 1, func([]string) { isVisible = true }); err != nil {
		return nil, doing(err)
	}
	if !isVisible {
		return nil, l.cantSee(ctx, of)
	}
	columns := make(map[string][]string)
	err := l.each(ctx, askKeyColumns, of, 2, func(values []string) { columns[values[0]] = append(columns[values[0]], values[1]) })
	if err != nil {
		return nil, doing(err)
	}
	var keys []foreignKey
	err = l.each(ctx, askForeignKeys, of, 5, func(values []string) {
		keys = append(keys, foreignKey{tableName{values[1], values[2]}, columns[values[0]], cascades(values[3]) || cascades(values[4])})
	})
	if err != nil {
		return nil, doing(err)
	}
	slices.SortFunc(keys, func(a, b foreignKey) int { return strings.Compare(a.parent.sql(), b.parent.sql()) })
	return keys, nil
}

// cascades reports whether a rule has the server change rows by itself.
func cascades(rule string) bool { return rule != "RESTRICT" && rule != "NO ACTION" }

// each reads rows of texts.
func (l *tableLooker) each(ctx context.Context, query string, of tableName, width int, found func(values []string)) error {
	rows, err := l.db.QueryContext(ctx, query, of.schema, of.table)
	if err != nil {
		return err
	}
	defer rows.Close()
	values, dest := make([]string, width), make([]any, width)
	for i := range values {
		dest[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		found(values)
	}
	return rows.Err()
}
