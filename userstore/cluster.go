package userstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
)

// Several servers can be used for one table only if one use of a token is one use on
// all of them together. That is so in clusters whose nodes agree on each commit, by
// a majority: of two parts of such a cluster that don't see each other, at most one
// commits. It isn't so for a primary and its replica: if the replica is promoted while
// the former primary still runs, both accept writes, and no gateway can tell, since it
// may see only one of them. So servers are used together only if each says that it is a
// node of the same cluster.

// clusterState is what a server says of its cluster.
type clusterState struct {
	variables map[string]string // and status variables, by their names in lower case
	members   []groupMember     // of Group Replication
}

// groupMember is a row of performance_schema.replication_group_members.
type groupMember struct{ id, state string }

// The statements for the state. Servers leave out variables that they don't have.
const (
	askVariables = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', 'innodb_read_only', 'server_uuid', " +
		"'wsrep_on', 'wsrep_reject_queries', 'group_replication_group_name', 'group_replication_single_primary_mode')"
	askStatus = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_cluster_state_uuid')"

	askMembers = "SELECT MEMBER_ID, MEMBER_STATE FROM performance_schema.replication_group_members"
)

// readState asks a server for its state.
func readState(ctx context.Context, conn driver.QueryerContext) (*clusterState, error) {
	s := &clusterState{variables: make(map[string]string)}
	for _, ask := range []string{askVariables, askStatus} {
		if err := readPairs(ctx, conn, ask, func(name, value string) { s.variables[strings.ToLower(name)] = value }); err != nil {
			return nil, err
		}
	}
	if s.group() == "" {
		return s, nil
	}
	err := readPairs(ctx, conn, askMembers, func(id, state string) { s.members = append(s.members, groupMember{id, state}) })
	if numberOf(err) == erTableAccessDenied {
		return nil, misfitf("the dsn's user may not see the members of the group: grant it SELECT on performance_schema.replication_group_members (%w)", err)
	}
	return s, err
}

// readPairs reads rows of two texts.
func readPairs(ctx context.Context, conn driver.QueryerContext, statement string, found func(a, b string)) error {
	rows, err := conn.QueryContext(ctx, statement, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	values := make([]driver.Value, 2)
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		found(textOf(values[0]), textOf(values[1]))
	}
}

// The values of variables.
const (
	galeraPrimary = "Primary" // the node is in the part of the cluster that has the majority
	groupOnline   = "ONLINE"
)

// noUUID is the state of a node that hasn't joined a cluster.
const noUUID = "00000000-0000-0000-0000-000000000000"

func (s *clusterState) isOn(name string) bool {
	value := strings.ToUpper(s.variables[name])
	return value == "ON" || value == "1"
}

func (s *clusterState) isGalera() bool { return s.isOn("wsrep_on") }

// group is the name of the server's group in Group Replication.
func (s *clusterState) group() string { return s.variables["group_replication_group_name"] }

// lags reports whether the server may have writes later that other nodes accept. In a
// group with a primary, that accepts them all.
func (s *clusterState) lags() bool {
	return s.isGalera() || s.group() != "" && !s.isOn("group_replication_single_primary_mode")
}

// isSecondary reports whether the server is a member of a group that accepts writes as
// soon as it is the primary.
func (s *clusterState) isSecondary() bool {
	return s.group() != "" && s.isOn("group_replication_single_primary_mode") && s.isOn("super_read_only") && s.groupAccepts() == nil
}

// errNotJoined says that a server isn't in its cluster now, so that its identity isn't
// known.
var errNotJoined = errors.New("the server hasn't joined its cluster")

// cluster returns the identity of the server's cluster.
func (s *clusterState) cluster() (string, error) {
	switch id := s.variables["wsrep_cluster_state_uuid"]; {
	case s.isGalera() && (id == "" || id == noUUID):
		return "", errNotJoined
	case s.isGalera():
		return "Galera " + id, nil
	case s.group() != "":
		return "group " + s.group(), nil
	default:
		return "", misfitf("it is no node of a Galera cluster, and no member of a group of Group Replication, " +
			"so that a one-time token could be used on each server: give one dsn, with a name that leads to the primary server, " +
			"and name replicas with the option replica")
	}
}

// accepts returns an error if the server doesn't accept writes now.
func (s *clusterState) accepts() error {
	for _, name := range []string{"read_only", "super_read_only", "innodb_read_only"} {
		if s.isOn(name) {
			return errors.New("the server doesn't accept writes: " + name + " is on")
		}
	}
	if s.isGalera() {
		return s.galeraAccepts()
	}
	return s.groupAccepts()
}

func (s *clusterState) galeraAccepts() error {
	switch status := s.variables["wsrep_cluster_status"]; {
	case status != galeraPrimary:
		return errors.New("the node has no quorum: wsrep_cluster_status is " + status)
	case !s.isOn("wsrep_ready"):
		return errors.New("the node isn't in sync with its cluster: wsrep_ready is off")
	case s.variables["wsrep_reject_queries"] != "" && s.variables["wsrep_reject_queries"] != "NONE":
		return errors.New("the node is told to reject queries: wsrep_reject_queries is " + s.variables["wsrep_reject_queries"])
	}
	return nil
}

func (s *clusterState) groupAccepts() error {
	online, own := 0, ""
	for _, m := range s.members {
		if m.state == groupOnline {
			online++
		}
		if strings.EqualFold(m.id, s.variables["server_uuid"]) {
			own = m.state
		}
	}
	switch {
	case own != groupOnline:
		return errors.New("the server is no member of its group that is online: its MEMBER_STATE is " + own)
	case 2*online <= len(s.members):
		return errors.New("the server sees no majority of its group")
	}
	return nil
}
