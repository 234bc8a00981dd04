package follow_test

import (
	"testing"
)

// usersTable is the table of most tests, with a row.
const usersTable = "CREATE TABLE users (id int PRIMARY KEY AUTO_INCREMENT, name varchar(40) NOT NULL UNIQUE, n int NOT NULL DEFAULT 0)"

func TestEachKindOfChangeIsReported(t *testing.T) {
	t.Parallel()
	server := needsServer(t)
	name := database(t, server, "kinds", usersTable,
		"CREATE TABLE grants (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, group_id int NOT NULL, "+
			"CONSTRAINT u FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)",
		"CREATE TABLE other (id int PRIMARY KEY, note varchar(20))",
		"CREATE TABLE watched (id int PRIMARY KEY, note varchar(20))",
		"CREATE TRIGGER counts AFTER UPDATE ON watched FOR EACH ROW UPDATE users SET n = n + 1 WHERE id = NEW.id",
		"INSERT INTO users (id, name) VALUES (1, 'ann'), (2, 'bob'), (3, 'cid')",
		"INSERT INTO other VALUES (1, 'a'), (2, 'b')", "INSERT INTO watched VALUES (2, 'b')")
	f := start(t, sourceOf(t, server, name, "users id", "grants user_id"))
	for _, change := range []struct {
		name       string
		want       []string
		statements []string
	}{
		{"INSERT", []string{"users 4"}, []string{"INSERT INTO users (id, name) VALUES (4, 'dan')"}},
		{"UPDATE", []string{"users 1", "users 2"}, []string{"UPDATE users SET n = 1 WHERE id < 3"}},
		{"an UPDATE that changes nothing", nil, []string{"UPDATE users SET n = 1 WHERE id < 3"}},
		{"an UPDATE of the key", []string{"users 4", "users 5"}, []string{"UPDATE users SET id = 5 WHERE id = 4"}},
		{"DELETE", []string{"users 5"}, []string{"DELETE FROM users WHERE id = 5"}},
		{"REPLACE", []string{"users 3"}, []string{"REPLACE INTO users (id, name) VALUES (3, 'cyd')"}},
		{"a REPLACE that removes another row", []string{"users 3", "users 9"}, []string{"REPLACE INTO users (id, name) VALUES (9, 'cyd')", "UPDATE users SET id = 3 WHERE id = 9"}},
		{"INSERT ... ON DUPLICATE KEY UPDATE", []string{"users 2"}, []string{"INSERT INTO users (id, name) VALUES (2, 'x') ON DUPLICATE KEY UPDATE n = 7"}},
		{"a multi-table UPDATE", []string{"users 1", "users 2"}, []string{"UPDATE users JOIN other USING (id) SET users.n = 9, other.note = 'z'"}},
		{"a trigger", []string{"users 2"}, []string{"UPDATE watched SET note = 'q' WHERE id = 2"}},
		{"another table", nil, []string{"INSERT INTO other VALUES (7, 'x')"}},
		{"a transaction", []string{"grants 1", "users 2"}, []string{"BEGIN NOT ATOMIC START TRANSACTION; UPDATE users SET n = 20 WHERE id = 2; " +
			"INSERT INTO grants (user_id, group_id) VALUES (1, 1); COMMIT; END"}},
		{"ROLLBACK", nil, []string{"BEGIN NOT ATOMIC START TRANSACTION; UPDATE users SET n = 21; ROLLBACK; END"}},
		{"ROLLBACK TO a savepoint", []string{"users 1"}, []string{"BEGIN NOT ATOMIC START TRANSACTION; UPDATE users SET n = 30 WHERE id = 1; SAVEPOINT s; " +
			"UPDATE users SET n = 31 WHERE id = 2; ROLLBACK TO s; COMMIT; END"}},
		{"a cascade, of which the log has the parent", []string{"users 1"}, []string{"DELETE FROM users WHERE id = 1"}},
		{"TRUNCATE", []string{"all"}, []string{"TRUNCATE grants"}},
		{"a grant", nil, []string{"CREATE USER kinds IDENTIFIED BY 'x'", "GRANT SELECT ON kinds.* TO kinds", "DROP USER kinds"}},
	} {
		f.expect(t, server, change.want, change.statements...)
		if t.Failed() {
			t.Fatalf("at %s", change.name)
		}
	}
}
