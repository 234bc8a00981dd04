package follow

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// snapshotAt is a server with the file binlog.000003, which tells up to where its
// transactions are committed, and how many of them wait for a replica.
type snapshotAt struct{ offset, waiting int }

func (s snapshotAt) query(_ context.Context, statement string) ([]map[string]string, error) {
	if strings.Contains(statement, "semi") {
		return []map[string]string{{"variable_name": "Rpl_semi_sync_master_wait_sessions", "value": strconv.Itoa(s.waiting)}}, nil
	}
	return []map[string]string{
		{"variable_name": "Binlog_snapshot_file", "value": "binlog.000003"},
		{"variable_name": "Binlog_snapshot_position", "value": strconv.Itoa(s.offset)},
	}, nil
}

// TestTransactionBeforeACheckpointIsCommittedInTheEnd has a checkpoint behind a transaction
// in its file, as MariaDB writes it after a large one since 11.7, and nothing after it.
func TestTransactionBeforeACheckpointIsCommittedInTheEnd(t *testing.T) {
	t.Parallel()
	at := func(offset uint64) userstore.LogPosition { return userstore.LogPosition{File: 3, Offset: offset} }
	const checkpoint = 1100
	for _, test := range []struct {
		name    string
		answers []snapshotAt // in turn
		want    uint64
	}{
		{"the server tells its end", []snapshotAt{{checkpoint, 0}, {1000, 0}}, 1000},
		{"the server tells the checkpoint", slices.Repeat([]snapshotAt{{checkpoint, 0}}, 9), 500},
		{"the server tells the checkpoint for a while", slices.Repeat([]snapshotAt{{checkpoint, 0}}, 12), checkpoint},
		{"a transaction waits for a replica", slices.Repeat([]snapshotAt{{checkpoint, 1}}, 40), 500},
		{"a transaction waits for a replica now and then", slices.Repeat(append(slices.Repeat([]snapshotAt{{checkpoint, 0}}, 8), snapshotAt{checkpoint, 1}), 5), 500},
	} {
		v := &visible{isTold: true, known: at(500), start: at(500)}
		v.ended(at(1000), false)
		v.checkpoint(3, at(checkpoint))
		var to userstore.LogPosition
		now := time.Unix(1_700_000_000, 0)
		for _, answer := range test.answers {
			var err error
			if to, _, err = v.askSnapshot(t.Context(), answer, now); err != nil {
				t.Fatal(err)
			}
			now = now.Add(longestStep)
		}
		if to != at(test.want) {
			t.Errorf("when %s, the log is committed up to %d, and not %d", test.name, to.Offset, test.want)
		}
	}
}
