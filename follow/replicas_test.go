package follow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// replicated is a primary server with users, and replicas of it.
type replicated struct {
	primary  *testmariadb.Server
	replicas []*testmariadb.Server
}

const replicatedName = "replicated"

// newReplicated starts the servers. Each replica has the options of one element.
func newReplicated(t *testing.T, options ...[]string) *replicated {
	t.Helper()
	r := &replicated{primary: startServer(t)}
	for i, more := range options {
		replica := startServer(t, slices.Concat([]string{fmt.Sprintf("--server-id=%d", i+2)}, more)...)
		if err := replica.Replicate(r.primary); err != nil {
			t.Fatal(err)
		}
		r.replicas = append(r.replicas, replica)
	}
	database(t, r.primary, replicatedName, djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')")
	for _, replica := range r.replicas {
		r.await(t, replica)
	}
	return r
}

// await waits until a replica has all changes of the primary.
func (r *replicated) await(t *testing.T, replica *testmariadb.Server) {
	t.Helper()
	var position, reached string
	if err := open(t, r.primary, "").QueryRow("SELECT @@gtid_binlog_pos").Scan(&position); err != nil {
		t.Fatal(err)
	}
	if err := open(t, replica, "").QueryRow("SELECT MASTER_GTID_WAIT(?, 60)", position).Scan(&reached); err != nil || reached != "0" {
		t.Fatalf("the replica doesn't have what the primary has: %s, %v", reached, err)
	}
}

// change changes the user's password in the primary.
func (r *replicated) change(t *testing.T, to string) {
	t.Helper()
	exec(t, r.primary, replicatedName, "UPDATE auth_user SET password = '"+to+"'")
}

func (r *replicated) config() userstore.Config {
	cfg := userstore.Config{
		DSN:    r.primary.DSN(replicatedName),
		Follow: &userstore.FollowConfig{Lease: caddy.Duration(patience)},
	}
	for _, replica := range r.replicas {
		cfg.Replicas = append(cfg.Replicas, replica.DSN(replicatedName))
	}
	return cfg
}

var logsUpdates = []string{"--log-slave-updates=ON"}

// TestRowOfReplicaEndsOnceTheReplicaHasTheChange has a replica be behind.
func TestRowOfReplicaEndsOnceTheReplicaHasTheChange(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, logsUpdates)
	s := followStore(t, r.config(), userstore.Needs{})
	s.keep(t, userKey(1))
	exec(t, r.replicas[0], "", "STOP SLAVE SQL_THREAD")
	r.change(t, "q")
	for range 20 {
		if user, isKept := s.find(t, userKey(1)); password(user) != "p" || !isKept {
			t.Fatalf("while the replica is behind, the password is %q, from a kept row: %t", password(user), isKept)
		}
	}
	if user, err := s.users.Find(t.Context(), userKey(1), true, anyUser); err != nil || password(user) != "q" {
		t.Errorf("a fresh lookup has %q, %v", password(user), err)
	}
	exec(t, r.replicas[0], "", "START SLAVE SQL_THREAD")
	s.await(t, "the change is seen", func() bool { return password(s.keep(t, userKey(1))) == "q" })
}

// anyUser accepts any row, or none.
func anyUser(*userstore.User) error { return nil }

