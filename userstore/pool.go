package userstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// pools holds the connection pools of all stores in this process. A pool lives
// as long as any configuration uses it, so that a reload keeps its connections.
var pools = caddy.NewUsagePool()

// pool is the connections to one server.
type pool struct {
	db        *sql.DB
	connector *connector
	limits    poolLimits
	log       *driverLog
	breaker   breaker

	stopWatching context.CancelFunc // of the file with the DSN
	watching     sync.WaitGroup
}

// poolLimits are all settings besides the DSN that a pool is made with.
type poolLimits struct {
	maxOpen, maxIdle         int
	maxLifetime, maxIdleTime time.Duration
	query                    time.Duration
}

// poolKey identifies a pool without revealing its DSN: UsagePool prints keys
// and values when it is misused.
type poolKey [sha256.Size]byte

func keyOf(from source, limits poolLimits) poolKey {
	hash := sha256.New()
	// The numbers are of fixed length, so that no two inputs are written alike.
	for _, number := range []int64{
		int64(limits.maxOpen), int64(limits.maxIdle),
		int64(limits.maxLifetime), int64(limits.maxIdleTime), int64(limits.query),
	} {
		var fixed [8]byte
		binary.BigEndian.PutUint64(fixed[:], uint64(number))
		hash.Write(fixed[:])
	}
	for _, text := range []string{from.dsn, from.file, from.tls.authorities, from.tls.cert, from.tls.key, from.tls.serverName} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		hash.Write(length[:])
		hash.Write([]byte(text))
	}
	return poolKey(hash.Sum(nil))
}

// acquirePool returns the pool for a server, which exists already or is made. It
// doesn't connect. Each call without an error needs one releasePool.
func acquirePool(from source, limits poolLimits, logger *zap.Logger) (poolKey, *pool, error) {
	key := keyOf(from, limits)
	value, _, err := pools.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newPool(from, limits)
	})
	if err != nil {
		return key, nil, err
	}
	p := value.(*pool)
	// The newest configuration's, because Caddy closes the logs of older ones.
	p.log.logger.Store(logger)
	return key, p, nil
}

func releasePool(key poolKey) error {
	if _, err := pools.Delete(key); err != nil {
		return fmt.Errorf("closing the connections to MySQL: %w", err)
	}
	return nil
}

func newPool(from source, limits poolLimits) (*pool, error) {
	log := &driverLog{}
	connector, err := newConnector(from, limits, log)
	if err != nil {
		return nil, err
	}
	p := &pool{connector: connector, limits: limits, log: log}
	connector.changed = p.renew
	p.db = sql.OpenDB(p.connector)
	p.db.SetMaxOpenConns(limits.maxOpen)
	p.db.SetMaxIdleConns(limits.maxIdle)
	p.db.SetConnMaxLifetime(limits.maxLifetime)
	p.db.SetConnMaxIdleTime(limits.maxIdleTime)
	p.breaker = breaker{
		server:  func() string { return connector.config().Addr },
		logger:  log.current,
		connect: p.connect,
		idle:    p.pingIdle,
		busy:    func() bool { return p.db.Stats().InUse > 0 },
		renew:   p.renew,
		limit:   limits.query,
	}
	p.breaker.init()
	var watched context.Context
	watched, p.stopWatching = context.WithCancel(context.Background())
	if from.file != "" {
		p.watching.Go(func() { connector.watch(watched) })
	}
	return p, nil
}

// Destruct closes the connections. UsagePool calls it when the last store that
// used the pool is closed.
func (p *pool) Destruct() error {
	p.stopWatching()
	p.watching.Wait()
	p.breaker.close()
	return p.db.Close()
}

// connect makes a connection and ends it.
func (p *pool) connect(ctx context.Context) error {
	conn, err := p.connector.Connect(ctx)
	if err == nil {
		_ = conn.Close() // it has answered
	}
	return err
}

// pingIdle asks the server by a connection that has no work, if there is one.
func (p *pool) pingIdle(ctx context.Context) (asked bool, err error) {
	if p.db.Stats().Idle == 0 {
		return false, nil
	}
	return true, p.db.PingContext(ctx)
}

// renew has all connections replaced: those that have no work at once, and the
// others when their work ends.
func (p *pool) renew() {
	p.connector.generation.Add(1)
	p.db.SetMaxIdleConns(-1)
	p.db.SetMaxIdleConns(p.limits.maxIdle)
}

// String keeps the DSN, which db holds, out of anything that prints a pool.
func (p *pool) String() string { return "MySQL pool" }

// GoString is String for the %#v in UsagePool's panic.
func (p *pool) GoString() string { return p.String() }

// errDSN stands for errors of the driver that may quote the DSN.
var errDSN = errors.New("the dsn is not one that go-sql-driver/mysql understands: " +
	"write user:password@tcp(host:3306)/database, " +
	"and a tls parameter only as true, false, skip-verify or preferred")

