package userstore

import "context"

// PoolReferences tells how many stores use the pool of a configuration.
func PoolReferences(cfg Config) int {
	from, _ := cfg.sources()
	references, _ := pools.References(keyOf(from, cfg.limits()))
	return references
}

// RetryInterval is for tests that wait for a retry.
const RetryInterval = retryInterval

// HasPassed lets tests check ends of rows.
var HasPassed = hasPassed

// Waiting tells how many lookups by a way to users wait for their query.
func Waiting(s *MySQL, via *Via) int {
	switch v := s.plan.Load().vias[via].(type) {
	case *textReader:
		return v.batcher.waitingLookups()
	case byColumn:
		return v.reader.batcher.waitingLookups()
	}
	return 0
}

func (b *batcher[R]) waitingLookups() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		return 0
	}
	return b.next.waiting
}

// SessionStatus returns a status variable of a connection of the store. With one
// connection, that counts what the store has sent.
func SessionStatus(ctx context.Context, s *MySQL, variable string) (n int, err error) {
	var name string
	err = s.pool.db.QueryRowContext(ctx, "SHOW SESSION STATUS LIKE '"+variable+"'").Scan(&name, &n)
	return n, err
}

// SignAge is how long an answer of MySQL counts for Serves.
const SignAge = signAge
