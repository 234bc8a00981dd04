package follow

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
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
// of its transactions are committed.
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

	late       late
	unfinished []*finishing // in the order of the log

	pending []numbered // of MySQL: those that weren't visible when the server was asked
	current *binlog.GlobalID
	lost    bool // a transaction's number isn't known
}

// numbered are transactions that follow one another, and where the last one ends.
type numbered struct {
	from, to binlog.GlobalID
	end      userstore.LogPosition
}

const (
	// rememberedEnds is how many transactions the stream may be ahead of the commits.
	rememberedEnds = 4096

	// separateNumbers is how many transactions of MySQL are kept one by one. Further
	// ones are visible when the last one of their series is.
	separateNumbers = 256
	mostNumbers     = 1 << 14
)

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
	rows, err := q.query(ctx, "SELECT @@GLOBAL.gtid_owned AS owned")
	if err != nil {
		return fmt.Errorf("asking which transactions are being committed: %w", err)
	}
	if len(rows) != 1 {
		return errors.New("the server doesn't tell which transactions are being committed")
	}
	owned, err := parseGTIDSet(ownerOf.ReplaceAllString(rows[0]["owned"], ""))
	if err != nil {
		return err
	}
	for source, numbers := range owned {
		for _, n := range numbers {
			v.pending = append(v.pending, numbered{binlog.GlobalID{Source: source, Number: n.from}, binlog.GlobalID{Source: source, Number: n.to}, userstore.LogPosition{}})
		}
	}
	if len(v.pending) == 0 {
		v.known = at
	} else {
		v.pending[len(v.pending)-1].end = at
	}
	return nil
}

// ownerOf is the thread that owns a transaction's number.
var ownerOf = regexp.MustCompile(`#\d+`)

// noneWaits reports whether no transaction waits for a replica before it is committed.
// Together with the time of a server that answers, this is the proof that a server
// without new transactions has committed those from before the stream's beginning.
func (v *visible) noneWaits(ctx context.Context, q querier) (bool, error) {
	v.mu.Lock()
	isKnown := !v.known.Before(v.start)
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
		v.endedByNumber(at)
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
	if !v.isBusy {
		v.quiet = at
	}
	v.advance(userstore.LogPosition{File: file})
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
		at, ok, err = v.askSnapshot(ctx, q)
	}
	if !ok || err != nil {
		return at, ok, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.late.visible(v.beforeUnfinished(at), asked), true, nil
}

// askSnapshot asks for the position up to which MariaDB has committed transactions.
func (v *visible) askSnapshot(ctx context.Context, q querier) (at userstore.LogPosition, ok bool, err error) {
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
	}
	return v.known, true, nil
}

// transaction notes the number of MySQL's transaction that begins, or nil if it isn't
// known.
func (v *visible) transaction(id *binlog.GlobalID) { v.current = id }

func (v *visible) endedByNumber(at userstore.LogPosition) {
	if v.current == nil {
		v.lost = true
		v.pending = nil
		return
	}
	id, last := *v.current, len(v.pending)-1
	v.current = nil
	if v.lost {
		return
	}
	if last+1 >= separateNumbers && v.pending[last].to.Source == id.Source && v.pending[last].to.Number+1 == id.Number {
		v.pending[last].to, v.pending[last].end = id, at
		return
	}
	if last+1 >= mostNumbers {
		v.lost = true
		v.pending = nil
		return
	}
	v.pending = append(v.pending, numbered{id, id, at})
}

// askNumbers asks which of the pending transactions are executed.
func (v *visible) askNumbers(ctx context.Context, q querier) (at userstore.LogPosition, ok bool, err error) {
	v.mu.Lock()
	asked, lost := slices.Clone(v.pending), v.lost
	known := v.known
	v.mu.Unlock()
	if lost {
		return at, false, nil
	}
	if len(asked) == 0 {
		return known, true, nil
	}
	rows, err := q.query(ctx, "SELECT GTID_SUBTRACT('"+gtidSet(asked)+"', @@GLOBAL.gtid_executed) AS missing")
	if err != nil {
		return at, false, fmt.Errorf("asking which transactions are executed: %w", err)
	}
	if len(rows) != 1 {
		return at, false, errors.New("the server doesn't tell which transactions are executed")
	}
	missing, err := parseGTIDSet(rows[0]["missing"])
	if err != nil {
		return at, false, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range asked {
		if missing.has(one) {
			break
		}
		v.advance(one.end)
	}
	// Others may have been added, and some may have been merged with them.
	v.pending = slices.DeleteFunc(v.pending, func(one numbered) bool { return !v.known.Before(one.end) })
	return v.known, !v.lost, nil
}

// gtidSet writes transactions as MySQL does.
func gtidSet(all []numbered) string {
	var b strings.Builder
	for i, one := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		source := one.from.Source
		fmt.Fprintf(&b, "%x-%x-%x-%x-%x:%d-%d", source[:4], source[4:6], source[6:8], source[8:10], source[10:], one.from.Number, one.to.Number)
	}
	return b.String()
}

// interval are numbers of one source.
type interval struct{ from, to int64 }

// gtids are intervals by source.
type gtids map[[16]byte][]interval

// parseGTIDSet reads what MySQL has written, without tags.
func parseGTIDSet(text string) (gtids, error) {
	set := make(gtids)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		fields := strings.Split(part, ":")
		var source [16]byte
		if n, err := hex.Decode(source[:], []byte(strings.ReplaceAll(fields[0], "-", ""))); err != nil || n != len(source) {
			return nil, fmt.Errorf("the set of transactions %q can't be read", part)
		}
		for _, field := range fields[1:] {
			from, to, isRange := strings.Cut(field, "-")
			if !isRange {
				to = from
			}
			first, err := strconv.ParseInt(from, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("the set of transactions %q can't be read", part)
			}
			last, err := strconv.ParseInt(to, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("the set of transactions %q can't be read", part)
			}
			set[source] = append(set[source], interval{first, last})
		}
	}
	return set, nil
}

// has reports whether the set has any of some transactions.
func (g gtids) has(some numbered) bool {
	return slices.ContainsFunc(g[some.from.Source], func(i interval) bool {
		return i.from <= some.to.Number && some.from.Number <= i.to
	})
}