// parseDSN is mysql.ParseDSN without its habit of quoting what it can't read,
// which may be the password.
func parseDSN(dsn string) (*mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		// These are constants that say what to look for.
		if strings.HasPrefix(err.Error(), "invalid DSN: ") {
			return nil, fmt.Errorf("the dsn can't be read: %w", err)
		}
		return nil, errDSN
	}
	// Without an @, the driver takes user and password for the network, and
	// would print them when it can't connect.
	switch cfg.Net {
	case "tcp", "tcp4", "tcp6", "unix":
		return cfg, nil
	default:
		return nil, errors.New("the dsn's network must be tcp or unix: " +
			"write user:password@tcp(host:3306)/database, or user:password@unix(/path/to/socket)/database")
	}
}

// force sets what this package relies on, whatever the DSN says, and limits
// where the DSN sets none.
func force(cfg *mysql.Config, limits poolLimits, log mysql.Logger) error {
	cfg.Logger = log

	// last_login is read as text and never converted.
	cfg.ParseTime = false
	cfg.Loc = time.UTC

	// Values travel apart from statements, which do one thing each.
	cfg.MultiStatements = false
	cfg.InterpolateParams = false
	cfg.AllowAllFiles = false

	// The number of rows that an UPDATE changed, not that it matched, tells
	// whether a token was consumed.
	cfg.ClientFoundRows = false

	// Errors name columns as the table does.
	cfg.ColumnsWithAlias = false

	// They end what a context doesn't: a write to a peer that is gone, and
	// lookups, which do without.
	for _, timeout := range []*time.Duration{&cfg.Timeout, &cfg.ReadTimeout, &cfg.WriteTimeout} {
		if *timeout <= 0 || *timeout > limits.query {
			*timeout = limits.query
		}
	}

	attributes := "program_name:caddy-sesame"
	if cfg.ConnectionAttributes != "" {
		attributes += "," + cfg.ConnectionAttributes
	}
	cfg.ConnectionAttributes = attributes

	setVariables(cfg)

	// A Go string is UTF-8, so the connection is too. The collation is the
	// server's for that, since the DSN's could be one of another charset.
	if err := cfg.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return fmt.Errorf("setting the connection's charset: %w", err)
	}
	return nil
}

// setVariables sets session variables, which the driver does at the start of
// every connection.
func setVariables(cfg *mysql.Config) {
	if cfg.Params == nil {
		cfg.Params = make(map[string]string)
	}
	// TIMESTAMP columns are converted to the session's zone.
	cfg.Params["time_zone"] = "'+00:00'"

	// A server can have this off by default: then consumption would be undone
	// at the end of the connection, and every SELECT see its first snapshot.
	cfg.Params["autocommit"] = "1"

	// Groups, permissions and revoked tokens come as a list each, which servers
	// cut at 1024 bytes by default.
	if _, set := cfg.Params["group_concat_max_len"]; !set {
		cfg.Params["group_concat_max_len"] = "GREATEST(@@SESSION.group_concat_max_len, 1048576)"
	}

	// A last_login that doesn't fit must be an error, never 0000-00-00.
	if _, set := cfg.Params["sql_mode"]; !set {
		cfg.Params["sql_mode"] = "TRIM(LEADING ',' FROM CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES'))"
	}
}

// impatient makes connections on which the server stops waiting for a lock when
// the store does. The server doesn't notice by itself that a context ended: the
// waiting would pile up, and an UPDATE take effect long after its request was
// refused.
type impatient struct {
	driver.Connector
	limit time.Duration // for a connection to be ready
	set   string        // a SET statement
	log   mysql.Logger
}

func newImpatient(connector driver.Connector, limit time.Duration, log mysql.Logger) impatient {
	seconds := int(math.Ceil(limit.Seconds()))
	set := fmt.Sprintf("SET SESSION lock_wait_timeout = %d, innodb_lock_wait_timeout = %[1]d", seconds)
	return impatient{connector, limit, set, log}
}

// Connect implements driver.Connector. That a server has no such variables, as
// some that only speak MySQL's protocol, is no reason to do without it.
func (i impatient) Connect(ctx context.Context) (driver.Conn, error) {
	// A lookup that found a connection free, and another was first to take it,
	// brings no limit.
	ctx, cancel := context.WithTimeout(ctx, i.limit)
	defer cancel()
	conn, err := i.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, i.set, nil)
	if err == nil {
		return conn, nil
	}
	if errors.As(err, new(*mysql.MySQLError)) {
		i.log.Print("limiting the wait for locks: ", err)
		return conn, nil
	}
	_ = conn.Close() // err says what is wrong with it
	return nil, err
}

// driverLog is the driver's logger. What it says of broken connections is for
// debugging, since the store's errors say it too.
type driverLog struct{ logger atomic.Pointer[zap.Logger] }

// Print implements mysql.Logger.
func (l *driverLog) Print(v ...any) {
	l.current().Debug("MySQL driver", zap.String("message", strings.TrimSpace(fmt.Sprint(v...))))
}

// current is the logger of the newest configuration.
func (l *driverLog) current() *zap.Logger {
	if logger := l.logger.Load(); logger != nil {
		return logger
	}
	return zap.NewNop()
}

// Interface guards
var (
	_ caddy.Destructor = (*pool)(nil)
	_ driver.Connector = impatient{}
	_ mysql.Logger     = (*driverLog)(nil)
)
