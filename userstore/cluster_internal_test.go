package userstore

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// TestClusterState decides by what servers say of themselves whether they may be used
// together, and now. The values are those of real ones.
func TestClusterState(t *testing.T) {
	t.Parallel()
	galera := map[string]string{
		"read_only": "OFF", "wsrep_on": "ON", "wsrep_reject_queries": "NONE", "wsrep_ready": "ON",
		"wsrep_cluster_status": "Primary", "wsrep_cluster_state_uuid": "9f0f587f-e943-11f1-8428-2af34fc961ff",
	}
	group := map[string]string{
		"read_only": "OFF", "super_read_only": "OFF", "group_replication_group_name": "aaaa",
		"server_uuid": "4AA4", "innodb_read_only": "OFF",
	}
	online := []groupMember{{"4aa4", "ONLINE"}, {"5bb5", "ONLINE"}, {"6cc6", "ONLINE"}}
	for _, test := range []struct {
		name    string
		base    map[string]string
		change  map[string]string
		members []groupMember
		cluster string
		want    string // of the error; empty for none
	}{
		{"a Galera node", galera, nil, nil, "Galera 9f0f587f-e943-11f1-8428-2af34fc961ff", ""},
		{"a Galera node that is read-only", galera, map[string]string{"read_only": "ON"}, nil, "", "read_only is on"},
		{"a Galera node without quorum", galera, map[string]string{"wsrep_cluster_status": "non-Primary", "wsrep_ready": "OFF"}, nil, "", "no quorum"},
		{"a Galera node that gets its data", galera, map[string]string{"wsrep_ready": "OFF"}, nil, "", "isn't in sync"},
		{"a Galera node that rejects queries", galera, map[string]string{"wsrep_reject_queries": "ALL"}, nil, "", "wsrep_reject_queries is ALL"},
		{"a Galera node that starts", galera, map[string]string{"wsrep_cluster_state_uuid": noUUID}, nil, "", "hasn't joined"},
		{"a node that doesn't replicate", galera, map[string]string{"wsrep_on": "OFF"}, nil, "", "could be used on each server"},
		{"a member of a group", group, nil, online, "group aaaa", ""},
		{"the secondary member of a group", group, map[string]string{"super_read_only": "ON"}, online, "", "super_read_only is on"},
		{"a member that recovers", group, nil, []groupMember{{"4aa4", "RECOVERING"}, {"5bb5", "ONLINE"}, {"6cc6", "ONLINE"}}, "", "RECOVERING"},
		{"a member that sees the others no more", group, nil, []groupMember{{"4aa4", "ONLINE"}, {"5bb5", "UNREACHABLE"}, {"6cc6", "UNREACHABLE"}}, "", "no majority"},
		{"one half of a group", group, nil, []groupMember{{"4aa4", "ONLINE"}, {"5bb5", "UNREACHABLE"}}, "", "no majority"},
		{"a server that left its group", group, nil, []groupMember{{"", "OFFLINE"}}, "", "no member"},
		{"a server alone", map[string]string{"read_only": "OFF"}, nil, nil, "", "could be used on each server"},
		{"a replica", map[string]string{"read_only": "ON"}, nil, nil, "", "could be used on each server"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			state := &clusterState{variables: maps.Clone(test.base), members: test.members}
			maps.Copy(state.variables, test.change)
			name, err := state.cluster()
			if err == nil {
				err = state.accepts()
			}
			switch {
			case test.want == "" && (err != nil || name != test.cluster):
				t.Errorf("%q, %v, want %q", name, err, test.cluster)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want %q", err, test.want)
			}
			if isMisfit := errors.As(err, &misfit{}); isMisfit != strings.HasPrefix(test.want, "could be used") {
				t.Errorf("%v: the configuration must change: %v", err, isMisfit)
			}
		})
	}
}
