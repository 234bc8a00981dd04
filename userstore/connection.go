package userstore

import (
	"context"
	"database/sql/driver"
	"time"
)

// fullConn has all methods of the driver's connections that database/sql uses.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// connection is a connection to MySQL. All of its operations have a deadline:
// the context's, or the limit. It is used until its generation ends.
type connection struct {
	fullConn
	wire  *wire
	limit time.Duration

	from       *connector // nil for a connection outside of a pool
	by         *target    // the DSN that it was opened by
	generation uint64

	isRefused bool // see learn
}

// deadlineGrace is how long after a context's deadline a connection ends an
// operation, so that the context's error, which says more, comes first.
const deadlineGrace = 50 * time.Millisecond

func (c *connection) begin(ctx context.Context, what task, statement string) {
	deadline := deadlineOf(ctx, c.limit)
	if ctx.Done() != nil {
		deadline = deadline.Add(deadlineGrace) // the context's deadline comes first
	}
	c.wire.begin(what, statement, deadline)
}

func (c *connection) isOld() bool {
	return c.from != nil && (c.generation != c.from.generation.Load() || !c.from.isUsed())
}

// IsValid implements driver.Validator, which is asked after each use.
func (c *connection) IsValid() bool { return !c.isRefused && !c.isOld() && c.fullConn.IsValid() }

// ResetSession implements driver.SessionResetter, which is called before each
// use but the first.
func (c *connection) ResetSession(ctx context.Context) error {
	if c.isOld() {
		return driver.ErrBadConn
	}
	return c.fullConn.ResetSession(ctx)
}

// Ping implements driver.Pinger.
func (c *connection) Ping(ctx context.Context) error {
	c.begin(ctx, taskOther, "")
	return c.fullConn.Ping(ctx)
}

// BeginTx implements driver.ConnBeginTx.
func (c *connection) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	c.begin(ctx, taskOther, "")
	tx, err := c.fullConn.BeginTx(ctx, options)
	if err != nil {
		return nil, c.learn(err)
	}
	return transaction{tx, c}, nil
}

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	c.begin(ctx, taskOf(statement), statement)
	result, err := c.fullConn.ExecContext(ctx, statement, args)
	return result, c.learn(err)
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	c.begin(ctx, taskOf(statement), statement)
	rows, err := c.fullConn.QueryContext(ctx, statement, args)
	return rows, c.learn(err)
}

// PrepareContext implements driver.ConnPrepareContext. If the server has no
// room for another prepared statement, it returns one that is sent as text.
func (c *connection) PrepareContext(ctx context.Context, statement string) (driver.Stmt, error) {
	if c.from != nil && c.from.limits.identifies && c.isOld() {
		return nil, driver.ErrBadConn // ResetSession isn't called before the first use
	}
	c.begin(ctx, taskOf(statement), statement)
	made, err := c.fullConn.PrepareContext(ctx, statement)
	if numberOf(err) == erTooManyStatements {
		if c.from != nil {
			c.from.noRoom()
		}
		return newUnprepared(c, statement), nil
	}
	if err != nil {
		return nil, c.learn(err)
	}
	full, ok := made.(fullStmt)
	if !ok {
		return made, nil // unreachable: the driver's has all of it
	}
	return &prepared{full, c, statement, taskOf(statement)}, nil
}

// Close implements driver.Conn.
func (c *connection) Close() error {
	c.wire.quit(time.Now().Add(c.limit))
	return c.fullConn.Close()
}

// transaction gives Commit and Rollback a deadline.
type transaction struct {
	driver.Tx
	conn *connection
}

// Commit implements driver.Tx.
func (t transaction) Commit() error {
	t.conn.begin(context.Background(), taskWrite, "COMMIT")
	return t.conn.learn(t.Tx.Commit())
}

// Rollback implements driver.Tx.
func (t transaction) Rollback() error {
	t.conn.begin(context.Background(), taskOther, "")
	return t.Tx.Rollback()
}

// fullStmt has all methods of the driver's statements that database/sql uses.
type fullStmt interface {
	driver.Stmt
	driver.NamedValueChecker
	driver.StmtExecContext
	driver.StmtQueryContext
}

// prepared is a prepared statement of a connection.
type prepared struct {
	fullStmt
	conn *connection
	text string
	task task
}

// ExecContext implements driver.StmtExecContext.
func (p *prepared) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	p.conn.begin(ctx, p.task, p.text)
	result, err := p.fullStmt.ExecContext(ctx, args)
	return result, p.conn.learn(err)
}

// QueryContext implements driver.StmtQueryContext.
func (p *prepared) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	p.conn.begin(ctx, p.task, p.text)
	rows, err := p.fullStmt.QueryContext(ctx, args)
	return rows, p.conn.learn(err)
}

// Close implements driver.Stmt. The server sends no answer to it.
func (p *prepared) Close() error {
	p.conn.begin(context.Background(), taskOther, "")
	return p.fullStmt.Close()
}

// Interface guards
var (
	_ fullConn = (*connection)(nil)
	_ fullStmt = (*prepared)(nil)
	_ fullStmt = (*unprepared)(nil)
)
