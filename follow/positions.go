package follow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

var (
	errNoLog    = errors.New("the server has no binlog: set log_bin in its configuration, and restart it")
	errFiltered = errors.New("the binlog leaves out changes of any table by sessions whose default database isn't logged: remove binlog_do_db and binlog_ignore_db from the server's configuration")
	errLargeLog = errors.New("the present binlog is larger than 4 GiB: it can be followed when the server begins the next one")
)

// positions asks for positions, by a connection of its own. There is no second one:
// another connection may lead to another server.
type positions struct {
	db      *sql.DB
	conn    *sql.Conn
	busy    chan struct{} // has an element while the connection is in use
	source  userstore.FollowSource
	server  *server
	visible *visible
	resets  string // how often RESET had been executed before the stream began

	progress progress
}

// openPositions connects to the server.
func openPositions(ctx context.Context, source userstore.FollowSource) (*positions, error) {
	cfg := source.Server.Clone()
	cfg.DBName = "" // the account needs no privilege on one
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = source.Timeout, source.Timeout, source.Timeout
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errors.New("the dsn can't be used: write user:password@tcp(host:3306)/")
	}
	p := &positions{db: sql.OpenDB(connector), busy: make(chan struct{}, 1), source: source}
	limited, cancel := context.WithTimeout(ctx, source.Timeout)
	defer cancel()
	if p.conn, err = p.db.Conn(limited); err != nil {
		p.db.Close()
		return nil, refusal(fmt.Errorf("connecting to the server at %s: %w", cfg.Addr, err))
	}
	// The connection may be idle for longer than the server has it by default.
	if _, err := p.query(ctx, "SET SESSION wait_timeout = 86400"); err != nil {
		p.close()
		return nil, err
	}
	if p.server, err = askServer(ctx, p); err != nil {
		p.close()
		return nil, err
	}
	if err := p.server.waitForCluster(ctx, p); err != nil {
		p.close()
		return nil, err
	}
	p.visible = newVisible(p.server)
	return p, nil
}

func (p *positions) close() {
	_ = p.conn.Close() // with the pool, nothing of it remains
	p.db.Close()
}

// query implements querier. A context that ends early doesn't end the query, which
// would end the connection.
func (p *positions) query(ctx context.Context, statement string) ([]map[string]string, error) {
	select {
	case p.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-p.busy }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.source.Timeout)
	defer cancel()
	rows, err := p.conn.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return textOf(rows)
}

// textOf reads rows as text by the columns' names in lower case. NULL is empty.
func textOf(rows *sql.Rows) ([]map[string]string, error) {
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	var all []map[string]string
	size := 0
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make(map[string]string, len(columns))
		for i, name := range columns {
			row[lower(name)] = values[i].String
			size += len(values[i].String)
		}
		const most = 64 << 20 // much more than all columns of all tables
		if size += len(columns) * 32; size > most {
			return nil, errAnswersTooMuch
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// Written implements userstore.Positions.
func (p *positions) Written(ctx context.Context) (userstore.LogPosition, error) {
	before := p.progress.place()
	if err := p.server.catchUp(ctx, p); err != nil {
		return userstore.LogPosition{}, err
	}
	end, err := p.server.askLogEnd(ctx, p)
	if err != nil {
		return end.at, err
	}
	return end.at, p.progress.compare(before, end.at, p.source.Silence)
}

// SameLog implements userstore.Positions. After RESET MASTER, the stream may wait at the end
// of the removed log without an error, and the new one may have the same end.
func (p *positions) SameLog(ctx context.Context) error {
	resets, err := p.askResets(ctx)
	switch {
	case err != nil:
		return err
	case resets != p.resets:
		return errResets
	}
	return p.sameMode(ctx)
}

// sameMode returns an error if MySQL's transactions have GTIDs now, and hadn't when the
// stream began, or the other way round: what is visible is to be asked in another way.
func (p *positions) sameMode(ctx context.Context) error {
	if p.server.isMaria {
		return nil
	}
	rows, err := p.query(ctx, "SELECT @@GLOBAL.gtid_mode AS mode")
	switch {
	case err != nil:
		return fmt.Errorf("asking for gtid_mode: %w", err)
	case len(rows) != 1 || (rows[0]["mode"] == "ON") != p.visible.isTold:
		return errMode
	}
	return nil
}

// askResets asks how often RESET was executed, in any of its forms.
func (p *positions) askResets(ctx context.Context) (string, error) {
	counts, err := namesAndValues(ctx, p, `SHOW GLOBAL STATUS LIKE 'Com\_reset'`)
	if err != nil {
		return "", fmt.Errorf("asking how often RESET was executed: %w", err)
	}
	return counts["Com_reset"], nil
}

// Committed implements userstore.Positions.
func (p *positions) Committed(ctx context.Context) (at userstore.LogPosition, ok bool, err error) {
	return p.visible.ask(ctx, p)
}

// progress is how far the stream has come.
type progress struct {
	mu sync.Mutex
	at userstore.LogPosition

	behind time.Time // since when the stream is known to be behind, without moving
}

var (
	errReset  = errors.New("the end of the binlog is before what was read: the log was reset")
	errResets = errors.New("RESET was executed: the log may have been reset")
	errMode   = errors.New("gtid_mode was changed")
	errStuck  = errors.New("the stream doesn't go on to the end of the binlog: the log was reset, or the server sends only a part of it")
)

func (p *progress) reached(at userstore.LogPosition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at != at {
		p.at, p.behind = at, time.Time{}
	}
}

func (p *progress) place() userstore.LogPosition {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// compare returns an error if the log's end can't be that of the log that the stream
// is of: after RESET MASTER, a server may go on to send heartbeats of the removed log.
func (p *progress) compare(before, end userstore.LogPosition, patience time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case end.Before(before):
		return errReset
	case !p.at.Before(end):
		p.behind = time.Time{}
	case p.behind.IsZero():
		p.behind = time.Now()
	case time.Since(p.behind) > patience:
		return errStuck
	}
	return nil
}
