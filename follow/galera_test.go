package follow_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/testgalera"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// startGalera runs a cluster until the test ends.
func startGalera(t *testing.T, size int, options ...string) *testgalera.Cluster {
	t.Helper()
	c, err := testgalera.Start(size, options...)
	if errors.Is(err, testgalera.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// galeraStore follows a cluster. Its lookups are strict.
func galeraStore(t *testing.T, c *testgalera.Cluster) *followedStore {
	t.Helper()
	cfg := userstore.Config{DSN: c.Nodes[0].DSN("cluster"), Follow: &userstore.FollowConfig{Strict: true}, QueryTimeout: caddy.Duration(patience / 2)}
	for _, n := range c.Nodes[1:] {
		cfg.MoreDSNs = append(cfg.MoreDSNs, n.DSN("cluster"))
	}
	return followStore(t, cfg, userstore.Needs{})
}

// TestGaleraNodesAreFollowedOneAfterTheOther has a cluster lose the node that is in use.
// Each node has a log of its own.
func TestGaleraNodesAreFollowedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c := startGalera(t, 3, "--log-bin=binlog", "--log-slave-updates=ON")
	database(t, c.Nodes[0].Server, "cluster", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')")
	s := galeraStore(t, c)
	value := 0
	change := func(by *testgalera.Node) (to string) {
		t.Helper()
		value++
		to = fmt.Sprint("change", value)
		awaitSuccess(t, func() error { return by.Exec("cluster", "UPDATE auth_user SET password = '"+to+"'") })
		return to
	}
	follows := func(node, other *testgalera.Node) {
		t.Helper()
		for range 3 {
			s.keep(t, userKey(1))
			to := change(node)
			if got, _ := s.find(t, userKey(1)); password(got) != to {
				t.Errorf("after the node in use has %q, %q is used", to, password(got))
			}
			s.keep(t, userKey(1))
			to = change(other)
			s.await(t, "the other node's change arrives", func() bool { return password(s.keep(t, userKey(1))) == to })
		}
		if stats := s.following.Stats(); !strings.Contains(stats.Server, node.Addr()[strings.LastIndexByte(node.Addr(), ':'):]) {
			t.Errorf("followed is %s, and not %s", stats.Server, node.Addr())
		}
	}
	one, two, three := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	follows(one, two)
	for _, fault := range []struct {
		lose     func(*testgalera.Node)
		from, to *testgalera.Node
	}{
		{(*testgalera.Node).Kill, one, two},
		{func(n *testgalera.Node) { n.Stop() }, two, three},
		{(*testgalera.Node).Kill, three, one},
	} {
		fault.lose(fault.from)
		to := change(fault.to)
		if got, _ := s.find(t, userKey(1)); password(got) != to {
			t.Errorf("after the node in use was lost, %q is used, and not %q", password(got), to)
		}
		if err := fault.from.Join(); err != nil {
			t.Fatal(err)
		}
		follows(fault.to, fault.from)
	}
}

// TestGaleraNodeWithoutTheChangesOfOthersIsNotFollowed has a node that logs only what is
// written to it.
func TestGaleraNodeWithoutTheChangesOfOthersIsNotFollowed(t *testing.T) {
	t.Parallel()
	c := startGalera(t, 1, "--log-bin=binlog", "--log-slave-updates=OFF")
	database(t, c.Nodes[0].Server, "cluster", djangoUsers)
	s := galeraStore(t, c)
	if stats := s.awaitState(t, userstore.FollowImpossible); !strings.Contains(stats.Error, "Galera node") || !strings.Contains(stats.Error, "log_slave_updates=ON") {
		t.Errorf("the error is %q", stats.Error)
	}
}

// TestNodeWithoutQuorumHasNoRowsUsed has the cluster go on without the node that is
// followed. The node goes on to tell the end of its log, to which nothing comes any more.
func TestNodeWithoutQuorumHasNoRowsUsed(t *testing.T) {
	t.Parallel()
	c := startGalera(t, 3, "--log-bin=binlog", "--log-slave-updates=ON")
	database(t, c.Nodes[0].Server, "cluster", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'former')")
	s := followStore(t, userstore.Config{
		DSN: c.Nodes[0].DSN("cluster"), Follow: &userstore.FollowConfig{}, QueryTimeout: caddy.Duration(patience / 2),
	}, userstore.Needs{})
	s.keep(t, userKey(1))
	if err := c.Nodes[0].CutOff(); err != nil {
		t.Fatal(err)
	}
	awaitSuccess(t, func() error { return c.Nodes[1].Exec("cluster", "UPDATE auth_user SET password = 'present'") })
	s.await(t, "the row of the node isn't used any more", func() bool {
		return s.following.Kept(userKey(1)) == nil && !s.following.IsCurrent()
	})
	s.await(t, "the reason is told", func() bool { return strings.Contains(s.following.Stats().Error, "Galera") })
	if err := c.Nodes[0].Connect(); err != nil {
		t.Fatal(err)
	}
	s.await(t, "the row is kept again", func() bool {
		user := s.following.Kept(userKey(1))
		if user == nil {
			_, _, _ = s.following.Lookup(t.Context(), userKey(1), true)
		}
		return user != nil && password(user) == "present"
	})
}
