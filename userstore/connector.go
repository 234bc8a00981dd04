package userstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// source is the DSN of a server, or the file that contains it, and the TLS
// files.
type source struct {
	dsn  string
	file string // name of a file with the DSN; then dsn is empty
	tls  tlsFiles
}

// connector makes connections with the current DSN.
type connector struct {
	source source
	limits poolLimits
	log    *driverLog

	current atomic.Pointer[target]
	former  atomic.Pointer[target] // the former DSN of the same server, or nil
	changed func()                 // called after a change
	moved   func()                 // called after a change to another server
	stall   func()                 // called when a statement was abandoned
	refused func(error)            // called when the server said that it can't serve or write
	isUsed  func() bool            // whether the pool uses this server
	isKnown atomic.Bool            // the server was reached once, see servers.compare

	// leads is called with the server of a new connection, and the DSN that it was opened
	// by. It returns the connection's generation, unless the DSN isn't in use any more.
	leads func(ServerIdentity, *target) (generation uint64, ok bool)

	generation atomic.Uint64 // number of the current DSN's connections; older connections aren't used again

	toldNoRoom atomic.Int64 // last warning that statements can't be prepared

	mu     sync.Mutex  // for reading the file
	seen   os.FileInfo // when it was last read
	warned string      // the last error that was logged
}

// target is a DSN, and the driver's configuration for it.
type target struct {
	connector driver.Connector // the driver's
	cfg       *mysql.Config
	dsn       string
	variables []variable
	limits    poolLimits
	log       *driverLog
	stalled   *stalled // of the server
}

// fileInterval is how often a file with a DSN is checked for changes.
const fileInterval = time.Second

func newConnector(from source, limits poolLimits, log *driverLog) (*connector, error) {
	c := &connector{source: from, limits: limits, log: log}
	dsn := from.dsn
	if from.file != "" {
		var err error
		if dsn, c.seen, err = readDSN(from.file); err != nil {
			return nil, err
		}
	}
	made, err := c.target(dsn)
	if err != nil {
		return nil, err
	}
	c.current.Store(made)
	return c, nil
}

// readDSN reads a file with a DSN. Its errors don't quote it.
func readDSN(file string) (dsn string, info os.FileInfo, err error) {
	if info, err = os.Stat(file); err != nil {
		return "", nil, unreadable(err)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return "", info, unreadable(err)
	}
	if err := checkForm(string(text)); err != nil {
		return "", info, setting.Errorf("dsn_file", "dsn_file: %s: %w", file, err)
	}
	if dsn = strings.TrimSpace(string(text)); dsn == "" {
		return "", info, setting.Errorf("dsn_file", "dsn_file: %s is empty: write user:password@tcp(host:3306)/database into it", file)
	}
	return dsn, info, nil
}

// databaseIn returns the database that the DSN in a file names; empty without a file, and
// for one that can't be used, which opening the store explains. What is kept for
// configurations that are alike, across reloads, depends on it: a reload takes the
// database that the file names then.
func databaseIn(file string) string {
	if file == "" {
		return ""
	}
	dsn, _, err := readDSN(file)
	if err != nil {
		return ""
	}
	cfg, err := parseDSN(dsn)
	if err != nil {
		return ""
	}
	return cfg.DBName
}

// unreadable returns the error for a file with a DSN that can't be read.
func unreadable(err error) error {
	return setting.Errorf("dsn_file", "dsn_file: %w: name a file that Caddy's system user can read, with %s in it", err, dsnForm)
}

// target prepares a DSN for use.
func (c *connector) target(dsn string) (*target, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if err := force(cfg, c.limits, c.log); err != nil {
		return nil, err
	}
	if err := c.source.tls.set(cfg); err != nil {
		return nil, err
	}
	toSet := variables(cfg, c.limits)
	cfg.Params = nil // they are set with the others
	made, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errDSN
	}
	return &target{
		connector: made, cfg: cfg, dsn: dsn, variables: toSet,
		limits: c.limits, log: c.log, stalled: stalledOn(cfg),
	}, nil
}

// config returns the parsed DSN in use.
func (c *connector) config() *mysql.Config { return c.current.Load().cfg }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	for {
		conn, ok, err := c.connectOnce(ctx)
		if err != nil {
			return nil, err
		}
		if ok {
			return conn, nil
		}
		_ = conn.Close() // it was opened by a DSN that has been replaced meanwhile
	}
}

