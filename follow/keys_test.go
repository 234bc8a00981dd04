package follow_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestReportedKeysAreWhatQueriesReturn changes rows with keys of each type that users
// may have, and compares with what a query returns for the key.
func TestReportedKeysAreWhatQueriesReturn(t *testing.T) {
	t.Parallel()
	server := needsServer(t)
	name := database(t, server, "keytypes")
	tables := []struct {
		column  string
		values  []string // SQL
		isWhole bool     // all rows of the table are reported
	}{
		{"tinyint", []string{"-128", "-1", "0", "127"}, false},
		{"tinyint unsigned", []string{"0", "128", "255"}, false},
		{"smallint", []string{"-32768", "-1", "32767"}, false},
		{"smallint unsigned", []string{"32768", "65535"}, false},
		{"mediumint", []string{"-8388608", "-1", "8388607"}, false},
		{"mediumint unsigned", []string{"8388608", "16777215"}, false},
		{"int", []string{"-2147483648", "-1", "2147483647"}, false},
		{"int unsigned", []string{"2147483648", "4294967295"}, false},
		{"bigint", []string{"-9223372036854775808", "-1", "9223372036854775807"}, false},
		{"bigint unsigned", []string{"9223372036854775808", "18446744073709551615"}, false},
		{"char(32)", []string{"''", "'a'", "'trailing  '", "'ä€😀'", "REPEAT('x', 32)"}, false},
		{"varchar(40)", []string{"''", "'a'", "'trailing  '", "'ä€😀'", "REPEAT('€', 40)"}, false},
		{"varchar(300)", []string{"''", "REPEAT('x', 300)"}, false},
		{"char(255)", []string{"'a'", "REPEAT('€', 255)"}, false},
		{"varchar(40) CHARACTER SET ascii", []string{"'a'", "'~'"}, false},
		{"varchar(40) CHARACTER SET latin1", []string{"'a'", "'~'"}, false},
		{"varchar(40) CHARACTER SET latin1", []string{"'ä'"}, true},
		{"char(10) CHARACTER SET ucs2", []string{"'a'"}, true},
		{"char(10) CHARACTER SET sjis", []string{"'a'"}, true},
		{"text", []string{"'a'", "REPEAT('x', 60000)"}, false},
		{"tinytext", []string{"'a'"}, false},
		{"mediumtext", []string{"'a'"}, false},
		{"longtext", []string{"'a'"}, false},
		{"binary(16)", []string{"X'00'", "X'0102'", "X'01000000000000000000000000000000'", "X'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF20'", "X'00112233445566778899AABBCCDDEEFF'"}, false},
		{"varbinary(16)", []string{"X'00'", "X'0100'", "X'20'", "X''"}, false},
		{"blob", []string{"X'00FF'"}, false},
		{"uuid", []string{
			"'6bb455e0-e95f-11f1-b565-02fc00000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'00000000-0000-0000-0000-000000000000'",
			"'123e4567-e89b-42d3-a456-426614174000'", "'018f6b1c-7a5e-7cc0-9a3b-0000000000ff'", "'ff000000-0000-0000-0000-000000000000'",
		}, false},
		{"decimal(20,3)", []string{"1.5"}, true},
		{"enum('a','b')", []string{"'b'"}, true},
		{"set('a','b')", []string{"'a,b'"}, true},
		{"int zerofill", []string{"42"}, true},
		{"double", []string{"1.5"}, true},
		{"datetime(6)", []string{"'2026-01-02 03:04:05.678'"}, true},
		{"bit(9)", []string{"b'101'"}, true},
		{"inet6", []string{"'::1'"}, true},
		{"varchar(100) COMPRESSED", []string{"'a'"}, true},
	}
	var followedTables []string
	for i, table := range tables {
		followedTables = append(followedTables, fmt.Sprintf("t%d k", i))
		// Columns of each type come before the key, so that their lengths matter.
		exec(t, server, name, fmt.Sprintf("CREATE TABLE t%d (%s, k %s NULL, n int NOT NULL DEFAULT 0)", i, othersBefore, table.column))
	}
	f := start(t, sourceOf(t, server, name, followedTables...))
	db, err := sql.Open("mysql", server.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, table := range tables {
		for _, value := range append(table.values, "NULL") {
			exec(t, server, name, fmt.Sprintf("DELETE FROM t%d", i), fmt.Sprintf("INSERT INTO t%d (k) VALUES (%s)", i, value))
			f.take(t)
			exec(t, server, name, fmt.Sprintf("UPDATE t%d SET n = n + 1", i))
			said := slices.Compact(f.take(t))
			want := fmt.Sprintf("t%d ", i)
			if table.isWhole && value != "NULL" {
				want += "*"
			} else {
				want += keyOf(t, db, fmt.Sprintf("t%d", i))
			}
			if table.isWhole && value == "NULL" {
				continue // either is right
			}
			if !slices.Equal(said, []string{want}) {
				t.Errorf("%s %s: %.100q was reported, and not %.100q", table.column, value, said, want)
			}
		}
	}
}

// othersBefore are columns of all types, with values of several lengths.
var othersBefore = strings.Join([]string{
	"a0 tinyint DEFAULT 1", "a1 smallint DEFAULT 2", "a2 mediumint DEFAULT 3", "a3 int DEFAULT 4", "a4 bigint DEFAULT 5",
	"a5 float DEFAULT 1.5", "a6 double DEFAULT 2.5", "a7 decimal(5,2) DEFAULT 1.25", "a8 decimal(65,30) DEFAULT 1.25", "a9 decimal(9,9) DEFAULT 0.5",
	"b0 date DEFAULT '2026-01-02'", "b1 time DEFAULT '01:02:03'", "b2 time(3) DEFAULT '01:02:03.5'", "b3 datetime DEFAULT '2026-01-02'",
	"b4 datetime(6) DEFAULT '2026-01-02'", "b5 timestamp NULL DEFAULT '2026-01-02'", "b6 timestamp(1) NULL DEFAULT '2026-01-02'", "b7 year DEFAULT 2026",
	"c0 char(3) DEFAULT 'abc'", "c1 char(255) DEFAULT 'x'", "c2 varchar(10) DEFAULT 'yz'", "c3 varchar(1000) DEFAULT 'long'",
	"c4 binary(5) DEFAULT 'b'", "c5 varbinary(300) DEFAULT 'c'", "c6 tinyblob DEFAULT 'd'", "c7 blob DEFAULT 'e'", "c8 mediumtext DEFAULT 'f'", "c9 longblob DEFAULT 'g'",
	"d0 bit(1) DEFAULT b'1'", "d1 bit(33) DEFAULT b'101'", "d2 enum('p','q') DEFAULT 'q'", "d3 set('r','s') DEFAULT 'r,s'", "d4 json DEFAULT '{}'",
	"d5 uuid DEFAULT '6bb455e0-e95f-11f1-b565-02fc00000001'", "d6 inet6 DEFAULT '::1'", "d7 inet4 DEFAULT '127.0.0.1'", "d8 point DEFAULT POINT(1, 2)",
	"d9 varchar(100) COMPRESSED DEFAULT 'compressed'", "e0 blob COMPRESSED DEFAULT 'compressed'", "e1 int INVISIBLE DEFAULT 3",
	"e2 int AS (a3 + 1) VIRTUAL", "e3 int AS (a3 + 1) PERSISTENT", "e4 varchar(5) NULL",
}, ", ")

// keyOf is what a query returns for the key of the only row of a table.
func keyOf(t *testing.T, db *sql.DB, table string) string {
	t.Helper()
	var key sql.NullString
	if err := db.QueryRow("SELECT k FROM " + table).Scan(&key); err != nil {
		t.Fatal(err)
	}
	if !key.Valid {
		return "NULL"
	}
	return key.String
}
