package userstore

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
)

// sharedLogs has the logs that this process follows. Handlers whose store and follow
// settings are equal share one. It is followed as long as any configuration needs it,
// so that a reload keeps the stream, its lease and the rows.
var sharedLogs = caddy.NewUsagePool()

// sharedLog follows the log of one server, and keeps rows until they change there.
type sharedLog struct {
	cfg            FollowConfig
	follower       Follower
	pool           *pool // whose connections lead to the server
	isReplica      bool
	isOneOfSeveral bool // servers, so that the DSN alone doesn't tell which
	tables         []keyedTable
	timeout        time.Duration
	logger         *zap.Logger // writes to the newest handler's

	rows   *kept.Rows[leading]
	stream atomic.Pointer[followedStream] // the last one that has begun; nil for none
	state  followState

	hasJoined chan struct{} // has an element after a further handler has joined
	cancel    context.CancelFunc
	tasks     sync.WaitGroup

	mu     sync.Mutex
	isOver bool
	joined []*Following // in the order in which they have joined
}

// joinedLog is the log that a Following's rows are kept by.
type joinedLog struct {
	log    *sharedLog
	key    poolKey // of the log
	reader *MySQL  // whose server's log it is: the store, or one of its replicas
	plan   *plan   // the reader's

	// shown are the users of rows in use, by their tags. Another handler's users point
	// to another configuration.
	shown []atomic.Pointer[shownUser]
}

// join has a Following share the log of the server that a store reads from.
func (f *Following) join(reader *MySQL, p *plan) {
	key := f.store.keyOfLog(reader, p)
	value, _, _ := sharedLogs.LoadOrNew(key, func() (caddy.Destructor, error) {
		return f.newLog(reader, p), nil
	})
	log := value.(*sharedLog)
	log.add(f)
	f.joined.Store(&joinedLog{
		log: log, key: key, reader: reader, plan: p,
		shown: make([]atomic.Pointer[shownUser], min(mostShown, orDefault(f.cfg.MaxUsers, DefaultFollowMaxUsers))),
	})
}

// leave ends what join has begun. The log isn't followed any more if no other Following
// shares it.
func (f *Following) leave() error {
	j := f.joined.Swap(nil)
	if j == nil {
		return nil
	}
	j.log.remove(f)
	_, err := sharedLogs.Delete(j.key)
	return err
}

// keyOfLog covers everything that kept rows depend on: a handler that would read a row
// differently has a log of its own.
func (s *MySQL) keyOfLog(reader *MySQL, p *plan) poolKey {
	hash := sha256.New()
	hash.Write(s.identity[:])
	hash.Write(reader.poolKey[:])
	_, _ = io.WriteString(hash, p.layout(s.needs.Vias)) // a hash has no errors
	return poolKey(hash.Sum(nil))
}

// newLog begins to follow a server.
func (f *Following) newLog(reader *MySQL, p *plan) *sharedLog {
	l := &sharedLog{
		cfg: f.cfg, follower: f.follower, pool: reader.pool, isReplica: reader.isReplica, isOneOfSeveral: reader.isReplica || reader.pool.servers.areSeveral(),
		tables: p.following.tables, timeout: f.store.timeout, hasJoined: make(chan struct{}, 1),
		rows: kept.NewRows[leading](orDefault(f.cfg.MaxUsers, DefaultFollowMaxUsers), orDefault(f.cfg.MaxSize, DefaultFollowMaxSize)),
	}
	l.logger = zap.New(newestCore{l, nil})
	l.joined = append(l.joined, f) // whose logger is needed from now on
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.tasks.Go(func() { l.run(ctx) })
	return l
}

// Destruct ends the stream. UsagePool calls it when the last Following has left.
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
