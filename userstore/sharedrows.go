package userstore

import (
	"crypto/sha256"
	"io"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
)

// allSharedRows has the rows that this process keeps by logs. Handlers whose store and
// follow settings are equal share them. They are kept as long as any configuration needs
// them, so that a reload keeps them.
var allSharedRows = caddy.NewUsagePool()

// sharedRows are the rows that handlers with equal settings keep.
type sharedRows struct {
	*kept.Rows[leading]

	log    *sharedLog
	logKey poolKey
}

// joinedRows are the rows that a Following shares.
type joinedRows struct {
	rows   *sharedRows
	key    poolKey // of the rows
	reader *MySQL  // whose server's log they are kept by: the store, or one of its replicas
	plan   *plan   // the reader's

	// shown are the users of rows in use, by their tags. Another handler's users point
	// to another configuration.
	shown []atomic.Pointer[shownUser]
}

// join has a Following share the rows that are kept by the log of the server that a store
// reads from.
func (f *Following) join(reader *MySQL, p *plan) {
	key := f.store.keyOfRows(reader, p)
	value, _, _ := allSharedRows.LoadOrNew(key, func() (caddy.Destructor, error) {
		return f.newRows(reader, p), nil
	})
	rows := value.(*sharedRows)
	rows.log.add(f)
	f.joined.Store(&joinedRows{
		rows: rows, key: key, reader: reader, plan: p,
		shown: make([]atomic.Pointer[shownUser], min(mostShown, orDefault(f.cfg.MaxUsers, DefaultFollowMaxUsers))),
	})
}

// leave ends what join has begun. The rows are dropped if no other Following shares them.
func (f *Following) leave() error {
	j := f.joined.Swap(nil)
	if j == nil {
		return nil
	}
	j.rows.log.remove(f)
	_, err := allSharedRows.Delete(j.key)
	return err
}

// keyOfRows covers everything that kept rows depend on: a handler that would read a row
// differently has rows of its own.
func (s *MySQL) keyOfRows(reader *MySQL, p *plan) poolKey {
	hash := sha256.New()
	hash.Write(s.identity[:])
	hash.Write(reader.poolKey[:])
	_, _ = io.WriteString(hash, p.layout(s.needs.Vias)) // a hash has no errors
	return poolKey(hash.Sum(nil))
}

// newRows begins to keep rows.
func (f *Following) newRows(reader *MySQL, p *plan) *sharedRows {
	key := f.keyOfLog(reader, p)
	value, _, _ := sharedLogs.LoadOrNew(key, func() (caddy.Destructor, error) {
		return f.newLog(reader, p), nil
	})
	rows := &sharedRows{
		Rows: kept.NewRows[leading](orDefault(f.cfg.MaxUsers, DefaultFollowMaxUsers), orDefault(f.cfg.MaxSize, DefaultFollowMaxSize)),
		log:  value.(*sharedLog), logKey: key,
	}
	rows.log.addRows(rows)
	return rows
}

// Destruct drops the rows. UsagePool calls it when the last Following has left. The log
// isn't followed any more if no other rows are kept by it.
func (r *sharedRows) Destruct() error {
	r.log.removeRows(r)
	_, err := sharedLogs.Delete(r.logKey)
	return err
}

// Interface guard
var _ caddy.Destructor = (*sharedRows)(nil)
