// Package users makes tables of users in a private MariaDB, and their tokens.
package users

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// Name of the database that all tables are in.
const Name = "bench"

// Database is a running MariaDB.
type Database struct {
	*sql.DB
	server *testmariadb.Server
	dir    string
	pid    int
}

// Start runs a MariaDB in a directory, with memory for the pages of as many
// rows as will be there.
func Start(ctx context.Context, dir string, rows int) (*Database, error) {
	server, err := testmariadb.Start(dir, testmariadb.PrimaryOptions...)
	if err != nil {
		return nil, err
	}
	d := &Database{server: server, dir: dir}
	if err := d.prepare(ctx, rows); err != nil {
		d.Stop()
		return nil, err
	}
	return d, nil
}

func (d *Database) prepare(ctx context.Context, rows int) error {
	if err := d.server.CreateDatabase(Name); err != nil {
		return err
	}
	pid, err := os.ReadFile(filepath.Join(d.dir, "pid"))
	if err != nil {
		return fmt.Errorf("reading MariaDB's process id: %w", err)
	}
	if d.pid, err = strconv.Atoi(strings.TrimSpace(string(pid))); err != nil {
		return fmt.Errorf("reading MariaDB's process id: %w", err)
	}
	// Millions of new rows are of no interest to the gateways that follow.
	if d.DB, err = sql.Open("mysql", d.DSN()+"?sql_log_bin=0"); err != nil {
		return fmt.Errorf("opening MariaDB: %w", err)
	}
	// Tests make do with little memory. What is measured here is a server that
	// has enough: a row and its place in the two indexes take some 330 bytes.
	megabytes := max(128, rows*400>>20)
	for _, statement := range []string{
		fmt.Sprintf("SET GLOBAL innodb_buffer_pool_size = %d", megabytes<<20),
		"SET GLOBAL innodb_log_file_size = 268435456",
		// By default it writes 200 pages a second, as for a disk of old.
		"SET GLOBAL innodb_io_capacity_max = 20000",
		"SET GLOBAL innodb_io_capacity = 20000",
	} {
		if _, err := d.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("giving MariaDB memory: %w", err)
		}
	}
	return nil
}

// DSN is the data source name that gateways use.
func (d *Database) DSN() string { return d.server.DSN(Name) }

// SocketDSN is that for the server's Unix socket.
func (d *Database) SocketDSN() string {
	return fmt.Sprintf("root@unix(%s)/%s", filepath.Join(d.dir, "sock"), Name)
}

// Addr is the host and port of the server.
func (d *Database) Addr() string { return d.server.Addr() }

// PID is the id of the server's process.
func (d *Database) PID() int { return d.pid }

// Version is what the server says of itself.
func (d *Database) Version(ctx context.Context) (version string, err error) {
	err = d.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version)
	return version, err
}

// Stop ends the server.
func (d *Database) Stop() {
	if d.DB != nil {
		_ = d.Close() // the server ends all the same
	}
	d.server.Stop()
}

//go:embed auth_user.sql
var createTable string

//go:embed fill.sql
var fillTable string

// rowsAtOnce are inserted by one statement, so that an interrupt needn't wait
// for millions.
const rowsAtOnce = 250_000

// CreateTable makes a table of users with the keys from 1 to rows.
func (d *Database) CreateTable(ctx context.Context, table string, rows int) error {
	if _, err := d.ExecContext(ctx, fmt.Sprintf(createTable, table)); err != nil {
		return fmt.Errorf("creating table %s: %w", table, err)
	}
	for first := 1; first <= rows; first += rowsAtOnce {
		last := min(first+rowsAtOnce-1, rows)
		if _, err := d.ExecContext(ctx, fmt.Sprintf(fillTable, table, first, last)); err != nil {
			return fmt.Errorf("filling table %s: %w", table, err)
		}
	}
	if _, err := d.ExecContext(ctx, "ANALYZE TABLE `"+table+"`"); err != nil {
		return fmt.Errorf("analyzing table %s: %w", table, err)
	}
	return nil
}

// settleLimit is how long Settle waits at most.
const settleLimit = time.Minute

// Settle waits until the server has written what was changed, which would take
// time from what is measured next. It gives up after a while, and says so.
func (d *Database) Settle(ctx context.Context) (settled bool, err error) {
	var normal string
	if err := d.QueryRowContext(ctx, "SELECT @@innodb_max_dirty_pages_pct").Scan(&normal); err != nil {
		return false, fmt.Errorf("reading a setting of MariaDB: %w", err)
	}
	if _, err := d.ExecContext(ctx, "SET GLOBAL innodb_max_dirty_pages_pct = 0"); err != nil {
		return false, fmt.Errorf("having MariaDB write all pages: %w", err)
	}
	if settled, err = d.awaitWritten(ctx); err != nil {
		return false, err
	}
	if _, err := d.ExecContext(ctx, "SET GLOBAL innodb_max_dirty_pages_pct = "+normal); err != nil {
		return false, fmt.Errorf("restoring a setting of MariaDB: %w", err)
	}
	return settled, nil
}

// awaitWritten returns when hardly a page is to be written.
func (d *Database) awaitWritten(ctx context.Context) (bool, error) {
	deadline := time.After(settleLimit)
	for {
		dirty, err := d.status(ctx, "Innodb_buffer_pool_pages_dirty")
		if err != nil {
			return false, err
		}
		if dirty["Innodb_buffer_pool_pages_dirty"] < 10 {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-deadline:
			return false, nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Counters are what the server has counted since its start.
type Counters struct {
	Questions int64 // statements that clients have sent
	Executed  int64 // those of them that were prepared before
	PagesRead int64 // from the disk, as they weren't in memory
}

// Counters reads them, which counts as a question itself.
func (d *Database) Counters(ctx context.Context) (Counters, error) {
	status, err := d.status(ctx, "Questions", "Com_stmt_execute", "Innodb_buffer_pool_reads")
	return Counters{
		Questions: status["Questions"],
		Executed:  status["Com_stmt_execute"],
		PagesRead: status["Innodb_buffer_pool_reads"],
	}, err
}

// Since is what was counted after the earlier reading, without the question
// that the later one is.
func (c Counters) Since(earlier Counters) Counters {
	return Counters{
		Questions: c.Questions - earlier.Questions - 1,
		Executed:  c.Executed - earlier.Executed,
		PagesRead: c.PagesRead - earlier.PagesRead,
	}
}

func (d *Database) status(ctx context.Context, names ...string) (map[string]int64, error) {
	rows, err := d.QueryContext(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('"+strings.Join(names, "', '")+"')")
	if err != nil {
		return nil, fmt.Errorf("reading MariaDB's status: %w", err)
	}
	defer rows.Close()
	status := make(map[string]int64, len(names))
	for rows.Next() {
		var name string
		var value int64
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("reading MariaDB's status: %w", err)
		}
		status[name] = value
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading MariaDB's status: %w", err)
	}
	if len(status) != len(names) {
		return nil, fmt.Errorf("MariaDB's status lacks one of %s", strings.Join(names, ", "))
	}
	return status, nil
}
