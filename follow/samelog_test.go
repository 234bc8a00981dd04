package follow_test

import (
	"fmt"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// resetAndChange is a statement that resets the log, and changes the user at once.
func resetAndChange(password string) string {
	return "BEGIN NOT ATOMIC RESET MASTER; UPDATE auth_user SET password = '" + password + "'; END"
}

// TestLogThatIsResetAndEndsWhereItDidIsAnother resets the log, and writes to it what it had
// before: the stream waits where both logs end.
func TestLogThatIsResetAndEndsWhereItDidIsAnother(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "same", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')")
	exec(t, server, name, resetAndChange("a"))
	f := start(t, sourceOf(t, server, name, "auth_user id"))
	if err := f.positions.SameLog(t.Context()); err != nil {
		t.Errorf("before it was reset, the log isn't the same: %v", err)
	}
	before := f.written(t)
	exec(t, server, name, resetAndChange("b"))
	if end, err := f.positions.Written(t.Context()); err == nil && end != before {
		t.Fatalf("the log ends at %v, and not at %v", end, before)
	}
	if err := f.positions.SameLog(t.Context()); err == nil {
		t.Error("the log was reset, and is the same")
	}
}

// TestRowsAreNotUsedAfterTheLogWasReset resets the log with each change, after which it ends
// where it did before.
func TestRowsAreNotUsedAfterTheLogWasReset(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "reset", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', '0')")
	s := followStore(t, userstore.Config{
		DSN: server.DSN(name), Follow: &userstore.FollowConfig{Lease: caddy.Duration(staleLease)},
	}, userstore.Needs{})
	for i := range 4 {
		s.keep(t, userKey(1))
		want := fmt.Sprint(i + 1)
		exec(t, server, name, resetAndChange(want))
		s.await(t, "the password is "+want, func() bool {
			user, _ := s.find(t, userKey(1))
			return password(user) == want
		})
	}
}
