package userstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Replicas answer lookups for which a slightly old row is good enough. Each is a
// read-only store with its own connections, breaker and batches; so a replica's
// answer is one that the primary's table would have given some time ago. A gateway stays
// with one replica while that answers: its lookups share queries, and a user's row doesn't
// go back and forth between replicas that are behind by different times. Which replica is
// the first is left to chance, so that gateways spread over the replicas.

// replicas are the replicas of a store.
type replicas struct {
	stores []*MySQL
	used   atomic.Int32

	mu     sync.Mutex
	warned time.Time // when the last warning was logged
}

// stayWith has the next lookups go to another replica, if the first didn't answer.
func (r *replicas) stayWith(first int32, at int) {
	if int(first) != at {
		r.used.CompareAndSwap(first, int32(at)) //nolint:gosec // there are few
	}
}

// replicaWarnings is the least time between two warnings.
const replicaWarnings = time.Minute

// replicaConfigs are the configurations of the replicas' stores.
func (c *Config) replicaConfigs() []Config {
	var configs []Config
	add := func(dsn, file string) {
		replica := *c
		replica.DSN, replica.DSNFile = dsn, file
		replica.ReadAfterWrite = false // they are behind anyway
		replica.MoreDSNs, replica.MoreDSNFiles = nil, nil
		replica.Replicas, replica.ReplicaFiles = nil, nil
		// A replica that doesn't answer leaves half the time for the next server.
		replica.QueryTimeout = caddy.Duration(c.TimeLimit() / 2)
		configs = append(configs, replica)
	}
	for _, dsn := range c.Replicas {
		add(dsn, "")
	}
	for _, file := range c.ReplicaFiles {
		add("", file)
	}
	return configs
}

// openReplicas opens the stores of the replicas. A replica that doesn't answer is
// checked later; an unsuitable table is an error.
func (s *MySQL) openReplicas(ctx context.Context) error {
	for i, cfg := range s.cfg.replicaConfigs() {
		s.replicas.used.Store(rand.Int32N(int32(i + 1))) //nolint:gosec // there are few, and none is a secret
		replica, err := s.newReplica(cfg)
		if err != nil {
			return setting.Errorf(s.replicaOption(i), "replica %d: %w", i+1, err)
		}
		s.replicas.stores = append(s.replicas.stores, replica)
		p, err := replica.check(ctx)
		switch {
		case err == nil:
			replica.plan.Store(p)
		case errors.As(err, &misfit{}), ctx.Err() != nil:
			return setting.Errorf(s.replicaOption(i), "replica %d: %w", i+1, err)
		default:
			s.replicas.warn(s.logger, replica, err)
		}
	}
	return nil
}

// newReplica makes the store of a replica.
func (s *MySQL) newReplica(cfg Config) (*MySQL, error) {
	needs := s.needs
	needs.Vias, needs.SessionList, needs.AskSecondFactors = nil, "", false // which ask the primary
	replica, err := newMySQL(cfg, needs, s.logger)
	if err != nil {
		return nil, err
	}
	replica.isReplica = true
	replica.logger = zap.NewNop() // the primary's store logs for the replica
	return replica, nil
}

func (r *replicas) close() error {
	var err error
	for _, replica := range r.stores {
		err = errors.Join(err, replica.Close())
	}
	return err
}

// warn logs that a replica can't be used, at most once per replicaWarnings.
func (r *replicas) warn(logger *zap.Logger, replica *MySQL, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.warned) < replicaWarnings {
		return
	}
	r.warned = time.Now()
	logger.Warn("a replica can't be used: lookups go to another, or to the primary",
		zap.String("server", replica.pool.breaker.server()), zap.Error(err))
}

// LookupAny is Lookup, with a row that may be as old as a replica is behind.
// isFresh reports that the primary has answered: there are no replicas, none has
// answered, or one has no such user, which only the primary can confirm. Replicas
// have half the time of a lookup.
func (s *MySQL) LookupAny(ctx context.Context, pk token.PrimaryKey) (user *User, isFresh bool, err error) {
	if len(s.replicas.stores) == 0 {
		user, err = s.Lookup(ctx, pk)
		return user, true, err
	}
	began := time.Now()
	if s.observe != nil {
		defer func() { s.observe(time.Since(began)) }()
	}
	if user = s.lookupReplicas(ctx, pk, began); user != nil {
		return user, false, nil
	}
	user, err = s.lookupWithin(ctx, pk, began)
	return user, true, err
}

// lookupReplicas asks one replica after the other. It returns nil if none has
// the user.
func (s *MySQL) lookupReplicas(ctx context.Context, pk token.PrimaryKey, began time.Time) *User {
	stores, first := s.replicas.stores, s.replicas.used.Load()
	for i := range stores {
		at := (int(first) + i) % len(stores)
		replica := stores[at]
		if replica.pool.breaker.refusal() != nil {
			continue
		}
		user, err := replica.lookup(ctx, pk)
		switch {
		case err == nil:
			s.replicas.stayWith(first, at)
			return user
		case errors.Is(err, ErrNotFound), ctx.Err() != nil:
			return nil
		}
		s.replicas.warn(s.logger, replica, err)
		if time.Since(began) >= s.timeout/2 {
			return nil
		}
	}
	return nil
}

// lookupWithin asks the primary, in the time that is left of a lookup's.
func (s *MySQL) lookupWithin(ctx context.Context, pk token.PrimaryKey, began time.Time) (*User, error) {
	// Without a deadline of its own a lookup costs less, and the breaker learns
	// of it if it has no answer.
	if time.Since(began) < s.timeout/8 {
		return s.lookup(ctx, pk)
	}
	limited, cancel := context.WithDeadline(ctx, began.Add(s.timeout))
	defer cancel()
	user, err := s.lookup(limited, pk)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, unavailable("looking up a user", s.explain(err))
	}
	return user, err
}

// replicaOption is the option that names the replica with an index: those with a
// DSN come first.
func (s *MySQL) replicaOption(i int) string {
	if i < len(s.cfg.Replicas) {
		return "replica"
	}
	return "replica_file"
}
