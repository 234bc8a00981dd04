package userstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// MySQL reads users from a table or view of a MySQL or MariaDB server. It is
// safe for concurrent use.
type MySQL struct {
	cfg       Config
	needs     Needs
	databases []string // that files with DSNs named when it was opened
	name      tableName
	schema    string // the database that the table is in
	location  *time.Location
	timeout   time.Duration
	logger    *zap.Logger

	concurrency int // of lookups

	pool    *pool
	poolKey poolKey

	replicas  replicas
	isReplica bool // this store is a replica's, which only reads

	// plan is set once the table was checked, at the latest by the first lookup
	// that MySQL answers.
	plan    atomic.Pointer[plan]
	counts  counts
	observe func(time.Duration) // nil if the time isn't observed
	start   lateCheck
	signs   signs

	// What other stores with the same configuration have found: see known.
	identity   poolKey
	recalled   atomic.Pointer[Schema] // nil for nothing
	knowsTable bool                   // guarded by known.mu
}

// Open connects to MySQL and checks the table. Its errors say what to change.
// The caller closes the store.
func Open(ctx context.Context, cfg Config, needs Needs, logger *zap.Logger) (*MySQL, error) {
	cfg.HasRelations = cfg.HasRelations || needs.refer()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s, err := newMySQL(cfg, needs, logger)
	if err != nil {
		return nil, err
	}
	if err := s.openReplicas(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	plan, err := s.checkUnlessSilent(ctx)
	switch {
	case err == nil:
		s.use(plan)
		return s, nil
	case errors.As(err, &misfit{}), ctx.Err() != nil:
	case s.recall():
		s.logger.Warn("MySQL doesn't answer, and the table is taken to be as it was before the reload", zap.Error(err))
		s.start.warned = err.Error()
		return s, nil
	case cfg.StartWithout:
		s.logger.Warn("starting without MySQL: tokens are refused with status 503 until it answers", zap.Error(err))
		s.start.warned = err.Error()
		return s, nil
	}
	if closeErr := s.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	return nil, err
}

// checkUnlessSilent is check, which a server that is known not to answer would delay
// by the time limits of its queries.
func (s *MySQL) checkUnlessSilent(ctx context.Context) (*plan, error) {
	if err := s.available("checking the table"); err != nil {
		return nil, err
	}
	return s.check(ctx)
}

// newMySQL makes a store that has not asked MySQL for anything yet.
func newMySQL(cfg Config, needs Needs, logger *zap.Logger) (*MySQL, error) {
	if logger == nil {
		logger = zap.NewNop()
	}
	name, err := parseTable(cfg.table())
	if err != nil {
		return nil, err
	}
	location, err := cfg.location()
	if err != nil {
		return nil, err
	}
	from, err := cfg.sources()
	if err != nil {
		return nil, err
	}
	s := &MySQL{
		cfg:       cfg,
		needs:     needs,
		databases: cfg.databases(),
		name:      name,
		location:  location,
		timeout:   cfg.TimeLimit(),
		logger:    logger,

		concurrency: min(largestConcurrency, cfg.limits().maxOpen),
	}
	s.start.init()
	if s.identity, err = s.identify(); err != nil {
		return nil, err
	}
	if s.poolKey, s.pool, err = acquirePool(from, cfg.limits(), logger); err != nil {
		return nil, err
	}
	dsn := s.pool.servers.current().config()
	if err := cfg.checkDatabase(dsn); err != nil {
		return nil, errors.Join(err, releasePool(s.poolKey))
	}
	s.schema = orDefault(name.schema, dsn.DBName)
	return s, nil
}

// Close gives the store's connections back. Requests that are still running
// may get ErrUnavailable. Further calls do nothing.
func (s *MySQL) Close() error {
	if !s.start.close() {
		return nil
	}
	s.forget()
	err := s.replicas.close()
	if plan := s.plan.Load(); plan != nil {
		err = errors.Join(err, plan.close())
	}
	return errors.Join(err, releasePool(s.poolKey))
}

// Schema returns what the check of the table found, or the one before a reload while
// MySQL gave no answer. After a start without MySQL the error is ErrUnavailable until it
// answers.
func (s *MySQL) Schema(ctx context.Context) (Schema, error) {
	if recalled := s.recalled.Load(); recalled != nil && s.plan.Load() == nil {
		return *recalled, nil
	}
	p, err := s.ready(ctx)
	if err != nil {
		return Schema{}, err
	}
	return p.schema, nil
}

// Lookup reads the user with a primary key, from a query that is sent after the
// call. Without a user, the error is ErrNotFound; if MySQL gave no answer,
// ErrUnavailable; if ctx ended before, the context's own, which may take as long
// as a query may.
func (s *MySQL) Lookup(ctx context.Context, pk token.PrimaryKey) (*User, error) {
	if s.observe == nil {
		return s.lookup(ctx, pk)
	}
	began := time.Now()
	user, err := s.lookup(ctx, pk)
	s.observe(time.Since(began))
	return user, err
}

// lookup is Lookup, which is observed.
func (s *MySQL) lookup(ctx context.Context, pk token.PrimaryKey) (*User, error) {
	p, err := s.readable(ctx, "looking up a user")
	if err != nil {
		return nil, err
	}
	return p.primary.find(ctx, pk)
}

// readable returns the plan if the server may be asked.
func (s *MySQL) readable(ctx context.Context, doing string) (*plan, error) {
	if err := s.mayRead(doing); err != nil {
		return nil, err
	}
	return s.ready(ctx)
}

// lookupAlone is Lookup with a query of its own.
func (s *MySQL) lookupAlone(ctx context.Context, pk token.PrimaryKey) (*User, error) {
	p, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	return p.primary.alone(ctx, pk)
}

// LookupMany reads the users with any number of primary keys, with few queries. It
// answers for each key as Lookup does: the map has the user under the given key,
// and lacks keys for which Lookup returns ErrNotFound. Any other error of one key
// is the error of all. Each query has the time limit of a lookup.
func (s *MySQL) LookupMany(ctx context.Context, keys []token.PrimaryKey) (map[token.PrimaryKey]*User, error) {
	if len(keys) == 0 {
		return make(map[token.PrimaryKey]*User), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, s.failed(ctx, "looking up users", err)
	}
	p, err := s.readable(ctx, "looking up users")
	if err != nil {
		return nil, err
	}
	return p.primary.many(ctx, keys)
}

// limit gives a query its time limit. A context that can end costs two goroutines
// that watch it, and half as much again as the query. So if a connection is free,
// the connection's own limit ends the query: there is nothing to wait for but the
// server's answer. The time is the same, but a client that goes away doesn't end
// the query.
func (s *MySQL) limit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	// A caller's deadline is earlier than the store's.
	if _, limited := ctx.Deadline(); !limited && s.pool.db.Stats().Idle > 0 {
		return &deadlined{ctx, time.Now().Add(limit)}, func() {}
	}
	// A client that goes away doesn't end a query here either: otherwise it could
	// have the server execute any number of queries without a reader.
	return context.WithDeadline(context.WithoutCancel(ctx), deadlineOf(ctx, limit))
}

