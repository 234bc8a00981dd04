package userstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// sharedLogs has the logs that this process follows. Rows whose tables and follow
// settings are equal are kept by one, also if handlers read other columns. It is followed
// as long as any configuration needs it, so that a reload keeps the stream and its lease.
var sharedLogs = caddy.NewUsagePool()

// sharedLog follows the log of one server.
type sharedLog struct {
	cfg            FollowConfig
	follower       Follower
	pool           *pool // whose connections lead to the server
	isReplica      bool
	isOneOfSeveral bool // servers, so that the DSN alone doesn't tell which
	tables         []keyedTable
	timeout        time.Duration
	logger         *zap.Logger // writes to the newest handler's

	stream atomic.Pointer[followedStream] // the last one that has begun; nil for none
	state  followState

	hasJoined chan struct{} // has an element after a further handler has joined
	cancel    context.CancelFunc
	tasks     sync.WaitGroup

	mu     sync.Mutex
	isOver bool
	rows   []*sharedRows // that are kept by the log
	joined []*Following  // in the order in which they have joined; those that have retired come first
}

// keyOfLog covers everything that following depends on. Rows of other tables are kept by
// a log of their own: a stream that others use isn't begun anew for the sake of a table.
func (f *Following) keyOfLog(reader *MySQL, p *plan) poolKey {
	hash := sha256.New()
	hash.Write(reader.poolKey[:])
	fmt.Fprintf(hash, "%+v\n%t %s\n", f.cfg, reader.isReplica, f.store.timeout)
	for _, t := range p.following.tables {
		fmt.Fprintf(hash, "%q.%q %q\n", t.schema, t.table, t.whose)
		for _, key := range t.keys {
			fmt.Fprintf(hash, "%q %d %s\n", key.column, key.of, key.as)
		}
	}
	return poolKey(hash.Sum(nil))
}

// newLog begins to follow a server.
func (f *Following) newLog(reader *MySQL, p *plan) *sharedLog {
	l := &sharedLog{
		cfg: f.cfg, follower: f.follower, pool: reader.pool, isReplica: reader.isReplica, isOneOfSeveral: reader.isReplica || reader.pool.servers.areSeveral(),
		tables: p.following.tables, timeout: f.store.timeout, hasJoined: make(chan struct{}, 1),
	}
	l.logger = zap.New(newestCore{l, nil})
	l.joined = append(l.joined, f) // whose logger is needed from now on
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.tasks.Go(func() { l.run(ctx) })
	return l
}

// Destruct ends the stream. UsagePool calls it when no rows are kept by the log any more.
func (l *sharedLog) Destruct() error {
	l.mu.Lock()
	l.isOver = true
	l.mu.Unlock()
	l.cancel()
	l.tasks.Wait()
	return nil
}

// begin runs a task, unless the log isn't followed any more.
func (l *sharedLog) begin(task func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isOver {
		l.tasks.Go(task)
	}
}

// begun has rows be kept while a stream goes on.
func (l *sharedLog) begun(s *followedStream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream.Store(s)
	for _, rows := range l.rows {
		rows.Follow(s.stream)
	}
}

// ended drops all rows, since the stream doesn't go on.
func (l *sharedLog) ended(s *followedStream) {
	s.stream.End()
	l.stream.Store(nil)
}

// addRows has more rows be kept by the log.
func (l *sharedLog) addRows(rows *sharedRows) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, rows)
	if s := l.stream.Load(); s != nil {
		rows.Follow(s.stream)
	}
}

func (l *sharedLog) removeRows(rows *sharedRows) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(l.rows, func(of *sharedRows) bool { return of == rows })
	rows.Unfollow()
}

// add notes a Following that shares the log.
func (l *sharedLog) add(f *Following) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.joined, f) {
		return
	}
	l.joined = append(l.joined, f)
	select {
	case l.hasJoined <- struct{}{}:
	default:
	}
	f.tellChanged() // rows may have changed before it could be told
}

func (l *sharedLog) remove(f *Following) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = slices.DeleteFunc(l.joined, func(of *Following) bool { return of == f })
}

// retire has the loggers of others be used, if there are any.
func (l *sharedLog) retire(f *Following) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.joined, f); i >= 0 {
		l.joined = slices.Insert(slices.Delete(l.joined, i, i+1), 0, f)
	}
}

// tellChanged tells each Following that rows have changed, and that queries see it.
func (l *sharedLog) tellChanged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.joined {
		f.tellChanged()
	}
}

// newest returns the logger of the handler that has joined last, because Caddy closes
// those of former configurations.
func (l *sharedLog) newest() *zap.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.joined) == 0 {
		return zap.NewNop()
	}
	return l.joined[len(l.joined)-1].logger
}

// newestCore has the lines of a log be those of the newest handler.
type newestCore struct {
	of     *sharedLog
	fields []zap.Field
}

// Enabled implements zapcore.Core.
func (c newestCore) Enabled(level zapcore.Level) bool { return c.of.newest().Core().Enabled(level) }

// With implements zapcore.Core.
func (c newestCore) With(fields []zap.Field) zapcore.Core {
	return newestCore{c.of, slices.Concat(c.fields, fields)}
}

// Check implements zapcore.Core. The newest handler's core is what writes the line.
func (c newestCore) Check(line zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	logger := c.of.newest()
	line.LoggerName = logger.Name()
	return logger.Core().With(c.fields).Check(line, to)
}

// Write implements zapcore.Core.
func (c newestCore) Write(line zapcore.Entry, fields []zap.Field) error {
	return c.of.newest().Core().With(c.fields).Write(line, fields)
}

// Sync implements zapcore.Core.
func (c newestCore) Sync() error { return c.of.newest().Sync() }

// Interface guards
var (
	_ caddy.Destructor = (*sharedLog)(nil)
	_ zapcore.Core     = newestCore{}
)