// TestReplicaWithoutItsOwnLogIsNotFollowed has a replica apply changes that aren't in
// its log, with an account that may see that it is a replica, and one that may not.
func TestReplicaWithoutItsOwnLogIsNotFollowed(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, []string{"--log-slave-updates=OFF"})
	exec(t, r.replicas[0], "", "CREATE USER sees IDENTIFIED BY 'secret'", "GRANT REPLICATION SLAVE, BINLOG MONITOR, REPLICA MONITOR, SELECT, REFERENCES ON *.* TO sees",
		"CREATE USER blind IDENTIFIED BY 'secret'", "GRANT REPLICATION SLAVE, BINLOG MONITOR, SELECT, REFERENCES ON *.* TO blind")
	for _, account := range []string{"sees", "blind"} {
		for _, isPrimary := range []bool{false, true} { // as far as the configuration says
			cfg := r.config()
			cfg.Follow.DSN = r.replicas[0].UserDSN(account, "secret", "")
			if isPrimary {
				cfg.DSN, cfg.Replicas = cfg.Replicas[0], nil
			}
			s := followStore(t, cfg, userstore.Needs{})
			stats := s.awaitState(t, userstore.FollowImpossible)
			const remedy = "set log_slave_updates=ON"
			if !strings.Contains(stats.Error, remedy) {
				t.Errorf("%s: the error is %q", account, stats.Error)
			}
			if lines := s.logs.FilterMessageSnippet("can't be followed").All(); len(lines) != 1 || lines[0].Level != zap.ErrorLevel || !strings.Contains(fmt.Sprint(lines[0].ContextMap()), remedy) {
				t.Errorf("%s: logged was %v", account, lines)
			}
			inspector, err := userstore.NewInspector(cfg, userstore.Needs{})
			if err != nil {
				t.Fatal(err)
			}
			defer inspector.Close()
			if _, err := inspector.Table(t.Context()); err != nil {
				t.Fatal(err)
			}
			found, err := inspector.Follow(t.Context(), follow.Follower{})
			if err != nil || len(found) != 1 || !strings.Contains(strings.Join(found[0].Problems, "\n"), remedy) {
				t.Errorf("%s: check finds %+v, %v", account, found, err)
			}
			for i := range 3 {
				to := fmt.Sprintf("%s%t%d", account, isPrimary, i)
				s.find(t, userKey(1))
				r.change(t, to)
				r.await(t, r.replicas[0])
				if user, isKept := s.find(t, userKey(1)); password(user) != to || isKept {
					t.Errorf("%s: the password is %q, and not %q", account, password(user), to)
				}
			}
		}
	}
}

// TestRowsOfOneReplicaAreNotUsedForAnother has lookups go to another replica, which has
// other rows, and to the primary.
func TestRowsOfOneReplicaAreNotUsedForAnother(t *testing.T) {
	t.Parallel()
	r := newReplicated(t, logsUpdates, logsUpdates)
	exec(t, r.primary, replicatedName, "INSERT INTO auth_user (id, username, password) VALUES (2, 'bob', 'p')",
		"CREATE USER reader IDENTIFIED BY 'secret'", "GRANT SELECT ON replicated.auth_user TO reader")
	for i, replica := range r.replicas {
		r.await(t, replica)
		exec(t, replica, "", "STOP SLAVE SQL_THREAD")
		// A change that replication doesn't know of tells which replica a row is from.
		exec(t, replica, replicatedName, fmt.Sprintf("UPDATE auth_user SET password = 'replica%d'", i))
	}
	cfg := r.config()
	cfg.Follow = &userstore.FollowConfig{DSN: r.primary.DSN(""), Strict: true}
	for i, replica := range r.replicas {
		cfg.Replicas[i] = replica.UserDSN("reader", "secret", replicatedName)
	}
	s := followStore(t, cfg, userstore.Needs{})
	first, other := r.replicas[0], r.replicas[1]
	if password(s.keep(t, userKey(1))) == "replica1" {
		first, other = other, first
	}
	change := func(replica *testmariadb.Server, to string) {
		t.Helper()
		exec(t, replica, replicatedName, "UPDATE auth_user SET password = '"+to+"'")
	}

	// The first replica can't be used, but its log goes on.
	exec(t, first, "", "REVOKE SELECT ON replicated.auth_user FROM reader")
	s.find(t, userKey(2))
	for i := range 10 {
		s.find(t, userKey(1))
		to := fmt.Sprint("change", i)
		change(other, to)
		if user, _ := s.find(t, userKey(1)); password(user) != to {
			t.Fatalf("after the replica has %q, %q is used", to, password(user))
		}
	}
	s.keep(t, userKey(1))
	change(other, "last")
	if user := s.keep(t, userKey(1)); password(user) != "last" {
		t.Errorf("the former row is used: %q", password(user))
	}
	exec(t, first, "", "GRANT SELECT ON replicated.auth_user TO reader")
	other.Kill()
	change(first, "again")
	s.await(t, "the first replica's row is kept again", func() bool { return password(s.keep(t, userKey(1))) == "again" })
	first.Kill()
	s.await(t, "the primary answers", func() bool {
		user, isKept := s.find(t, userKey(1))
		return password(user) == "p" && !isKept
	})
}