// errNotOneTime is a mistake in the calling code, not in the configuration.
var errNotOneTime = errors.New("the store was opened without Needs.LastLogin, or the user isn't from it")

// Consume uses up the one-time token that u was read for, by writing the time
// into last_login. Of all requests that read the same row, over any number of
// gateways, one gets no error, and the others ErrConsumed. After ErrUnavailable
// the token may or may not be used up; it must not be accepted.
//
// The primary's row must equal u: a row from a replica that is behind consumes
// nothing.
func (s *MySQL) Consume(ctx context.Context, u *User, now time.Time) error {
	const doing = "consuming a one-time token"
	p := s.plan.Load()
	if u.plan == nil || p == nil || !p.consume.isReady() {
		return unavailable(doing, errNotOneTime)
	}
	next, err := nextLastLogin(now, u.LastLogin, s.location, p.schema.LastLoginPrecision)
	if err != nil {
		return unavailable(doing, err)
	}
	args, ok := s.consumeArgs(p, u, next)
	if !ok {
		return unavailable(doing, p.key.check(u.PrimaryKey.Kind()))
	}
	var changed int64
	err = s.write(ctx, doing, func(ctx context.Context) (err error) {
		changed, err = p.consume.exec(ctx, nil, args)
		return err
	})
	switch {
	case err != nil:
		return err
	case changed == 0:
		return ErrConsumed
	case changed == 1:
		return nil
	default:
		return unavailable(doing, fmt.Errorf("%w: %d rows changed", ErrAmbiguous, changed))
	}
}

// consumeArgs are the parameters of the plan's UPDATE, in the order in which
// the builder has its conditions.
func (s *MySQL) consumeArgs(p *plan, u *User, next string) (args []any, ok bool) {
	key, ok := p.keyParams(u)
	args = append(append(make([]any, 0, 6), next), key...)
	if p.password >= 0 {
		args = append(args, bytesParam(u.Password))
	}
	args = append(args, u.lastLogin.param())
	if s.needs.Email {
		args = append(args, bytesParam(u.Email))
	}
	return args, ok
}

// bytesParam is a value to be compared byte for byte; nil is NULL.
func bytesParam(text *string) any {
	if text == nil {
		return nil
	}
	return []byte(*text)
}
