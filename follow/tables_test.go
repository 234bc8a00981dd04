package follow_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// tableKinds are tables T with unusual columns or storage, in which k is the key that is
// reported.
var tableKinds = []struct {
	name    string
	columns string // besides k
	options string
	before  []string // of the stream
	changes []string
}{
	{name: "virtual", columns: "id int PRIMARY KEY, n int DEFAULT 1, k int AS (n + 10) VIRTUAL", changes: changesOfKey},
	{name: "virtual unique", columns: "id int PRIMARY KEY, n int DEFAULT 1, k int AS (n + 10) VIRTUAL UNIQUE", changes: changesOfKey},
	{name: "virtual text", columns: "id int PRIMARY KEY, n int DEFAULT 1, k text AS (CONCAT('key of ', n)) VIRTUAL", changes: changesOfKey},
	{name: "virtual text of text", columns: "id int PRIMARY KEY, n int DEFAULT 1, s text AS (REPEAT(n, 20)) VIRTUAL, k text AS (CONCAT(s, s)) VIRTUAL", changes: changesOfKey},
	{name: "virtual varchar", columns: "id int PRIMARY KEY, n int DEFAULT 1, k varchar(40) AS (CONCAT('key of ', n)) VIRTUAL", changes: changesOfKey},
	{name: "stored text", columns: "id int PRIMARY KEY, n int DEFAULT 1, k text AS (CONCAT('key of ', n)) STORED", changes: changesOfKey},
	{name: "no primary key", columns: "id int, n int DEFAULT 1, k int AS (n + 10) VIRTUAL", changes: changesOfKey},
	{name: "invisible", columns: "i int INVISIBLE DEFAULT 7, id int PRIMARY KEY, n int DEFAULT 1, k int AS (n + 10) STORED INVISIBLE", changes: changesOfKey},
	{name: "versioned", columns: "id int PRIMARY KEY, n int DEFAULT 1, k int AS (n + 10) STORED", options: "WITH SYSTEM VERSIONING", changes: append(changesOfKey, "DELETE HISTORY FROM T", "DELETE FROM T WHERE id = 3")},
	{name: "versioned in parts", columns: "id int PRIMARY KEY, n int DEFAULT 1, k varchar(40) AS (CONCAT('k', n)) STORED", options: "WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME INTERVAL 1 DAY PARTITIONS 3", changes: append(changesOfKey, "DELETE HISTORY FROM T")},
	{name: "versioned by columns", columns: "rs timestamp(6) GENERATED ALWAYS AS ROW START, re timestamp(6) GENERATED ALWAYS AS ROW END, id int PRIMARY KEY, n int DEFAULT 1, k int AS (n + 10) STORED, PERIOD FOR SYSTEM_TIME (rs, re)", options: "WITH SYSTEM VERSIONING", changes: changesOfKey},
	{name: "with a period", columns: "id int, n int DEFAULT 1, k int DEFAULT 12, a date DEFAULT '2026-01-01', b date DEFAULT '2027-01-01', PERIOD FOR p (a, b), PRIMARY KEY (id, p WITHOUT OVERLAPS)", changes: []string{
		"UPDATE T FOR PORTION OF p FROM '2026-02-01' TO '2026-03-01' SET n = 5, k = 13", "DELETE FROM T FOR PORTION OF p FROM '2026-02-11' TO '2026-02-21'", "DELETE FROM T",
	}},
	{name: "parts", columns: "id int PRIMARY KEY, n int DEFAULT 1, k int AS (n + 10) STORED", options: "PARTITION BY HASH (id) PARTITIONS 3", changes: append(changesOfKey, "UPDATE T SET id = id + 1 ORDER BY id DESC")},
	{name: "altered instantly", columns: "a int DEFAULT 1, id int PRIMARY KEY, b varchar(20) DEFAULT 'x', k int DEFAULT 12, n int DEFAULT 1", before: []string{
		"ALTER TABLE T ADD COLUMN c varchar(300) DEFAULT 'c' AFTER a, ALGORITHM=INSTANT", "ALTER TABLE T DROP COLUMN b, ALGORITHM=INSTANT", "ALTER TABLE T MODIFY n int FIRST, ALGORITHM=INSTANT",
		"ALTER TABLE T MODIFY k int AFTER n, ALGORITHM=INSTANT", "ALTER TABLE T ADD COLUMN d int DEFAULT 4 FIRST, ALGORITHM=INSTANT",
	}, changes: []string{"UPDATE T SET n = n + 1", "UPDATE T SET k = k + 1 WHERE id = 2", "DELETE FROM T WHERE id = 1", "INSERT INTO T (id, k) VALUES (9, 99)"}},
	{name: "compressed rows", columns: "id int PRIMARY KEY, n int DEFAULT 1, k varchar(40) AS (CONCAT('k', n)) STORED", options: "ROW_FORMAT=COMPRESSED", changes: changesOfKey},
}

