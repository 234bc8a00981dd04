package follow

import (
	"context"
	"fmt"
)

// isNode reports whether the server is a node of a Galera cluster.
func (s *server) isNode() bool { return s.isOn("wsrep_on") }

// catchUp returns once a node has applied, and logged, all that its cluster had committed
// before the call. It returns an error if the node has lost its cluster: then other nodes
// change rows without that coming into its log, which it goes on to show. Other servers
// have nothing to catch up with.
//
// The end of the log is asked for by SHOW, for which neither wsrep_sync_wait holds nor
// the rejection of queries by nodes without a quorum.
func (s *server) catchUp(ctx context.Context, q querier) error {
	if !s.isNode() {
		return nil
	}
	if _, err := q.query(ctx, "SELECT 1"); err != nil {
		return fmt.Errorf("waiting for the Galera node to apply what its cluster has committed: %w", err)
	}
	node, err := namesAndValues(ctx, q, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status')")
	if err != nil {
		return fmt.Errorf("asking the Galera node for its state: %w", err)
	}
	if node["wsrep_ready"] != "ON" || node["wsrep_cluster_status"] != "Primary" {
		return fmt.Errorf("the Galera node isn't in sync with a cluster that has a quorum: wsrep_ready is %s, and wsrep_cluster_status is %s",
			node["wsrep_ready"], node["wsrep_cluster_status"])
	}
	return nil
}

// waitForCluster has reads of a connection to a node wait for what its cluster has
// committed before.
func (s *server) waitForCluster(ctx context.Context, q querier) error {
	if !s.isNode() {
		return nil
	}
	if _, err := q.query(ctx, "SET SESSION wsrep_sync_wait = 1"); err != nil {
		return fmt.Errorf("having reads wait for the cluster: %w", err)
	}
	return nil
}
