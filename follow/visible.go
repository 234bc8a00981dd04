package follow

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// visible knows up to which position changes are visible to queries. The server sends
// a transaction before its storage engine commits it.
//
// MariaDB tells the position in binlog_snapshot_position, which is set while a lock is
// held until all transactions of a group are committed (LOCK_commit_ordered). But it
// is also set by what isn't a transaction: a checkpoint, and the start of a file, while
// a transaction of the former file may still wait for a replica. So it counts only if
// it is the end of a transaction that the stream has read: transactions are committed
// in the order of the log. What is in former files is committed when a checkpoint says
// so.
//
// MySQL tells it by gtid_executed, to which the GTIDs of a group are added after all
// of its transactions are committed, see numbers.
//
// Neither is true of changes that are late, nor of XA transactions that are finishing.
type visible struct {
	isTold   bool // the server can tell
	byNumber bool // MySQL's

	mu    sync.Mutex
	known userstore.LogPosition // all before it is visible
	start userstore.LogPosition // of the stream
	quiet userstore.LogPosition // no transaction is between the start and it
	began time.Time

	ends   []userstore.LogPosition // of MariaDB's latest transactions
	next   int                     // the place in ends for another one
	isBusy bool                    // a transaction was read

	// checked ends with MariaDB's latest checkpoint, if a transaction is before it in its
	// file. Where the server tells that position, the transaction may not be committed yet:
	// then it tells the transaction's end later.
	checked late

	late       late
	unfinished []*finishing // in the order of the log

	numbers numbers // of MySQL's transactions
}

// rememberedEnds is how many transactions the stream may be ahead of the commits.
const rememberedEnds = 4096

func newVisible(s *server) *visible {
	// Without MariaDB's binlog_optimize_thread_scheduling, each transaction of a group
	// is committed under a lock of its own.
	return &visible{byNumber: !s.isMaria, isTold: s.mustTell() == nil}
}

// begin sets where the stream begins. Transactions before it may not be visible yet.
func (v *visible) begin(ctx context.Context, q querier, at userstore.LogPosition) error {
	v.start, v.quiet, v.began = at, at, time.Now()
	v.late.transaction(at, true) // what was written last may be of any kind
	switch {
	case !v.isTold:
		return nil
	case !v.byNumber:
		return v.beginFinishing(ctx, q)
	}
	v.numbers.missed(at)
	return v.askBefore(ctx, q)
}

// noneWaits reports whether no transaction waits for a replica before it is committed.
// Together with the time of a server that answers, this is the proof that a server
// without new transactions has committed those from before the stream's beginning, and
// from before a checkpoint.
func (v *visible) noneWaits(ctx context.Context, q querier) (bool, error) {
	v.mu.Lock()
	isKnown := !v.known.Before(v.start) && !v.known.Before(v.checked.ended)
	v.mu.Unlock()
	if isKnown {
		return false, nil
	}
	status, err := statusOf(ctx, q, `Rpl\_semi\_sync\_master\_wait\_sessions`)
	if err != nil {
		return false, err
	}
	waiting := status["Rpl_semi_sync_master_wait_sessions"]
	return waiting == "" || waiting == "0", nil
}

// ended notes the end of a transaction that the stream has read.
func (v *visible) ended(at userstore.LogPosition, isLate bool) {
	if !v.isTold {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.late.transaction(at, isLate)
	if v.byNumber {
		v.numbers.ended(at)
		return
	}
	v.isBusy = true
	if len(v.ends) < rememberedEnds {
		v.ends = append(v.ends, at)
		return
	}
	v.ends[v.next] = at
	v.next = (v.next + 1) % rememberedEnds
}

// checkpoint notes that all transactions in the files before one are committed. at is
// the end of the event that says so.
func (v *visible) checkpoint(file uint64, at userstore.LogPosition) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.isBusy {
		v.checkedAt(at)
	} else {
		v.quiet = at
	}
	v.advance(userstore.LogPosition{File: file})
}

// checkedAt begins anew to wait until what is before a checkpoint is committed for certain.
func (v *visible) checkedAt(end userstore.LogPosition) {
	v.checked = late{}
	v.checked.transaction(end, true)
}

func (v *visible) advance(to userstore.LogPosition) {
	if v.known.Before(to) {
		v.known = to
	}
}

// ask asks the server, see userstore.Positions.
func (v *visible) ask(ctx context.Context, q querier) (at userstore.LogPosition, ok bool, err error) {
	if !v.isTold {
		return at, false, nil
	}
	asked := time.Now()
	if err := v.finished(ctx, q); err != nil {
		return at, false, err
	}
	if v.byNumber {
		at, ok, err = v.askNumbers(ctx, q)
	} else {
		at, ok, err = v.askSnapshot(ctx, q, asked)
	}
	if !ok || err != nil {
		return at, ok, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.late.visible(v.beforeUnfinished(at), asked), true, nil
}

// askSnapshot asks for the position up to which MariaDB has committed transactions.
func (v *visible) askSnapshot(ctx context.Context, q querier, asked time.Time) (at userstore.LogPosition, ok bool, err error) {
	noneWaits, err := v.noneWaits(ctx, q)
	if err != nil {
		return at, false, err
	}
	status, err := statusOf(ctx, q, `Binlog\_snapshot\_%`)
	if err != nil {
		return at, false, err
	}
	var said userstore.LogPosition
	if said.File, err = fileNumber(status["Binlog_snapshot_file"]); err != nil {
		return at, false, err
	}
	if said.Offset, err = strconv.ParseUint(status["Binlog_snapshot_position"], 10, 64); err != nil {
		return at, false, fmt.Errorf("the committed position %q is no number", status["Binlog_snapshot_position"])
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case slices.Contains(v.ends, said):
		v.advance(said)
	case said == v.quiet && noneWaits && v.known.Before(said):
		return said, true, nil // a transaction may still begin to wait
	case said == v.checked.ended && v.known.Before(said):
		if !noneWaits {
			v.checkedAt(said)
		} else if v.checked.visible(said, asked) == said {
			v.advance(said)
		}
	}
	return v.known, true, nil
}
