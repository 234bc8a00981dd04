package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/nearest"
)

// column is a row of information_schema.COLUMNS.
type column struct {
	name       string
	dataType   string // lower case, as in "int"
	columnType string // with all that belongs to it, as in "int(10) unsigned"
	length     int64  // of text and binary strings
	precision  int    // of a time
	key        string // "PRI" and "UNI" stand for indexes

	charset, collation string // of text
}

func (c column) unsigned() bool { return strings.Contains(c.columnType, "unsigned") }

func (c column) isText() bool {
	return strings.HasSuffix(c.dataType, "char") || strings.HasSuffix(c.dataType, "text")
}

// isUTF8 reports whether the bytes of the column's text are UTF-8.
func (c column) isUTF8() bool {
	switch c.charset {
	case "utf8mb4", "utf8mb3", "utf8", "ascii":
		return c.isText()
	}
	return false
}

func (c column) isBinary() bool {
	return strings.HasSuffix(c.dataType, "binary") || strings.HasSuffix(c.dataType, "blob")
}

func (c column) isTime() bool { return c.dataType == "datetime" || c.dataType == "timestamp" }

// table is the operator's table as the server describes it.
type table struct {
	schema, name string
	view         bool
	columns      []column
}

func (t table) String() string {
	return fmt.Sprintf("%s %q in database %q", t.what(), t.name, t.schema)
}

func (t table) what() string {
	if t.view {
		return "view"
	}
	return "table"
}

// find looks a column up as MySQL does, where letter case doesn't matter.
func (t table) find(name string) (column, bool) {
	i := slices.IndexFunc(t.columns, func(c column) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return column{}, false
	}
	return t.columns[i], true
}

// primaryKey names the columns of the primary key.
func (t table) primaryKey() []string {
	var names []string
	for _, c := range t.columns {
		if c.key == "PRI" {
			names = append(names, c.name)
		}
	}
	return names
}

// lacks says that a column is missing, and names the existing ones.
func (t table) lacks(name, advice string) error {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	if near := nearest.Name(name, names); near != "" {
		advice += ". Did you mean " + near + "?"
	} else {
		advice += "."
	}
	return misfitf("%s has no column %q; %s Its columns are: %s (the dsn's user sees only columns that it may read: docs/mysql.md has the GRANT for each option)", t, name, advice, strings.Join(names, ", "))
}

// The statements that describe a table. They aren't one with a join: Vitess joins tables
// of information_schema of different tablets.
const (
	describeTable = `SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?`

	describeColumns = `SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE,
	COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), COALESCE(DATETIME_PRECISION, 0), COLUMN_KEY,
	COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, '')
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`
)

// describe reads a table's columns. There are none if the table doesn't exist, or if the
// account may not see it.
func (s *MySQL) describe(ctx context.Context, name tableName) (table, error) {
	t := table{schema: name.schema, name: name.table}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var kind string
	switch err := s.pool.db.QueryRowContext(ctx, describeTable, t.schema, t.name).Scan(&kind); {
	case errors.Is(err, sql.ErrNoRows):
		return t, nil
	case err != nil:
		return t, err
	}
	t.view = strings.Contains(kind, "VIEW")
	rows, err := s.pool.db.QueryContext(ctx, describeColumns, t.schema, t.name)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.dataType, &c.columnType, &c.length, &c.precision, &c.key, &c.charset, &c.collation); err != nil {
			return t, fmt.Errorf("reading information_schema: %w", err)
		}
		c.dataType, c.columnType = strings.ToLower(c.dataType), strings.ToLower(c.columnType)
		t.columns = append(t.columns, c)
	}
	return t, rows.Err()
}

// whyInvisible queries the table itself, because information_schema shows neither
// missing tables nor those that the user may not read.
func (s *MySQL) whyInvisible(ctx context.Context, t table) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	rows, err := s.pool.db.QueryContext(ctx, "SELECT 1 FROM "+tableName{t.schema, t.name}.sql()+" LIMIT 0")
	if err != nil {
		return err
	}
	defer rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	return misfit{unseenColumns{t}}
}

// unseenColumns is the error for a table that exists, but shows none of its columns
// to the account.
type unseenColumns struct{ table }

func (e unseenColumns) Error() string {
	return fmt.Sprintf("%s exists, but information_schema doesn't show its columns: grant the dsn's user SELECT on it", e.table)
}

// isUnique reports whether an index makes the column unique.
func (s *MySQL) isUnique(ctx context.Context, t table, key column) (bool, error) {
	primary := 0
	for _, c := range t.columns {
		if c.key == "PRI" {
			primary++
		}
	}
	if key.key == "UNI" || key.key == "PRI" && primary == 1 {
		return true, nil
	}
	// Part of a longer primary key, and perhaps unique by another index.
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var found int
	err := s.pool.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM (
	SELECT INDEX_NAME FROM information_schema.STATISTICS
	WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND NON_UNIQUE = 0
	GROUP BY INDEX_NAME HAVING COUNT(*) = 1 AND MAX(COLUMN_NAME) = ?) unique_indexes`,
		t.schema, t.name, key.name).Scan(&found)
	return found > 0, err
}
