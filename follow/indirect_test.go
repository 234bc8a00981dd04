package follow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// indirectTables are those of TestNextRequestSeesIndirectChanges. The user belongs to a
// company of a holding in another database.
var indirectTables = []string{
	"CREATE TABLE company (id int PRIMARY KEY, holding_id int, FOREIGN KEY (holding_id) REFERENCES indirect_others.holding (id) ON DELETE CASCADE)",
	"CREATE TABLE auth_user (id int PRIMARY KEY, password varchar(128) NOT NULL, is_active bool NOT NULL DEFAULT 1, other bool NOT NULL DEFAULT 0, " +
		"company_id int, FOREIGN KEY (company_id) REFERENCES company (id) ON DELETE CASCADE)",
	"CREATE TABLE spare (id int PRIMARY KEY, password varchar(128) NOT NULL, is_active bool NOT NULL DEFAULT 1, other bool NOT NULL DEFAULT 0, company_id int)",
	"CREATE TABLE parts (id int PRIMARY KEY, password varchar(128) NOT NULL, is_active bool NOT NULL DEFAULT 1, other bool NOT NULL DEFAULT 0, company_id int) " +
		"PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN MAXVALUE)",
	"INSERT INTO spare VALUES (1, 'spare', 1, 0, NULL)", "INSERT INTO parts VALUES (1, 'of parts', 1, 0, NULL)",
	"CREATE PROCEDURE renews() UPDATE auth_user SET password = CONCAT('renewed ', password)",
}

var indirectOthers = []string{
	"CREATE TABLE holding (id int PRIMARY KEY)", "CREATE TABLE watched (id int)",
	"CREATE TRIGGER counts AFTER INSERT ON watched FOR EACH ROW UPDATE indirect.auth_user SET password = CONCAT('triggered ', password)",
	"CREATE FUNCTION renewal() RETURNS int MODIFIES SQL DATA BEGIN UPDATE indirect.auth_user SET password = CONCAT('called ', password); RETURN 1; END",
	"CREATE VIEW seen AS SELECT * FROM indirect.auth_user WHERE is_active",
}

// indirectChanges are made from the other database. Each begins with the same user.
var indirectChanges = []string{
	"DELETE FROM holding",
	"INSERT INTO watched VALUES (1)",
	"SELECT renewal()",
	"DO renewal()",
	"SET @x = renewal()",
	"CALL indirect.renews()",
	"UPDATE seen SET password = 'seen'",
	"EXECUTE IMMEDIATE 'UPDATE indirect.auth_user SET password = ?' USING 'prepared'",
	"DELETE FROM indirect.auth_user RETURNING id",
	"LOCK TABLES indirect.auth_user WRITE; UPDATE indirect.auth_user SET password = 'locked'; UNLOCK TABLES",
	"START TRANSACTION; UPDATE indirect.auth_user SET password = 'one'; SAVEPOINT s; UPDATE indirect.auth_user SET password = 'two'; ROLLBACK TO s; COMMIT",
	"START TRANSACTION; SAVEPOINT s; DELETE FROM indirect.auth_user; ROLLBACK TO s; RELEASE SAVEPOINT s; UPDATE indirect.auth_user SET password = 'three'; COMMIT",
	"CREATE TEMPORARY TABLE temporary_users SELECT 'temporary' AS p; UPDATE indirect.auth_user SET password = (SELECT p FROM temporary_users); DROP TEMPORARY TABLE temporary_users",
	"/* a comment */ UPDATE indirect.auth_user SET password = 'commented'",
	"WITH w AS (SELECT 'with' AS p) SELECT p INTO @p FROM w; UPDATE indirect.auth_user SET password = @p",
	"BEGIN NOT ATOMIC UPDATE indirect.auth_user SET password = 'block'; END",
}

// indirectChangesOfTables are made from the other database, too.
var indirectChangesOfTables = []string{
	"RENAME TABLE indirect.auth_user TO indirect.former, indirect.spare TO indirect.auth_user, indirect.former TO indirect.spare",
	"ALTER TABLE indirect.parts EXCHANGE PARTITION p WITH TABLE indirect.auth_user",
	"CREATE OR REPLACE TABLE indirect.auth_user (PRIMARY KEY (id)) SELECT * FROM indirect.spare",
	"ALTER TABLE indirect.auth_user CHANGE is_active other bool NOT NULL DEFAULT 0, CHANGE other is_active bool NOT NULL DEFAULT 0",
	"TRUNCATE indirect.auth_user",
}

// TestNextRequestSeesIndirectChanges changes a user's row by cascades, triggers, functions
// and tables that take the place of its own. Requests are strict, as in
// TestNextRequestSeesEachKindOfChange.
func TestNextRequestSeesIndirectChanges(t *testing.T) {
	t.Parallel()
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		seesIndirectChanges(t, startServer(t, "--log-bin-trust-function-creators=1"), "STATEMENT", "MIXED", "ROW")
	})
	t.Run("MySQL", func(t *testing.T) {
		t.Parallel()
		seesIndirectChanges(t, needsMySQL(t), "STATEMENT", "ROW")
	})
}

// onlyMariaDBHas begins changes that MySQL doesn't know.
var onlyMariaDBHas = []string{"EXECUTE IMMEDIATE", "DELETE FROM indirect.auth_user RETURNING", "CREATE TEMPORARY TABLE temporary_users SELECT", "BEGIN NOT ATOMIC", "CREATE OR REPLACE TABLE"}

// seesIndirectChanges makes the changes in some formats of the log.
func seesIndirectChanges(t *testing.T, server databaseServer, formats ...string) {
	t.Helper()
	_, isMariaDB := server.(*testmariadb.Server)
	database(t, server, "indirect")
	database(t, server, "indirect_others")
	exec(t, server, "indirect_others", indirectOthers[:2]...)
	exec(t, server, "indirect", indirectTables...)
	exec(t, server, "indirect_others", indirectOthers[2:]...)
	s := followStore(t, userstore.Config{DSN: server.DSN("indirect"), Follow: &userstore.FollowConfig{Strict: true}}, userstore.Needs{})
	for _, format := range formats {
		writer := writeAs(t, server, "indirect_others", "binlog_format = '"+format+"'")
		changes := indirectChanges
		if format == "ROW" {
			changes = slices.Concat(changes, indirectChangesOfTables)
		}
		for _, change := range changes {
			if !isMariaDB && slices.ContainsFunc(onlyMariaDBHas, func(begin string) bool { return strings.HasPrefix(change, begin) }) {
				continue
			}
			for _, statement := range []string{
				"REPLACE INTO holding VALUES (1)", "REPLACE INTO indirect.company VALUES (1, 1)", "REPLACE INTO indirect.auth_user (id, password, company_id) VALUES (1, 'p', 1)",
			} {
				write(t, writer, statement)
			}
			s.seesChange(t, userKey(1), func() {
				for statement := range strings.SplitSeq(change, "; ") {
					if strings.HasPrefix(change, "BEGIN NOT ATOMIC") {
						statement = change
					}
					write(t, writer, statement)
				}
			}, fmt.Sprintf("%s: %s", format, change))
		}
	}
}
