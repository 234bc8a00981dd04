package userstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// concurrentQueries is how many lookups are on their way to MySQL at once, of
// one user or of a batch. More would make the batches smaller, and fewer would
// let slow queries hold up all others.
const concurrentQueries = 4

// batcher sends lookups that wait together as one query. As long as few are
// under way, a lookup is sent at once and alone. The others join the next query
// to be sent, never one that is on its way: what they get is from a query sent
// after they asked.
type batcher struct {
	mu      sync.Mutex
	running int    // queries on their way, at most concurrentQueries
	next    *batch // the lookups that wait for one of them to end, or nil
}

// batch is lookups that wait for the same query.
type batch struct {
	keys    []token.PrimaryKey
	waiting int           // lookups that haven't given up
	turn    chan struct{} // has an element when it is the batch's turn
	done    chan struct{} // closed when users and err are set
	users   map[token.PrimaryKey]*User
	err     error
}

func (b *batcher) lookup(ctx context.Context, s *MySQL, pk token.PrimaryKey) (*User, error) {
	joined := b.join(pk)
	if joined == nil {
		defer b.end()
		return s.lookupAlone(ctx, pk)
	}
	// Waiting and the answer together have the time of one query.
	wait, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for {
		select {
		case <-joined.turn:
			// Not with this lookup's context: the others don't end with it.
			go b.send(context.WithoutCancel(ctx), s, joined)
		case <-joined.done:
			return joined.result(ctx, s, pk)
		case <-wait.Done():
			b.giveUp(joined)
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("looking up a user: %w", err)
			}
			return nil, unavailable("looking up a user", fmt.Errorf("no answer of MySQL within %s", s.timeout))
		}
	}
}

// join returns the batch that a lookup is in now, or nil if it may go alone.
func (b *batcher) join(pk token.PrimaryKey) *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running < concurrentQueries {
		b.running++
		return nil
	}
	if b.next == nil {
		b.next = &batch{turn: make(chan struct{}, 1), done: make(chan struct{})}
	}
	b.next.keys = append(b.next.keys, pk)
	b.next.waiting++
	return b.next
}

// end is called when a query has ended: it is the next batch's turn. From here
// on lookups join another one.
func (b *batcher) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.running--
		return
	}
	b.next.turn <- struct{}{}
	b.next = nil
}

// giveUp takes a lookup out of a batch. Where it was the last, nobody is left
// to send it.
func (b *batcher) giveUp(left *batch) {
	b.mu.Lock()
	left.waiting--
	isLast := left.waiting == 0
	if isLast && b.next == left {
		b.next = nil
	}
	b.mu.Unlock()
	if !isLast {
		return
	}
	select {
	case <-left.turn:
		b.end()
	default: // not its turn yet, or somebody has sent it
	}
}

// send reads the users of a batch.
func (b *batcher) send(ctx context.Context, s *MySQL, sent *batch) {
	defer b.end()
	defer close(sent.done)
	sent.users, sent.err = s.LookupMany(ctx, sent.keys)
}

// result is what a batch has for one of its keys.
func (b *batch) result(ctx context.Context, s *MySQL, pk token.PrimaryKey) (*User, error) {
	switch {
	case errors.Is(b.err, ErrAmbiguous) && len(b.keys) > 1:
		return s.lookupAlone(ctx, pk) // that is one key's error, and it is told here whose
	case b.err != nil:
		return nil, b.err
	}
	user, ok := b.users[pk]
	if !ok {
		return nil, ErrNotFound
	}
	return user, nil
}
