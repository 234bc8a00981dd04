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
type batcher[R any] struct {
	mu      sync.Mutex
	current *sending  // the query that the next one waits for, or nil
	slow    int       // other queries under way, always fewer than may be
	next    *batch[R] // the waiting lookups, or nil; always nil without a current query
}

// sending is a query under way.
type sending struct{ _ byte } // not of size 0, so that each has its own address

// batch has lookups that wait for the same query.
type batch[R any] struct {
	keys    []token.PrimaryKey
	waiting int // lookups that haven't given up

	patience *time.Timer // ends the wait for the query before it
	overdue  bool        // that wait has ended
	deadline *time.Timer // ends the batch; waiting and the answer may take as long as one query

	ended bool
	done  chan struct{} // closed when it has ended, and found and err are set
	found map[token.PrimaryKey]R
	err   error
}

func (b *batcher[R]) lookup(ctx context.Context, r *reading[R], key token.PrimaryKey) (found R, err error) {
	joined, alone := b.join(ctx, r, key)
	if alone != nil {
		defer b.end(ctx, r, alone)
		r.s.counts.add(1)
		totals.add(1)
		return r.alone(ctx, key)
	}
	select {
	case <-joined.done:
		return joined.result(ctx, r, key)
	case <-ctx.Done():
		b.giveUp(joined)
		return found, fmt.Errorf("looking up a user: %w", ctx.Err())
	}
}

// join returns the batch that a lookup has joined, or the query that it may
// send alone.
func (b *batcher[R]) join(ctx context.Context, r *reading[R], key token.PrimaryKey) (*batch[R], *sending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		b.current = new(sending)
		return nil, b.current
	}
	if b.next == nil {
		joined := &batch[R]{done: make(chan struct{})}
		joined.patience = time.AfterFunc(patience, func() { b.waited(ctx, r, joined) })
		joined.deadline = time.AfterFunc(r.s.timeout, func() { b.expire(r, joined) })
		b.next = joined
	}
	b.next.keys = append(b.next.keys, key)
	b.next.waiting++
	return b.next, nil
}

// end removes a query that has ended, and sends the next batch if it is its
// turn.
func (b *batcher[R]) end(ctx context.Context, r *reading[R], query *sending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(ctx, r, query)
}

// endLocked is end with the lock held.
func (b *batcher[R]) endLocked(ctx context.Context, r *reading[R], query *sending) {
	if b.current == query {
		b.current = nil
	} else {
		b.slow--
	}
	b.advance(ctx, r)
}

// advance sends the next batch if it is its turn. Later lookups join another
// batch. The caller holds the lock.
func (b *batcher[R]) advance(ctx context.Context, r *reading[R]) {
	if b.next == nil {
		return
	}
	if b.current != nil {
		if !b.next.overdue || b.slow+1 >= r.s.concurrency {
			return
		}
		b.slow++
	}
	b.next.patience.Stop()
	b.current = new(sending)
	// Not the context of one lookup: the others must continue if it ends.
	go b.send(context.WithoutCancel(ctx), r, b.next, b.current)
	b.next = nil
}

// waited is called when a batch has waited long enough for the query before it.
func (b *batcher[R]) waited(ctx context.Context, r *reading[R], waiting *batch[R]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting.overdue = true
	b.advance(ctx, r)
}

// expire is called at a batch's deadline, whether it waits or was sent.
func (b *batcher[R]) expire(r *reading[R], expired *batch[R]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == expired {
		b.next = nil
	}
	expired.end(nil, unavailable("looking up a user", r.s.explain(context.DeadlineExceeded)))
}

// giveUp removes a lookup from a batch. If it was the last one, the batch is
// not sent.
func (b *batcher[R]) giveUp(left *batch[R]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left.waiting--
	if left.waiting == 0 && b.next == left {
		left.deadline.Stop()
		b.next = nil
	}
}

// send reads the users of a batch.
func (b *batcher[R]) send(ctx context.Context, r *reading[R], sent *batch[R], query *sending) {
	r.s.counts.add(len(sent.keys))
	totals.add(len(sent.keys))
	found, err := r.many(ctx, sent.keys)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(ctx, r, query)
	sent.end(found, err)
}

// end sets the result of a batch, unless it is already set. The caller holds
// the batcher's lock.
func (b *batch[R]) end(found map[token.PrimaryKey]R, err error) {
	if b.ended {
		return
	}
	b.deadline.Stop()
	b.found, b.err, b.ended = found, err, true
	close(b.done)
}

// result returns the result for one of the batch's keys.
func (b *batch[R]) result(ctx context.Context, r *reading[R], key token.PrimaryKey) (found R, err error) {
	switch {
	case errors.Is(b.err, ErrAmbiguous) && len(b.keys) > 1:
		return r.alone(ctx, key) // an error of one key, which is returned for this key only
	case b.err != nil:
		return found, b.err
	}
	found, ok := b.found[key]
	if !ok {
		return found, ErrNotFound
	}
	return found, nil
}
