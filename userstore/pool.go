package userstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// pools contains the connection pools of all stores in this process. A pool
// exists as long as any configuration uses it, so that a reload keeps its
// connections.
var pools = caddy.NewUsagePool()

// pool is the connections to one server, or to one cluster.
type pool struct {
	db      *sql.DB
	servers *servers
	limits  poolLimits
	log     *driverLog
	breaker breaker
	leadsTo lookupServer

	// trial is a statement that reads no row of a table of users. A server may answer
	// pings and statements without a table while it can't serve. It is nil until a
	// store has found its table.
	trial atomic.Pointer[string]

	writing chan struct{} // has an element for each connection that writes, see beginWrite

	ctx     context.Context // ends with the pool
	cancel  context.CancelFunc
	closing sync.Mutex // guards the start of tasks, and the end of ctx
	tasks   sync.WaitGroup
}

// poolLimits are all settings of a pool besides the DSN.
type poolLimits struct {
	maxOpen, maxIdle         int
	maxLifetime, maxIdleTime time.Duration
	query                    time.Duration
	readAfterWrite           bool
	identifies               bool // see lookupServer
}

// poolKey identifies a pool without revealing its DSN: UsagePool prints keys
// and values when it is misused.
type poolKey [sha256.Size]byte

func keyOf(from []source, limits poolLimits) poolKey {
	hash := sha256.New()
	// The numbers have a fixed length, so that different inputs differ.
	for _, number := range []int64{
		int64(limits.maxOpen), int64(limits.maxIdle),
		int64(limits.maxLifetime), int64(limits.maxIdleTime), int64(limits.query),
	} {
		var fixed [8]byte
		binary.BigEndian.PutUint64(fixed[:], uint64(number))
		hash.Write(fixed[:])
	}
	for i, is := range []bool{limits.readAfterWrite, limits.identifies} {
		if is {
			hash.Write([]byte{byte(i)})
		}
	}
	for _, of := range from {
		for _, text := range []string{of.dsn, of.file, databaseIn(of.file), of.tls.authorities, of.tls.cert, of.tls.key, of.tls.serverName} {
			var length [8]byte
			binary.BigEndian.PutUint64(length[:], uint64(len(text)))
			hash.Write(length[:])
			hash.Write([]byte(text))
		}
	}
	return poolKey(hash.Sum(nil))
}

// acquirePool returns the existing pool for a server, or makes one. It doesn't
// connect. Each call without an error needs one releasePool.
func acquirePool(from []source, limits poolLimits, logger *zap.Logger) (poolKey, *pool, error) {
	key := keyOf(from, limits)
	value, _, err := pools.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newPool(from, limits)
	})
	if err != nil {
		return key, nil, err
	}
	p := value.(*pool)
	// Use the newest configuration's logger, because Caddy closes those of older
	// ones.
	p.log.logger.Store(logger)
	return key, p, nil
}

func releasePool(key poolKey) error {
	if _, err := pools.Delete(key); err != nil {
		return fmt.Errorf("closing the connections to MySQL: %w", err)
	}
	return nil
}

func newPool(from []source, limits poolLimits) (*pool, error) {
	log := &driverLog{}
	servers, err := newServers(from, limits, log)
	if err != nil {
		return nil, err
	}
	p := &pool{servers: servers, limits: limits, log: log, writing: make(chan struct{}, limits.mostWrites())}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	servers.moved = p.closeIdle
	for _, c := range servers.all {
		c.changed, c.moved = p.renew, p.leadsTo.forget
		c.leads = func(is ServerIdentity, by *target) (uint64, bool) {
			return p.leadsTo.note(is, p.renew, c.generation.Load, func() bool { return c.isInUse(by) })
		}
		c.stall = func() { p.clear(c) }
		c.refused = func(err error) {
			p.closeIdle()
			servers.leave(c, err)
		}
	}
	p.db = sql.OpenDB(servers)
	p.db.SetMaxOpenConns(limits.maxOpen)
	p.db.SetMaxIdleConns(limits.maxIdle)
	p.db.SetConnMaxLifetime(limits.maxLifetime)
	p.db.SetConnMaxIdleTime(limits.maxIdleTime)
	p.breaker = breaker{
		server:  servers.address,
		logger:  log.current,
		connect: p.connect,
		idle:    p.askIdle,
		busy:    func() bool { return p.db.Stats().InUse > 0 },
		renew:   p.renew,
		limit:   limits.query,
	}
	p.breaker.init()
	for _, c := range servers.all {
		if c.source.file != "" {
			p.tasks.Go(func() { c.watch(p.ctx) })
		}
		p.clear(c) // statements of an earlier configuration
	}
	if servers.areSeveral() {
		p.tasks.Go(func() { servers.compare(p.ctx) })
	}
	return p, nil
}

// Destruct closes the connections. UsagePool calls it when the last store that
// used the pool is closed.
func (p *pool) Destruct() error {
	p.closing.Lock()
	p.cancel()
	p.closing.Unlock()
	p.tasks.Wait()
	p.breaker.close()
	return p.db.Close()
}

// connect asks the server with a new connection, and closes it.
func (p *pool) connect(ctx context.Context, asking question) error {
	conn, err := p.servers.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the server has answered
	statement := p.trial.Load()
	if asking == ping || statement == nil {
		return nil
	}
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, *statement, nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

// askIdle asks the server with an unused connection. It returns false if there is
// none, or if a new connection may lead to another server.
func (p *pool) askIdle(ctx context.Context, asking question) (asked bool, err error) {
	if p.db.Stats().Idle == 0 || p.servers.areSeveral() {
		return false, nil
	}
	statement := p.trial.Load()
	if asking == ping || statement == nil {
		return true, p.db.PingContext(ctx)
	}
	rows, err := p.db.QueryContext(ctx, *statement)
	if err != nil {
		return true, err
	}
	defer rows.Close()
	return true, rows.Err()
}

// renew replaces all connections: unused ones at once, and others after their
// current use.
func (p *pool) renew() {
	for _, c := range p.servers.all {
		c.generation.Add(1)
	}
	p.closeIdle()
}

// closeIdle closes the unused connections.
func (p *pool) closeIdle() {
	p.db.SetMaxIdleConns(-1)
	p.db.SetMaxIdleConns(p.limits.maxIdle)
}

// String keeps the DSN, which db holds, out of anything that prints a pool.
func (p *pool) String() string { return "MySQL pool" }

// GoString is String for the %#v in UsagePool's panic.
func (p *pool) GoString() string { return p.String() }

// driverLog is the driver's logger. It logs broken connections at DEBUG, since
// the store's errors report them, too.
type driverLog struct{ logger atomic.Pointer[zap.Logger] }

// Print implements mysql.Logger.
func (l *driverLog) Print(v ...any) {
	l.current().Debug("MySQL driver", zap.String("message", strings.TrimSpace(fmt.Sprint(v...))))
}

// current returns the logger of the newest configuration.
func (l *driverLog) current() *zap.Logger {
	if logger := l.logger.Load(); logger != nil {
		return logger
	}
	return zap.NewNop()
}

// Interface guards
var (
	_ caddy.Destructor = (*pool)(nil)
	_ mysql.Logger     = (*driverLog)(nil)
)
