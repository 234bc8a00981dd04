package measure

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
)

// Single measures the latency of one connection that is alone: to bare, to
// sesame, to sesame with follow unless that is nil, and to the database, with the
// query that sesame makes.
func (r *Runner) Single(ctx context.Context, bare, sesame, follow *peer.Gateway, all []users.User) ([]results.Single, error) {
	reader, err := r.newReader(ctx, all)
	if err != nil {
		return nil, err
	}
	defer reader.close()
	calls := []func() error{reader.read}
	for _, g := range []*peer.Gateway{bare, sesame, follow} {
		if g == nil {
			continue
		}
		to, err := dial(ctx, g)
		if err != nil {
			return nil, err
		}
		defer to.close()
		calls = append(calls, to.get)
	}
	var measured []results.Single
	for round := range r.Settings.Rounds {
		r.Say("1 connection: round %d of %d", round+1, r.Settings.Rounds)
		medians, count, err := alternate(ctx, r.Settings.Duration, round, calls...)
		if err != nil {
			return nil, fmt.Errorf("measuring with 1 connection: %w", err)
		}
		single := results.Single{Round: round, Select: medians[0], Bare: medians[1], Sesame: medians[2], Count: count}
		if follow != nil {
			single.Follow = medians[3]
		}
		measured = append(measured, single)
	}
	return measured, nil
}

// alternate calls functions in turns for a while, and returns the median time
// of each. They are called once each turn: repeated at once, the second call
// would find everything awake, which the others don't.
func alternate(ctx context.Context, duration time.Duration, first int, calls ...func() error) (medians []time.Duration, count int, err error) {
	times := make([][]time.Duration, len(calls))
	for end := time.Now().Add(duration); time.Now().Before(end); {
		for i := range calls {
			kind := (i + first) % len(calls)
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			start := time.Now()
			if err := calls[kind](); err != nil {
				return nil, 0, err
			}
			times[kind] = append(times[kind], time.Since(start))
		}
	}
	for _, t := range times {
		slices.Sort(t)
		medians = append(medians, stats.Percentile(t, 50))
	}
	return medians, len(times[0]), nil
}

// connection is a client with as little of its own as possible.
type connection struct {
	conn     net.Conn
	reader   *bufio.Reader
	requests [][]byte
	next     int
}

func dial(ctx context.Context, g *peer.Gateway) (*connection, error) {
	address, requests := g.Raw()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{conn: conn, reader: bufio.NewReader(conn), requests: requests}, nil
}

// get makes the next request.
func (c *connection) get() error {
	request := c.requests[c.next%len(c.requests)]
	c.next++
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("a request was answered %d", response.StatusCode)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func (c *connection) close() { _ = c.conn.Close() }

// reader makes the query of sesame with the bare driver.
type reader struct {
	conn      *sql.Conn
	statement *sql.Stmt
	users     []users.User
	next      int
}

func (r *Runner) newReader(ctx context.Context, all []users.User) (*reader, error) {
	conn, err := r.Database.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	statement, err := conn.PrepareContext(ctx, "SELECT id, password, is_active, email, username FROM "+peer.Table+" WHERE id = ?")
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("preparing the query: %w", err)
	}
	return &reader{conn: conn, statement: statement, users: all}, nil
}

func (r *reader) read() error {
	id := r.users[r.next%len(r.users)].ID
	r.next++
	var columns [5]sql.RawBytes
	rows, err := r.statement.Query(id)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return fmt.Errorf("user %d isn't there", id)
	}
	if err := rows.Scan(&columns[0], &columns[1], &columns[2], &columns[3], &columns[4]); err != nil {
		return err
	}
	return rows.Err()
}

func (r *reader) close() {
	_ = r.statement.Close()
	_ = r.conn.Close()
}
