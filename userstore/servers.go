package userstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// servers are the servers of a pool: one, or several of one cluster. All connections
// of the pool lead to one of them, which is used until it fails: so a lookup sees what
// the pool has written before, and a server that is back doesn't move the load.
type servers struct {
	all   []*connector
	limit time.Duration // for a connection
	log   *driverLog
	moved func() // closes unused connections

	used    atomic.Int32
	turning chan struct{} // has an element while a goroutine looks for another server

	// Of several servers: the cluster that they belong to, once one has said so, and
	// the error if another belongs to another cluster. Then none is used: each gateway
	// might use another one.
	cluster  atomic.Pointer[string]
	conflict atomic.Pointer[error]
}

func newServers(from []source, limits poolLimits, log *driverLog) (*servers, error) {
	s := &servers{limit: limits.query, log: log, turning: make(chan struct{}, 1)}
	for i, of := range from {
		c, err := newConnector(of, limits, log)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			if err := c.mustHaveDatabase(s.all[0].config().DBName); err != nil {
				return nil, err
			}
		}
		c.isUsed = func() bool { return s.current() == c }
		s.all = append(s.all, c)
	}
	return s, nil
}

// mustHaveDatabase returns an error if the DSN names another database.
func (c *connector) mustHaveDatabase(name string) error {
	if c.config().DBName == name {
		return nil
	}
	return setting.Errorf("dsn", "the dsns name the databases %q and %q: name the same, since they are for servers of one cluster", name, c.config().DBName)
}

func (s *servers) areSeveral() bool { return len(s.all) > 1 }

// current returns the server that is used.
func (s *servers) current() *connector { return s.all[s.used.Load()] }

// address is the address of the server that is used.
func (s *servers) address() string { return s.current().config().Addr }

// Driver implements driver.Connector.
func (s *servers) Driver() driver.Driver { return s.all[0].Driver() }

// Connect implements driver.Connector. It tries the server that is used, and then the
// others in their order. Each may take its share of the time that is left.
func (s *servers) Connect(ctx context.Context) (driver.Conn, error) {
	if !s.areSeveral() {
		return s.all[0].Connect(ctx)
	}
	began, deadline := s.used.Load(), deadlineOf(ctx, s.limit)
	var failures []error
	for tried := range s.all {
		if err := s.conflict.Load(); err != nil {
			return nil, *err
		}
		at := (int(began) + tried) % len(s.all)
		share := time.Until(deadline) / time.Duration(len(s.all)-tried)
		conn, err := s.join(ctx, s.all[at], share)
		if err == nil {
			s.turn(began, int32(at), errors.Join(failures...)) //nolint:gosec // there are few
			return conn, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.all[at].config().Addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// join connects to a server, and makes sure that it is of the cluster and accepts
// writes.
func (s *servers) join(ctx context.Context, c *connector, limit time.Duration) (driver.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := c.Connect(limited)
	if err != nil {
		return nil, err
	}
	if err := s.admit(limited, conn.(driver.QueryerContext)); err != nil {
		_ = conn.Close() // err has the cause
		return nil, err
	}
	c.isKnown.Store(true)
	return conn, nil
}

func (s *servers) admit(ctx context.Context, conn driver.QueryerContext) error {
	state, err := readState(ctx, conn)
	if err != nil {
		return fmt.Errorf("asking for the state of its cluster: %w", err)
	}
	return s.accept(state)
}

// accept returns an error unless the server is of the cluster and accepts writes.
func (s *servers) accept(state *clusterState) error {
	name, err := state.cluster()
	if err != nil {
		return err
	}
	if !s.cluster.CompareAndSwap(nil, &name) && *s.cluster.Load() != name {
		return misfitf("it belongs to the cluster %s, but another dsn's server to %s: name servers of one cluster, "+
			"or restart Caddy if the cluster was made anew", name, *s.cluster.Load())
	}
	return state.accepts()
}

// inspect asks a server for its state, and returns why it can't be used.
func (s *servers) inspect(ctx context.Context, c *connector) (*clusterState, error) {
	conn, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // the server has answered
	state, err := readState(ctx, conn.(driver.QueryerContext))
	if err != nil || !s.areSeveral() {
		return state, err
	}
	return state, s.accept(state)
}

// turn has connections lead to another server, unless they do already.
func (s *servers) turn(from, to int32, why error) {
	if from == to || !s.used.CompareAndSwap(from, to) {
		return
	}
	s.all[from].generation.Add(1)
	s.moved()
	s.log.current().Warn("a server can't be used: connections lead to another one of its cluster",
		zap.String("server", s.all[from].config().Addr), zap.String("to", s.all[to].config().Addr), zap.Error(why))
}

// leave has connections lead to the next server, after one has said that it can't
// serve or write. Connect goes on from there.
func (s *servers) leave(c *connector, why error) {
	for i := range s.all {
		if s.all[i] == c && s.areSeveral() {
			s.turn(int32(i), int32((i+1)%len(s.all)), why) //nolint:gosec // there are few
		}
	}
}

// check connects to each server. Its errors are misfits if they don't belong to one
// cluster; a server that can't be reached is no error while another can.
func (s *servers) check(ctx context.Context) error {
	if !s.areSeveral() {
		return nil
	}
	var unreachable []error
	for _, c := range s.all {
		conn, err := s.join(ctx, c, s.limit/time.Duration(len(s.all)))
		switch {
		case err == nil:
			_ = conn.Close() // the server has answered
		case errors.As(err, &misfit{}):
			return fmt.Errorf("%s: %w", c.config().Addr, err)
		default:
			unreachable = append(unreachable, fmt.Errorf("%s: %w", c.config().Addr, err))
		}
	}
	if len(unreachable) == len(s.all) {
		return errors.Join(unreachable...)
	}
	for _, err := range unreachable {
		s.log.current().Warn("a server of the cluster can't be used now", zap.Error(err))
	}
	return nil
}

// compareInterval is how often servers are tried that haven't been reached yet.
const compareInterval = 10 * time.Second

// compare waits until each server has been reached once, to make sure that all are of
// one cluster.
func (s *servers) compare(ctx context.Context) {
	interval := time.NewTicker(compareInterval)
	defer interval.Stop()
	for {
		select {
		case <-interval.C:
		case <-ctx.Done():
			return
		}
		if s.cluster.Load() == nil {
			continue // nothing to compare with
		}
		if s.compareOnce(ctx) {
			return
		}
	}
}

// compareOnce reports whether all servers are known.
func (s *servers) compareOnce(ctx context.Context) bool {
	all := true
	for _, c := range s.all {
		if c.isKnown.Load() {
			continue
		}
		conn, err := s.join(ctx, c, s.limit)
		if err == nil {
			_ = conn.Close() // the server has answered
			continue
		}
		all = false
		if !errors.As(err, &misfit{}) || s.conflict.Load() != nil {
			continue
		}
		err = fmt.Errorf("the servers of the dsns can't be used together: %s: %w", c.config().Addr, err)
		s.conflict.Store(&err)
		s.all[s.used.Load()].generation.Add(1)
		s.moved()
		s.log.current().Error("no server is used, since they don't belong to one cluster", zap.Error(err))
	}
	if all {
		s.conflict.Store(nil)
	}
	return all
}

// failOver looks for a server that can be used, after a statement had no answer from
// one, unless another goroutine has found one.
func (p *pool) failOver(ctx context.Context, from *connector) {
	select {
	case p.servers.turning <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-p.servers.turning }()
	if p.servers.current() == from {
		_ = p.connect(ctx, ping) // the next statement has the error
	}
}

// Interface guards
var _ driver.Connector = (*servers)(nil)
