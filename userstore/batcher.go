package userstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// largestConcurrency is the maximum number of concurrent queries for lookups,
// each of one user or of a batch. Usually one query is under way: the fewer
// queries, the more users each reads, and the less each user costs. The others
// are for a server that is slow or far away.
const largestConcurrency = 8

// patience is how long a batch waits for the query before it. A near server
// answers sooner, so that its queries follow each other; a server that is far
// away or slow gets a query each time this has passed.
const patience = 2 * time.Millisecond

// batcher sends lookups that wait together as one query. If no query is under
// way, a lookup is sent at once and alone. The others join the next query to
// be sent, never one that is under way: each lookup is answered by a query
// that was sent after the lookup began.
type batcher struct {
	mu      sync.Mutex
	current *sending // the query that the next one waits for, or nil
	slow    int      // other queries under way
	next    *batch   // the waiting lookups, or nil
}

// sending is a query under way.
type sending struct{ _ byte } // not of size 0, so that each has its own address

// batch is lookups that wait for the same query.
type batch struct {
	keys     []token.PrimaryKey
	waiting  int         // lookups that haven't given up
	timer    *time.Timer // fires after patience, and then at the batch's deadline
	deadline time.Time   // for the answer
	overdue  bool        // it no longer waits for the query before it

	ended bool
	done  chan struct{} // closed when it has ended, and users and err are set
	users map[token.PrimaryKey]*User
	err   error
}

func (b *batcher) lookup(ctx context.Context, s *MySQL, pk token.PrimaryKey) (*User, error) {
	joined, alone := b.join(ctx, s, pk)
	if alone != nil {
		defer b.end(ctx, s, alone)
		s.counts.add(1)
		totals.add(1)
		return s.lookupAlone(ctx, pk)
	}
	select {
	case <-joined.done:
		return joined.result(ctx, s, pk)
	case <-ctx.Done():
		b.giveUp(joined)
		return nil, fmt.Errorf("looking up a user: %w", ctx.Err())
	}
}

// join returns the batch that a lookup has joined, or the query that it may
// send alone.
func (b *batcher) join(ctx context.Context, s *MySQL, pk token.PrimaryKey) (*batch, *sending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil && b.current == nil && b.slow < s.concurrency {
		b.current = new(sending)
		return nil, b.current
	}
	if b.next == nil {
		joined := &batch{done: make(chan struct{}), deadline: time.Now().Add(s.timeout)}
		// Not this lookup's context: the others must continue if it ends.
		ctx = context.WithoutCancel(ctx)
		joined.timer = time.AfterFunc(patience, func() { b.waited(ctx, s, joined) })
		b.next = joined
	}
	b.next.keys = append(b.next.keys, pk)
	b.next.waiting++
	return b.next, nil
}

// end removes a query that has ended, and sends the next batch if it is its
// turn.
func (b *batcher) end(ctx context.Context, s *MySQL, query *sending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(ctx, s, query)
}

// endLocked is end with the lock held.
func (b *batcher) endLocked(ctx context.Context, s *MySQL, query *sending) {
	if b.current == query {
		b.current = nil
	} else {
		b.slow--
	}
	b.advance(ctx, s)
}

// advance sends the next batch if it is its turn. Later lookups join another
// batch. The caller holds the lock.
func (b *batcher) advance(ctx context.Context, s *MySQL) {
	if b.next == nil {
		return
	}
	if b.current != nil && b.next.overdue && b.slow+1 < s.concurrency {
		b.slow++
		b.current = nil
	}
	if b.current != nil || b.slow >= s.concurrency {
		return
	}
	b.next.timer.Reset(time.Until(b.next.deadline))
	b.current = new(sending)
	go b.send(context.WithoutCancel(ctx), s, b.next, b.current)
	b.next = nil
}

// waited is called when the batch's timer fires: at first, the batch stops
// waiting for the query before it; the second time, its deadline is over.
// Waiting and the answer together may take as long as one query.
func (b *batcher) waited(ctx context.Context, s *MySQL, waiting *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := time.Until(waiting.deadline)
	switch {
	case left > 0 && b.next == waiting:
		waiting.overdue = true
		waiting.timer.Reset(left)
		b.advance(ctx, s)
	case left <= 0:
		if b.next == waiting {
			b.next = nil
		}
		waiting.end(nil, unavailable("looking up a user", s.explain(context.DeadlineExceeded)))
	}
}

// giveUp removes a lookup from a batch. If it was the last one, the batch is
// not sent.
func (b *batcher) giveUp(left *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left.waiting--
	if left.waiting == 0 && b.next == left {
		left.timer.Stop()
		b.next = nil
	}
}

// send reads the users of a batch.
func (b *batcher) send(ctx context.Context, s *MySQL, sent *batch, query *sending) {
	s.counts.add(len(sent.keys))
	totals.add(len(sent.keys))
	users, err := s.LookupMany(ctx, sent.keys)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(ctx, s, query)
	sent.end(users, err)
}

// end sets the result of a batch, unless it is already set. The caller holds
// the batcher's lock.
func (b *batch) end(users map[token.PrimaryKey]*User, err error) {
	if b.ended {
		return
	}
	b.timer.Stop()
	b.users, b.err, b.ended = users, err, true
	close(b.done)
}

// result returns the result for one of the batch's keys.
func (b *batch) result(ctx context.Context, s *MySQL, pk token.PrimaryKey) (*User, error) {
	switch {
	case errors.Is(b.err, ErrAmbiguous) && len(b.keys) > 1:
		return s.lookupAlone(ctx, pk) // an error of one key, which is returned for this key only
	case b.err != nil:
		return nil, b.err
	}
	user, ok := b.users[pk]
	if !ok {
		return nil, ErrNotFound
	}
	return user, nil
}