// connectOnce makes a connection. ok is false if it leads to a server that the file
// named when the connection was begun, and doesn't any more.
func (c *connector) connectOnce(ctx context.Context) (conn *connection, ok bool, err error) {
	generation := c.generation.Load()
	if conn, err = c.connect(ctx); err != nil {
		return nil, false, err
	}
	if c.limits.identifies {
		is, err := identify(ctx, conn)
		if err != nil {
			_ = conn.Close() // err has the cause
			return nil, false, err
		}
		if generation, ok = c.leads(is, conn.by); !ok {
			return conn, false, nil
		}
	}
	conn.from, conn.generation = c, generation
	conn.wire.notify(c.stall)
	return conn, true, nil
}

// isInUse reports whether connections are made by a DSN: it is the current one, or the
// former one of the same server.
func (c *connector) isInUse(by *target) bool {
	return by == c.current.Load() || by == c.former.Load()
}

// connect makes a connection. During a change of the password, the file and
// the server may have the new password at different times: then the other DSN
// is tried.
func (c *connector) connect(ctx context.Context) (*connection, error) {
	used := c.current.Load()
	conn, err := used.Connect(ctx)
	if c.source.file == "" || !isAccessDenied(err) {
		return conn, err
	}
	c.look()
	if now := c.current.Load(); now != used {
		if conn, err = now.Connect(ctx); !isAccessDenied(err) {
			return conn, err
		}
	}
	if former := c.former.Load(); former != nil {
		if conn, formerErr := former.Connect(ctx); !isAccessDenied(formerErr) {
			return conn, formerErr
		}
		return c.current.Load().Connect(ctx) // the server has changed between the two
	}
	return nil, err
}

// noRoomWarnings is the least time between two warnings.
const noRoomWarnings = time.Minute

// noRoom logs, at most once per noRoomWarnings, that the server has no room
// for prepared statements.
func (c *connector) noRoom() {
	now, last := time.Now().UnixNano(), c.toldNoRoom.Load()
	if last != 0 && now-last < int64(noRoomWarnings) || !c.toldNoRoom.CompareAndSwap(last, now) {
		return
	}
	c.log.current().Warn("MySQL has no room for prepared statements: they are sent as text, which costs it more; "+
		"raise max_prepared_stmt_count", zap.String("server", c.config().Addr))
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return mysql.MySQLDriver{} }

// isAccessDenied reports whether the server rejects user and password.
func isAccessDenied(err error) bool {
	number := numberOf(err)
	return number == erAccessDenied || number == erAccessDeniedNoPassword
}

// watch checks the file for changes until ctx ends.
func (c *connector) watch(ctx context.Context) {
	interval := time.NewTicker(fileInterval)
	defer interval.Stop()
	for {
		select {
		case <-interval.C:
			c.look()
		case <-ctx.Done():
			return
		}
	}
}

// look reads the file if it has changed, and uses its DSN from then on. If the
// new DSN can't be used, the former one stays in use.
func (c *connector) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.source.file)
	if err == nil && c.seen != nil && os.SameFile(info, c.seen) && info.ModTime().Equal(c.seen.ModTime()) && info.Size() == c.seen.Size() {
		return
	}
	dsn, info, err := readDSN(c.source.file)
	if err == nil {
		c.seen = info
		err = c.use(dsn)
	}
	switch logger := c.log.current(); {
	case err == nil:
		c.warned = ""
	case err.Error() != c.warned:
		c.warned = err.Error()
		logger.Error("the DSN in the file can't be used: the former DSN stays in use", zap.String("file", c.source.file), zap.Error(err))
	}
}

// use makes new connections with the DSN, if it has changed.
func (c *connector) use(dsn string) error {
	used := c.current.Load()
	if dsn == used.dsn {
		return nil
	}
	made, err := c.target(dsn)
	if err != nil {
		return err
	}
	if made.cfg.DBName != used.cfg.DBName {
		return errors.New("it names another database, in which the table was not checked: reload Caddy's configuration to use it")
	}
	// For another server, the former password isn't tried, and neither is the
	// former server.
	c.former.Store(nil)
	isSame := made.cfg.Net == used.cfg.Net && made.cfg.Addr == used.cfg.Addr
	if isSame {
		c.former.Store(used)
	}
	c.current.Store(made)
	c.log.current().Info("the DSN in the file has changed: new connections use it", zap.String("file", c.source.file))
	c.changed()
	if !isSame {
		c.moved()
	}
	return nil
}

// Interface guards
var _ driver.Connector = (*connector)(nil)
