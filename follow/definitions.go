package follow

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// keyKind is how a key column's values are written in the log.
type keyKind uint8

const (
	keyUnreadable keyKind = iota // its changes are those of the whole table
	keySigned
	keyUnsigned
	keyText  // of a character set whose text is the same in utf8mb4
	keyASCII // text of another one: as long as it is ASCII
	keyBytes
	keyPadded // BINARY, which the log has without trailing zeros
	keyUUID   // MariaDB's
)

// keyColumn is a column whose values are reported.
type keyColumn struct {
	name  string
	index int // in the table
	kind  keyKind
	size  int // of a keyPadded
}

// definition is what the server says of a followed table.
type definition struct {
	keys []keyColumn

	// precise are the columns with times that have no fractions of a second.
	precise map[int]bool
}

// lower is for names that the server writes in either case.
func lower(text string) string { return strings.ToLower(text) }

// readDefinitions asks for the columns of the tables.
func readDefinitions(ctx context.Context, q querier, s *server, tables []userstore.FollowedTable) ([]*definition, error) {
	definitions := make([]*definition, len(tables))
	for i, table := range tables {
		made, err := readDefinition(ctx, q, s, table)
		if err != nil {
			return nil, err
		}
		definitions[i] = made
	}
	return definitions, nil
}

// The storage engines with transactions, whose rows are visible as soon as the log says that
// their transaction is committed, and don't change in another way. Rows of MyISAM and Aria
// aren't: LOCK TABLES ... WRITE CONCURRENT has rows be invisible until UNLOCK TABLES, which
// isn't logged. Those of MyISAM are changed by tables of MERGE, too, under their names.
var engines = []string{"InnoDB", "ROCKSDB"}

func readDefinition(ctx context.Context, q querier, s *server, table userstore.FollowedTable) (*definition, error) {
	where := " WHERE TABLE_SCHEMA = " + literal(table.Schema) + " AND TABLE_NAME = " + literal(table.Name)
	if !s.foldsNames() {
		// By itself, the comparison ignores letter case.
		where += " AND BINARY TABLE_SCHEMA = " + literal(table.Schema) + " AND BINARY TABLE_NAME = " + literal(table.Name)
	}
	rows, err := q.query(ctx, "SELECT TABLE_TYPE AS kind, ENGINE AS engine FROM information_schema.TABLES"+where)
	if err != nil {
		return nil, fmt.Errorf("asking for the table %s.%s: %w", table.Schema, table.Name, err)
	}
	if len(rows) == 0 {
		return nil, unfollowablef("the account doesn't see the table %s.%s: GRANT REFERENCES ON `%s`.`%s` TO it", table.Schema, table.Name, table.Schema, table.Name)
	}
	if err := checkTable(table, rows[0]["kind"], rows[0]["engine"]); err != nil {
		return nil, err
	}
	if rows, err = q.query(ctx, "SELECT COLUMN_NAME AS name, ORDINAL_POSITION AS place, DATA_TYPE AS type, COLUMN_TYPE AS full, "+
		"CHARACTER_SET_NAME AS charset, CHARACTER_OCTET_LENGTH AS size, DATETIME_PRECISION AS digits, GENERATION_EXPRESSION AS made "+
		"FROM information_schema.COLUMNS"+where); err != nil {
		return nil, fmt.Errorf("asking for the columns of %s.%s: %w", table.Schema, table.Name, err)
	}
	made := &definition{precise: make(map[int]bool)}
	byName := make(map[string]keyColumn, len(rows))
	for _, row := range rows {
		if isOfTransactions(row) {
			return nil, unfollowablef("%s.%s is versioned by transactions, and the server doesn't log all changes of such a table (DELETE of several tables, INSERT ... SELECT): "+
				"have timestamps as its ROW START and ROW END", table.Schema, table.Name)
		}
		place, err := strconv.Atoi(row["place"])
		if err != nil {
			return nil, fmt.Errorf("the place of a column of %s.%s: %w", table.Schema, table.Name, err)
		}
		made.precise[place-1] = row["digits"] == "0"
		size, _ := strconv.Atoi(row["size"])
		byName[lower(row["name"])] = keyColumn{row["name"], place - 1, kindOf(row), size}
	}
	for _, name := range table.Keys {
		key, ok := byName[lower(name)]
		if !ok {
			return nil, unfollowablef("the account doesn't see the column %s of %s.%s: GRANT REFERENCES ON `%s`.`%s` TO it", name, table.Schema, table.Name, table.Schema, table.Name)
		}
		made.keys = append(made.keys, key)
	}
	return made, nil
}

// isOfTransactions reports whether a column has the transaction that a row begins or ends
// with, as in MariaDB's tables with transaction-precise versions.
func isOfTransactions(column map[string]string) bool {
	made := lower(column["made"])
	return lower(column["type"]) == "bigint" && (made == "row start" || made == "row end")
}

// checkTable returns an error unless changes of the table's rows are in the log under
// its own name.
func checkTable(table userstore.FollowedTable, kind, engine string) error {
	if kind != "BASE TABLE" && kind != "SYSTEM VERSIONED" {
		return unfollowablef("%s.%s is a %s, whose changes aren't in the binlog: name the table that it reads", table.Schema, table.Name, lower(kind))
	}
	for _, known := range engines {
		if strings.EqualFold(engine, known) {
			return nil
		}
	}
	return unfollowablef("%s.%s has the storage engine %s, and the binlog doesn't tell when queries see a change of its rows: move it to InnoDB", table.Schema, table.Name, engine)
}

func unfollowablef(format string, args ...any) error {
	return &userstore.Unfollowable{Err: fmt.Errorf(format, args...)}
}

// literal writes a text in a statement.
func literal(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

// kindOf is how the values of a column are written in the log.
func kindOf(column map[string]string) keyKind {
	full := lower(column["full"])
	switch lower(column["type"]) {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		switch {
		case strings.Contains(full, "zerofill"):
			return keyUnreadable // some queries have the zeros
		case strings.Contains(full, "unsigned"):
			return keyUnsigned
		}
		return keySigned
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		if strings.Contains(full, "compressed") {
			return keyUnreadable
		}
		return kindOfText(lower(column["charset"]))
	case "binary":
		return keyPadded
	case "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		if strings.Contains(full, "compressed") {
			return keyUnreadable
		}
		return keyBytes
	case "uuid":
		if full == "uuid" {
			return keyUUID
		}
	}
	return keyUnreadable
}

// sameInASCII are character sets that have ASCII as it is, and no ASCII bytes in other
// characters.
var sameInASCII = map[string]bool{
	"latin1": true, "latin2": true, "latin5": true, "latin7": true, "cp1250": true, "cp1251": true, "cp1256": true,
	"cp1257": true, "cp850": true, "cp852": true, "cp866": true, "koi8r": true, "koi8u": true, "greek": true,
	"hebrew": true, "macce": true, "macroman": true, "tis620": true, "euckr": true, "gb2312": true, "ujis": true,
}

func kindOfText(charset string) keyKind {
	switch {
	case charset == "utf8mb4", charset == "utf8mb3", charset == "utf8", charset == "ascii":
		return keyText
	case sameInASCII[charset]:
		return keyASCII
	default:
		return keyUnreadable
	}
}
