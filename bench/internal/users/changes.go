package users

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Change changes the e-mail addresses of users, one row after the other, at a rate
// in rows per second, and calls changed after each, until ctx ends. Other changes of
// this package aren't in the server's binlog; these are.
func (d *Database) Change(ctx context.Context, table string, users, rate int, changed func()) error {
	db, err := sql.Open("mysql", d.DSN())
	if err != nil {
		return fmt.Errorf("opening MariaDB: %w", err)
	}
	defer db.Close()
	change, err := db.PrepareContext(ctx, "UPDATE `"+table+"` SET email = ? WHERE id = ?")
	if err != nil {
		return fmt.Errorf("preparing to change users: %w", err)
	}
	defer change.Close()
	began := time.Now()
	turn := time.NewTicker(5 * time.Millisecond)
	defer turn.Stop()
	for n := 0; ; {
		for ; n < int(time.Since(began).Seconds()*float64(rate)); n++ {
			if _, err := change.ExecContext(ctx, fmt.Sprintf("user%d@example.com", n), n%users+1); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("changing a user: %w", err)
			}
			changed()
		}
		select {
		case <-turn.C:
		case <-ctx.Done():
			return nil
		}
	}
}
