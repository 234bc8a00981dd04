package follow_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestStatementsInTheLogAreRecognized follows servers that log statements instead of
// rows.
func TestStatementsInTheLogAreRecognized(t *testing.T) {
	t.Parallel()
	for format, want := range map[string][]string{"ROW": {"users 1"}, "MIXED": {"all"}, "STATEMENT": {"all"}} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, "--binlog-format="+format)
			name := database(t, server, "formats", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
			f := start(t, sourceOf(t, server, name, "users id"))
			f.expect(t, server, want, "UPDATE users SET n = n + 1")
			f.expect(t, server, want, "ANALYZE UPDATE users SET n = n + 1") // which MariaDB executes
			f.expect(t, server, want, "BEGIN NOT ATOMIC START TRANSACTION; UPDATE users SET n = n + 1; SAVEPOINT s; ROLLBACK TO s; COMMIT; END")
			f.expect(t, server, nil, "BEGIN NOT ATOMIC START TRANSACTION; UPDATE users SET n = n + 1; ROLLBACK; END")
			if format != "ROW" {
				f.expect(t, server, []string{"all"}, "BEGIN NOT ATOMIC SET @x = 4; UPDATE users SET n = @x; END") // with a user variable
			}
			// MIXED logs statements as rows where they aren't safe.
			unsafe := []string{"users 1"}
			if format == "STATEMENT" {
				unsafe = []string{"all"}
			}
			f.expect(t, server, unsafe, "UPDATE users SET n = UUID_SHORT() % 1000 + 10")
			f.expect(t, server, unsafe, "INSERT INTO users (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE n = 5")
		})
	}
}

// TestTablesMadeOfFunctions has a statement for another database call a function, which
// changes users.
func TestTablesMadeOfFunctions(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--binlog-format=STATEMENT", "--log-bin-trust-function-creators=1")
	name := database(t, server, "made", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	database(t, server, "elsewhere", "CREATE FUNCTION f() RETURNS int MODIFIES SQL DATA BEGIN UPDATE made.users SET n = n + 1; RETURN 1; END")
	for _, statement := range []string{"CREATE TABLE a SELECT f()", "CREATE TABLE b VALUES (f())"} {
		f := start(t, sourceOf(t, server, name, "users id"))
		exec(t, server, "elsewhere", statement)
		if said := f.take(t); !slices.Contains(said, "structure") {
			t.Errorf("after %s it was reported that %q changed", statement, said)
		}
		f.stop()
	}
}

// TestRowImages follows servers whose log has only a part of each row.
func TestRowImages(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "images", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann'), (2, 'bob')",
		// Django's: the primary key isn't what leads to the user.
		"CREATE TABLE grants (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, group_id int NOT NULL, note text)",
		"INSERT INTO grants (user_id, group_id) VALUES (1, 1)",
		"CREATE TABLE pairs (user_id int, group_id int, n int, PRIMARY KEY (user_id, group_id))", "INSERT INTO pairs VALUES (1, 2, 3)")
	for _, image := range []string{"FULL", "NOBLOB", "MINIMAL"} {
		exec(t, server, "", "SET GLOBAL binlog_row_image = "+image)
		f := start(t, sourceOf(t, server, name, "users id", "grants user_id", "pairs user_id group_id"))
		user := func(id int) []string {
			if image == "MINIMAL" {
				return []string{"grants *"}
			}
			return []string{fmt.Sprintf("grants %d", id)}
		}
		f.expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1 WHERE id = 1")
		f.expect(t, server, user(1), "UPDATE grants SET group_id = group_id + 1, note = 'x' WHERE id = 1")
		f.expect(t, server, []string{"grants 9"}, "INSERT INTO grants (user_id, group_id) VALUES (9, 9)")
		f.expect(t, server, user(9), "DELETE FROM grants WHERE user_id = 9")
		f.expect(t, server, []string{"pairs 1,2", "pairs 1,7"}, "UPDATE pairs SET group_id = 7")
		f.expect(t, server, []string{"pairs 1,7"}, "UPDATE pairs SET n = n + 1")
		f.expect(t, server, []string{"pairs 1,2", "pairs 1,7"}, "UPDATE pairs SET group_id = 2")
		f.stop()
	}
}

// TestChangesOfTablesAreReported changes definitions in ways that a row in the log
// doesn't always show.
func TestChangesOfTablesAreReported(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "structure", usersTable, "CREATE TABLE other (id int)", "INSERT INTO users (id, name) VALUES (1, 'ann')")
	for _, change := range [][]string{
		{"ALTER TABLE users ADD COLUMN first int FIRST"},
		{"ALTER TABLE users DROP COLUMN first"},
		{"ALTER TABLE users MODIFY id int unsigned"},
		{"ALTER TABLE users CHANGE id swapped int unsigned, CHANGE n id int", "ALTER TABLE users CHANGE id n int, CHANGE swapped id int"},
		{"RENAME TABLE users TO former, other TO users", "RENAME TABLE users TO other, former TO users"},
		{"DROP TABLE other", "CREATE TABLE other (id int)"},
		{"CREATE TABLE copy SELECT * FROM users", "DROP TABLE copy"},
		{"CREATE VIEW v AS SELECT * FROM users", "DROP VIEW v"},
		{"CREATE TRIGGER tr AFTER INSERT ON other FOR EACH ROW UPDATE users SET n = 5", "DROP TRIGGER tr"},
		{"CREATE DATABASE IF NOT EXISTS structure"},
		{"SET STATEMENT binlog_format = 'STATEMENT' FOR ALTER TABLE users COMMENT 'x'"},
	} {
		f := start(t, sourceOf(t, server, name, "users id"))
		exec(t, server, name, change...)
		if said := f.take(t); !slices.Contains(said, "structure") {
			t.Errorf("after %q it was reported that %q changed", change, said)
		}
		// Until the stream begins anew, no column's place is known.
		f.expect(t, server, []string{"users *"}, "UPDATE users SET n = n + 1")
		f.stop()
	}
}

