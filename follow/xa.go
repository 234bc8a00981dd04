package follow

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-sesame/caddy-sesame/follow/internal/binlog"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// xaTransactions knows which prepared transactions have changed rows of followed tables.
// The log has the rows when a transaction is prepared, and only its name when it is
// committed.
type xaTransactions struct {
	current binlog.XAName
	isNamed bool

	changed map[binlog.XAName]bool // whether a prepared transaction has
}

// mostPrepared limits the memory for prepared transactions. What isn't remembered may
// have changed anything.
const mostPrepared = 4096

func newXATransactions() xaTransactions {
	return xaTransactions{changed: make(map[binlog.XAName]bool)}
}

// start notes that a transaction begins.
func (x *xaTransactions) start(id binlog.XAName, isNamed bool) {
	x.current, x.isNamed = id, isNamed
}

// prepared notes that the transaction that has begun is prepared, and whether it has
// changed rows that are followed.
func (x *xaTransactions) prepared(changes bool) {
	if !x.isNamed {
		return
	}
	if len(x.changed) >= mostPrepared {
		clear(x.changed)
	}
	x.changed[x.current] = changes
	x.isNamed = false
}

// forget forgets a transaction that was rolled back.
func (x *xaTransactions) forget(id binlog.XAName) { delete(x.changed, id) }

// mayHaveChanged forgets a transaction that is committed, and reports whether it may have
// changed rows that are followed.
func (x *xaTransactions) mayHaveChanged(id binlog.XAName, isNamed bool) bool {
	changed, isKnown := x.changed[id]
	x.forget(id)
	return !isNamed || !isKnown || changed
}

// finishing is a prepared transaction whose commit is in the log, but may not be visible
// yet. The server doesn't commit it in the order of the log, as it does others: its
// storage engine has it do that afterwards. (MySQL 9.7 commits it before it is in
// gtid_executed, and doesn't tell accounts without XA_RECOVER_ADMIN which transactions are
// prepared. So there it counts as late.)
type finishing struct {
	id      binlog.XAName
	isNamed bool
	at      userstore.LogPosition // the end of its commit in the log
	until   time.Time             // when it counts as visible at the latest; zero for never
}

// finishing notes that a prepared transaction is being committed.
func (v *visible) finishing(id binlog.XAName, isNamed bool, at userstore.LogPosition) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unfinished = append(v.unfinished, &finishing{id: id, isNamed: isNamed, at: at})
}

// beginFinishing notes the transactions that MariaDB may be committing when the stream
// begins.
func (v *visible) beginFinishing(ctx context.Context, q querier) error {
	prepared, err := askPrepared(ctx, q)
	for id := range prepared {
		v.unfinished = append(v.unfinished, &finishing{id: id, isNamed: true, at: v.start, until: v.began.Add(settled)})
	}
	return err
}

// finished asks which of the transactions that were being committed still are.
func (v *visible) finished(ctx context.Context, q querier) error {
	v.mu.Lock()
	asked := slices.Clone(v.unfinished)
	v.mu.Unlock()
	if len(asked) == 0 {
		return nil
	}
	prepared, err := askPrepared(ctx, q)
	if err != nil {
		return err
	}
	now := time.Now()
	isFinished := func(of *finishing) bool {
		switch {
		case !of.until.IsZero() && !now.Before(of.until):
			return true
		case !of.isNamed:
			return len(prepared) == 0
		}
		return !prepared[of.id]
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	// Of those that have been added meanwhile, the answer says nothing.
	v.unfinished = slices.DeleteFunc(v.unfinished, func(of *finishing) bool { return slices.Contains(asked, of) && isFinished(of) })
	return nil
}

// beforeUnfinished is a position, or one before all transactions that are still being
// committed. The mutex is held.
func (v *visible) beforeUnfinished(at userstore.LogPosition) userstore.LogPosition {
	for _, of := range v.unfinished {
		if !at.Before(of.at) {
			at = of.at
			at.Offset--
		}
	}
	return at
}

// askPrepared asks for the transactions that are prepared. MariaDB has one among them
// until it is committed in the storage engine. It tells any account.
func askPrepared(ctx context.Context, q querier) (map[binlog.XAName]bool, error) {
	rows, err := q.query(ctx, "XA RECOVER")
	if err != nil {
		return nil, fmt.Errorf("asking which XA transactions are prepared: %w", err)
	}
	prepared := make(map[binlog.XAName]bool, len(rows))
	for _, row := range rows {
		var id binlog.XAName
		var err error
		if id.Format, err = strconv.ParseUint(row["formatid"], 10, 64); err != nil {
			return nil, fmt.Errorf("the format of an XA transaction's name is %q, which is no number", row["formatid"])
		}
		global, err := strconv.Atoi(row["gtrid_length"])
		if data := row["data"]; err == nil && 0 <= global && global <= len(data) {
			id.Global, id.Branch = data[:global], data[global:]
		} else {
			return nil, fmt.Errorf("the name of an XA transaction has %q bytes of %d", row["gtrid_length"], len(data))
		}
		prepared[id] = true
	}
	return prepared, nil
}