var changesOfKey = []string{
	"UPDATE T SET n = n WHERE id = 1", "UPDATE T SET n = 20 WHERE id = 1", "UPDATE T SET n = n + 30, id = id + 100 WHERE n = 2", "UPDATE T SET n = n + 40 ORDER BY id DESC",
	"REPLACE INTO T (id, n) VALUES (1, 500)", "INSERT INTO T (id, n) VALUES (1, 600) ON DUPLICATE KEY UPDATE n = 700", "INSERT INTO T (id, n) SELECT seq + 1000, seq + 2000 FROM seq_1_to_2",
	"UPDATE T JOIN other USING (id) SET T.n = 800, other.note = 'z'", "DELETE FROM T WHERE n = 800", "LOCK TABLES T WRITE; UPDATE T SET n = n + 3000; UNLOCK TABLES",
	"DELETE FROM T WHERE id > 1000", "DELETE T FROM T JOIN other USING (id)",
}

// TestChangedRowsAreReportedWhateverTheTableIs compares all rows before and after each
// change: what a row differs by, its key was reported for.
func TestChangedRowsAreReportedWhateverTheTableIs(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--log-bin-trust-function-creators=1", "--character-set-server=utf8mb4")
	for _, image := range []string{"FULL", "NOBLOB", "MINIMAL"} {
		for i, kind := range tableKinds {
			name := database(t, server, fmt.Sprintf("kinds_%d_%s", i, strings.ToLower(image)), "CREATE TABLE other (id int PRIMARY KEY, note varchar(9))", "INSERT INTO other VALUES (2, ''), (3, '')",
				"CREATE TABLE T ("+kind.columns+") "+kind.options)
			exec(t, server, name, kind.before...)
			exec(t, server, name, "INSERT INTO T (id, n) VALUES (1, 1), (2, 2), (3, 3)")
			f := start(t, sourceOf(t, server, name, "T k"))
			db := openDSN(t, server.DSN(name)+"?multiStatements=true")
			for _, change := range kind.changes {
				f.reports(t, db, "SET SESSION binlog_row_image = "+image+"; "+change, image+", "+kind.name+": "+change)
			}
			f.stop()
		}
	}
}

// reports makes a change, and looks whether each row that differs afterwards was reported.
func (f *followed) reports(t *testing.T, db *sql.DB, change, what string) {
	t.Helper()
	before := rowsByKey(t, db)
	if _, err := db.Exec(change); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	said, after := f.take(t), rowsByKey(t, db)
	for _, one := range []map[string]string{before, after} {
		for key := range one {
			isReported := slices.ContainsFunc(said, func(said string) bool {
				return said == "T "+key || said == "T *" || said == "all" || said == "structure"
			})
			if before[key] != after[key] && !isReported {
				t.Errorf("%s: the row %s has changed from %q to %q, and %q was reported", what, key, before[key], after[key], said)
			}
		}
	}
}

// rowsByKey are the rows of T as text by their keys.
func rowsByKey(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.Query("SELECT COALESCE(k, 'NULL'), id, COALESCE(n, 'NULL') FROM T ORDER BY k, id, n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := make(map[string]string)
	for rows.Next() {
		var k, id, n string
		if err := rows.Scan(&k, &id, &n); err != nil {
			t.Fatal(err)
		}
		all[k] += "(" + id + ", " + n + ")"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
