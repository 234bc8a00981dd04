package binlog_test

import (
	"testing"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
)

func TestEffectOfStatements(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		schema, statement string
		want              binlog.Effect
	}{
		{"users", "BEGIN", binlog.NoEffect},
		{"users", "COMMIT", binlog.NoEffect},
		{"users", "commit", binlog.NoEffect},
		{"users", "ROLLBACK", binlog.NoEffect},
		{"users", "SAVEPOINT `a`", binlog.NoEffect},
		{"users", "ROLLBACK TO `a`", binlog.NoEffect},
		{"users", "XA PREPARE X'61',X'',1", binlog.NoEffect},
		{"users", "XA COMMIT X'61',X'',1", binlog.ChangesRows},
		{"users", "GRANT SELECT ON users.* TO a", binlog.NoEffect},
		{"users", "DROP TEMPORARY TABLE IF EXISTS `t`", binlog.NoEffect},
		{"users", "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t`", binlog.NoEffect},
		{"users", "DROP /* TEMPORARY */ TABLE IF EXISTS `t`", binlog.ChangesTables},
		{"users", "ANALYZE TABLE t", binlog.NoEffect},
		{"users", "ANALYZE LOCAL TABLE t", binlog.NoEffect},
		{"users", "ANALYZE UPDATE t SET a = 1", binlog.ChangesRows},
		{"other", "ANALYZE FORMAT=JSON DELETE FROM users.t", binlog.ChangesRows},
		{"users", "UPDATE t SET a = 1", binlog.ChangesRows},
		{"other", "UPDATE t SET a = 1", binlog.ChangesRows}, // a trigger may change any table
		{"users", "/* by a program */ update t SET a = 1", binlog.ChangesRows},
		{"users", "-- a comment\nDELETE FROM t", binlog.ChangesRows},
		{"users", "# a comment\n REPLACE(t) VALUES (1)", binlog.ChangesRows},
		{"users", "INSERT INTO t VALUES (1)", binlog.ChangesRows},
		{"users", "SELECT `users`.`f`()", binlog.ChangesRows},
		{"users", "TRUNCATE t", binlog.ChangesRows},
		{"users", "ALTER TABLE t ADD c int", binlog.ChangesTables},
		{"other", "ALTER TABLE t ADD c int", binlog.NoEffect},
		{"", "DROP TABLE other.t", binlog.NoEffect},
		{"other", "RENAME TABLE t TO USERS.t", binlog.ChangesTables},
		{"other", "RENAME TABLE t TO `users`.t", binlog.ChangesTables},
		{"other", "CREATE TABLE t SELECT f()", binlog.ChangesTables},
		{"other", "CREATE TABLE t VALUES ROW(f())", binlog.ChangesTables},
		{"other", "CREATE TABLE t TABLE v", binlog.ChangesTables},
		{"users", "CREATE TEMPORARY TABLE t (a int)", binlog.NoEffect},
		{"users", "CREATE TEMPORARY TABLE t SELECT f()", binlog.ChangesRows},
		{"other", "CREATE OR REPLACE TEMPORARY TABLE t VALUES (f())", binlog.ChangesRows},
		{"USERS", "DROP TABLE t", binlog.ChangesTables},
		{"other", "/*!50003 CREATE TRIGGER x */", binlog.ChangesTables},
		{"users", "START ALTER", binlog.ChangesTables},
		{"users", "COMMIT ALTER", binlog.ChangesTables},
		{"users", "", binlog.ChangesTables},
		{"users", "/* unfinished", binlog.ChangesTables},
		{"users", "SOMETHING NEW", binlog.ChangesTables},
		{"other", "SOMETHING NEW", binlog.ChangesTables},
	} {
		q := binlog.QueryEvent{Schema: test.schema, Statement: []byte(test.statement)}
		if got := q.Effect([]string{"users"}); got != test.want {
			t.Errorf("with the database %q, %q has the effect %d, and not %d", test.schema, test.statement, got, test.want)
		}
	}
}

// TestNamesWithQuotationMarks: a statement has such a mark twice.
func TestNamesWithQuotationMarks(t *testing.T) {
	t.Parallel()
	for schema, statement := range map[string]string{
		"us`ers":  "DROP TABLE `us``ers`.t",
		`us"ers`:  `DROP TABLE "us""ers".t`,
		"benütze": "DROP TABLE `BENÜTZE`.t",
	} {
		q := binlog.QueryEvent{Schema: "other", Statement: []byte(statement)}
		if got := q.Effect([]string{schema}); got != binlog.ChangesTables {
			t.Errorf("%s has the effect %d, and not %d", statement, got, binlog.ChangesTables)
		}
	}
}
