package follow_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestNoRowIsUsedAfterTheDSNNamesAnotherServer changes the file with the DSN, as after the
// promotion of a replica, while each request is answered with a kept row. The former
// server goes on to answer, and to send its log.
func TestNoRowIsUsedAfterTheDSNNamesAnotherServer(t *testing.T) {
	t.Parallel()
	former, promoted := startServer(t), startServer(t)
	name := database(t, former, "moved", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'former')")
	database(t, promoted, name, djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'new')")
	file := filepath.Join(t.TempDir(), "dsn")
	write := func(dsn string) {
		if err := os.WriteFile(file, []byte(dsn), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(former.DSN(name))
	s := followStore(t, userstore.Config{DSNFile: file, Follow: &userstore.FollowConfig{}}, userstore.Needs{})
	if got := password(s.keep(t, userKey(1))); got != "former" {
		t.Fatalf("the row has %q", got)
	}
	write(promoted.DSN(name))
	s.await(t, "the other server's row is used", func() bool {
		user, _ := s.find(t, userKey(1))
		return password(user) == "new"
	})
	if got := password(s.keep(t, userKey(1))); got != "new" {
		t.Errorf("a row is kept that has %q", got)
	}
}
