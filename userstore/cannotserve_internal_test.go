package userstore

import (
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestErrorsOfServersThatCannotServe tells the errors that are about a server's state
// from those about a statement.
func TestErrorsOfServersThatCannotServe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		number                           uint16
		text                             string
		cannotServe, cannotWrite, undone bool
	}{
		{1047, "WSREP has not yet prepared node for application use", true, false, false},
		{1053, "Server shutdown in progress", true, false, false},
		{1927, "Connection was killed", true, false, false},
		{3032, "The server is currently in offline mode", true, false, false},
		{9001, "PD Server Timeout", true, false, false},
		{9005, "Region is unavailable", true, false, false},
		{1105, "target: commerce.-80.primary: primary is not serving, there may be a reparent operation in progress", true, false, false},
		{1105, "target: commerce.0.primary: no healthy tablet available for 'keyspace:\"commerce\"'", true, false, false},
		{1105, "vttablet: rpc error: code = Unavailable desc = connection error", true, false, false},
		{1290, "The MariaDB server is running with the --read-only option", false, true, false},
		{1792, "Cannot execute statement in a READ ONLY transaction", false, true, false},
		{1836, "Running in read-only mode", false, true, false},
		{3100, "Error on observer while running replication hook 'before_commit'.", false, true, false},
		{1205, "Lock wait timeout exceeded", false, false, true},
		{1213, "Deadlock found when trying to get lock", false, false, true},
		{3101, "Plugin instructed the server to rollback the current transaction.", false, false, true},
		{1180, "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT", false, false, true},
		{1180, "Got error 28 - 'No space left on device' during COMMIT", false, false, false},
		{3796, "The option group_replication_consistency cannot be used on the current member state.", true, false, false},
		{3797, "Error while waiting for group transactions commit on group_replication_consistency= 'BEFORE'.", true, false, false},
		{8022, "KV error safe to retry", false, false, true},
		{8028, "Information schema is changed", false, false, true},
		{9007, "Write conflict", false, false, true},
		{1105, "unknown error: syntax error at position 7", false, false, false},
		{1146, "Table 'django.auth_user' doesn't exist", false, false, false},
		{1040, "Too many connections", false, false, false},
	} {
		err := fmt.Errorf("looking up a user: %w", &mysql.MySQLError{Number: test.number, Message: test.text})
		if got := cannotServe(err); got != test.cannotServe {
			t.Errorf("%v: it can't serve: %v", err, got)
		}
		if got := cannotWrite(err); got != test.cannotWrite {
			t.Errorf("%v: it can't write: %v", err, got)
		}
		if got := isUndone(err); got != test.undone {
			t.Errorf("%v: it was undone: %v", err, got)
		}
		if got := isSilence(err); got != test.cannotServe {
			t.Errorf("%v: it counts as silence: %v", err, got)
		}
	}
}
