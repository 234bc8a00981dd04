package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// freeze has MySQL hang, with its connections open.
func (s *Site) freeze(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "MySQL frozen", func() error {
		return s.frozen(ctx, between(random, time.Second, 6*time.Second), func() error { return nil })
	})
}

// frozen runs something while MySQL hangs, and then waits.
func (s *Site) frozen(ctx context.Context, d time.Duration, meanwhile func() error) error {
	defer s.Table.Server.Thaw()
	if err := s.Table.Server.Freeze(); err != nil {
		return err
	}
	if err := meanwhile(); err != nil {
		return err
	}
	pause(ctx, d)
	return nil
}

// crash ends MySQL without notice.
func (s *Site) crash(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "MySQL crashed", func() error {
		s.Table.Server.Kill()
		pause(ctx, between(random, 0, 3*time.Second))
		return s.Table.Server.Restart()
	})
}

// restart ends MySQL in good order.
func (s *Site) restart(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "MySQL restarted", func() error {
		s.Table.Server.Stop()
		pause(ctx, between(random, 0, 2*time.Second))
		return s.Table.Server.Restart()
	})
}

// killConnections ends the gateways' connections, several times.
func (s *Site) killConnections(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "connections to MySQL killed", func() error {
		for range 1 + random.IntN(8) {
			n, err := s.killEach(ctx)
			if err != nil {
				return err
			}
			s.Books.Add("connections to MySQL", "killed", n)
			pause(ctx, between(random, 0, 300*time.Millisecond))
		}
		return nil
	})
}

func (s *Site) killEach(ctx context.Context) (int, error) {
	rows, err := s.Table.Admin.QueryContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER LIKE 'gateway%' OR USER LIKE 'follow%'")
	if err != nil {
		return 0, fmt.Errorf("listing connections: %w", err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return 0, fmt.Errorf("listing connections: %w", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("listing connections: %w", err)
	}
	n := 0
	for _, id := range ids {
		if _, err := s.Table.Admin.ExecContext(ctx, "KILL CONNECTION ?", id); err == nil {
			n++ // else it has ended by itself
		}
	}
	return n, nil
}

// lockTable keeps all other connections out of the table.
func (s *Site) lockTable(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "table locked", func() error {
		conn, err := s.Table.Admin.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // the lock ends with it
		if _, err := conn.ExecContext(ctx, "LOCK TABLES auth_user WRITE"); err != nil {
			return fmt.Errorf("locking the table: %w", err)
		}
		pause(ctx, between(random, time.Second, 4*time.Second))
		if _, err := conn.ExecContext(ctx, "UNLOCK TABLES"); err != nil {
			return fmt.Errorf("unlocking the table: %w", err)
		}
		return nil
	})
}

// readOnly is a failover to a server that can't be written to: reusable tokens and
// sessions go on, and no one-time token is used up.
func (s *Site) readOnly(ctx context.Context, random *rand.Rand) error {
	defer s.Books.ReadOnly.Begin()()
	if _, err := s.Table.Admin.ExecContext(ctx, "SET GLOBAL read_only = 1"); err != nil {
		return fmt.Errorf("making MySQL read-only: %w", err)
	}
	pause(ctx, between(random, time.Second, 4*time.Second))
	if _, err := s.Table.Admin.ExecContext(ctx, "SET GLOBAL read_only = 0"); err != nil {
		return fmt.Errorf("making MySQL writable: %w", err)
	}
	return nil
}
