package testgalera_test

import (
	"errors"
	"os"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testgalera"
)

// TestCluster writes on each node and reads on all others, ends a node and has it join
// again, and cuts another off.
func TestCluster(t *testing.T) {
	t.Parallel()
	c, err := testgalera.Start(3)
	if errors.Is(err, testgalera.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	for _, n := range c.Nodes {
		if size, err := n.Status(t.Context(), "wsrep_cluster_size"); err != nil || size != "3" {
			t.Errorf("a node sees %s nodes: %v", size, err)
		}
	}
	if err := c.Nodes[1].Exec("", "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	c.Nodes[2].Kill()
	if err := c.Nodes[2].Join(); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[2].Exec("d", "SET SESSION wsrep_sync_wait = 1", "UPDATE t SET id = 2 WHERE id = 1"); err != nil {
		t.Error(err)
	}
	if err := c.Nodes[0].CutOff(); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].AwaitStatus("wsrep_ready", "OFF"); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].Exec("d", "SELECT * FROM t"); err == nil {
		t.Error("a node that is cut off answers queries")
	}
	if err := c.Nodes[0].Connect(); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[0].AwaitStatus("wsrep_local_state_comment", "Synced"); err != nil {
		t.Error(err)
	}
}