// TestChangesOfTablesThatAreNotLoggedAreNoticed changes a table without the log.
func TestChangesOfTablesThatAreNotLoggedAreNoticed(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "unlogged", usersTable, "INSERT INTO users (id, name) VALUES (1, 'ann')")
	f := start(t, sourceOf(t, server, name, "users id"))
	f.expect(t, server, []string{"users 1"}, "UPDATE users SET n = n + 1")
	exec(t, server, name, "SET STATEMENT sql_log_bin = 0 FOR SELECT 1", "BEGIN NOT ATOMIC SET sql_log_bin = 0; ALTER TABLE users ADD COLUMN first int FIRST; END")
	f.expect(t, server, []string{"structure", "users *"}, "UPDATE users SET n = n + 1")
}

// TestOtherFormsOfTheLog follows servers with options that change how events look.
func TestOtherFormsOfTheLog(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{
		{"--log-bin-compress=1", "--log-bin-compress-min-len=10"},
		{"--binlog-row-metadata=FULL", "--binlog-annotate-row-events=0"},
		{"--binlog-row-metadata=MINIMAL", "--binlog-checksum=NONE"},
		{"--encrypt-binlog=1", "--plugin-load-add=file_key_management", "--file-key-management-filename=KEYS"},
		{"--lower-case-table-names=1"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			keys := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(keys, []byte("1;"+strings.Repeat("0123456789abcdef", 2)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var settings []string
			for _, option := range options {
				settings = append(settings, strings.Replace(option, "KEYS", keys, 1))
			}
			server := startServer(t, settings...)
			name := database(t, server, "forms", strings.Replace(usersTable, "users", "Users", 1), "INSERT INTO Users (id, name) VALUES (1, 'ann')")
			f := start(t, sourceOf(t, server, name, "Users id"))
			f.expect(t, server, []string{"Users 1"}, "UPDATE Users SET n = n + 1, name = REPEAT('long', 10)")
			f.expect(t, server, []string{"Users 2", "Users 3"}, "INSERT INTO Users (id, name) VALUES (2, REPEAT('x', 40)), (3, REPEAT('y', 40))")
			f.expect(t, server, []string{"structure"}, "ALTER TABLE Users COMMENT 'a long text that may well be compressed, as it has more than ten bytes'")
		})
	}
}

// TestLargeTransactions changes many rows at once, and rows that are large.
func TestLargeTransactions(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--max-allowed-packet=128M", "--innodb-log-file-size=512M", "--innodb-buffer-pool-size=64M")
	name := database(t, server, "large", usersTable, "CREATE TABLE wide (id int PRIMARY KEY, document longtext)",
		"CREATE TABLE many (id int PRIMARY KEY, n int)")
	f := start(t, sourceOf(t, server, name, "users id", "wide id", "many id"))
	f.expect(t, server, []string{"wide 1"}, "INSERT INTO wide VALUES (1, REPEAT('x', 20000000))") // several packets
	f.expect(t, server, []string{"wide *"}, "INSERT INTO wide VALUES (2, REPEAT('x', 40000000))") // too large to look into
	f.expect(t, server, []string{"users 1"}, "INSERT INTO users (name) VALUES ('after that')")
	const rows = 1_000_000
	exec(t, server, name, fmt.Sprintf("INSERT INTO many SELECT seq, 0 FROM seq_1_to_%d", rows))
	seen := make(map[string]bool, rows)
	for _, what := range f.take(t) {
		seen[what] = true
	}
	if len(seen) != rows || !seen["many 1"] || !seen[fmt.Sprintf("many %d", rows)] {
		t.Errorf("%d of %d rows were reported", len(seen), rows)
	}
}

// TestLoadData loads rows from a file.
func TestLoadData(t *testing.T) {
	t.Parallel()
	for format, want := range map[string][]string{"ROW": {"users 7"}, "STATEMENT": {"all"}} {
		server := startServer(t, "--binlog-format="+format)
		name := database(t, server, "loaded", usersTable)
		exec(t, server, name, "INSERT INTO users (id, name) VALUES (7, 'from a file')")
		file := t.TempDir() + "/users.txt"
		exec(t, server, name, "SELECT id, name, n FROM users INTO OUTFILE '"+file+"'", "DELETE FROM users")
		f := start(t, sourceOf(t, server, name, "users id"))
		f.expect(t, server, want, "LOAD DATA INFILE '"+file+"' INTO TABLE users")
	}
}
