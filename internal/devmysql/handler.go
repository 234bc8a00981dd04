package devmysql

import (
	"context"
	"sync"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/mysql"
	"github.com/dolthub/vitess/go/sqltypes"
	querypb "github.com/dolthub/vitess/go/vt/proto/query"
	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// oneAtATime runs one statement after the other, over all connections.
//
// In go-mysql-server's memory tables a session works on its own copy of a
// table, and puts it back at the end of each statement, after a SELECT too.
// Two at the same time would undo each other's work: of conditional UPDATEs
// many would report a changed row, and a SELECT would revert an UPDATE. So
// there can't be shared readers either.
//
// Transactions of several statements are not protected by this.
type oneAtATime struct {
	mysql.Handler // the methods that execute no statement
	mu            sync.Mutex
}

func (h *oneAtATime) ConnectionClosed(c *mysql.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Handler.ConnectionClosed(c)
}

func (h *oneAtATime) ComInitDB(c *mysql.Conn, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ComInitDB(c, name)
}

func (h *oneAtATime) ComQuery(ctx context.Context, c *mysql.Conn, query string, callback mysql.ResultSpoolFn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ComQuery(ctx, c, query, callback)
}

func (h *oneAtATime) ComMultiQuery(ctx context.Context, c *mysql.Conn, query string, callback mysql.ResultSpoolFn) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ComMultiQuery(ctx, c, query, callback)
}

func (h *oneAtATime) ComPrepare(ctx context.Context, c *mysql.Conn, query string, prepare *mysql.PrepareData) ([]*querypb.Field, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ComPrepare(ctx, c, query, prepare)
}

func (h *oneAtATime) ComStmtExecute(ctx context.Context, c *mysql.Conn, prepare *mysql.PrepareData, callback func(*sqltypes.Result) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ComStmtExecute(ctx, c, prepare, callback)
}

func (h *oneAtATime) ComResetConnection(c *mysql.Conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ComResetConnection(c)
}

func (h *oneAtATime) ParserOptionsForConnection(c *mysql.Conn) (sqlparser.ParserOptions, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.Handler.ParserOptionsForConnection(c)
}

// newContext is the plain way to make a statement's context.
func newContext(ctx context.Context, options ...sql.ContextOption) *sql.Context {
	return sql.NewContext(ctx, options...)
}
