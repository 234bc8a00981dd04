package userstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// signAge is how old the newest answer of MySQL may be to say that lookups work. Past
// that, Serves has the server asked once more.
const signAge = time.Second

// signs are the newest signs of whether lookups of a store work.
type signs struct {
	answered atomic.Int64 // when a lookup of a request last had an answer

	mu    sync.Mutex
	asked *sign // the last query that was sent for nothing but this, or nil
}

// sign is a query that finds out whether lookups work. Any number of callers may wait
// for it.
type sign struct {
	done  chan struct{} // closed at the end; then the fields below are set
	err   error
	ended time.Time
}

// note records how a lookup ended.
func (s *signs) note(err error) {
	if err == nil || errors.Is(err, ErrNotFound) {
		s.answered.Store(time.Now().UnixNano())
	}
}

// isAnswered reports whether a lookup had an answer a moment ago.
func (s *signs) isAnswered() bool {
	return time.Since(time.Unix(0, s.answered.Load())) < signAge
}

// Serves returns nil if lookups work: the table is known, and the primary server or a
// replica answers. Otherwise the error is ErrUnavailable, or that of ctx.
//
// What requests' own lookups have shown counts for a second. Without such lookups, all
// callers of a second share one query, which reads no row. None is sent while the
// server is known not to answer.
func (s *MySQL) Serves(ctx context.Context) error {
	if _, err := s.Schema(ctx); err != nil {
		return err
	}
	err := s.servesItself(ctx)
	for _, replica := range s.replicas.stores {
		if err == nil || ctx.Err() != nil {
			return err
		}
		if replica.servesItself(ctx) == nil {
			return nil
		}
	}
	return err
}

// servesItself is Serves without the replicas.
func (s *MySQL) servesItself(ctx context.Context) error {
	const doing = "finding out whether lookups work"
	p, err := s.readable(ctx, doing)
	if err != nil || s.signs.isAnswered() {
		return err
	}
	asked := s.ask(p)
	select {
	case <-asked.done:
		return asked.err
	case <-ctx.Done():
		return s.failed(ctx, doing, ctx.Err())
	}
}

// ask returns the query that is under way or ended a moment ago, or sends one. It is
// independent of the caller, because other callers wait for it, too.
func (s *MySQL) ask(p *plan) *sign {
	s.signs.mu.Lock()
	defer s.signs.mu.Unlock()
	if last := s.signs.asked; last != nil && !last.isOld() {
		return last
	}
	asked := &sign{done: make(chan struct{})}
	if !s.start.begin(func() { s.answer(p, asked) }) {
		asked.err = unavailable("finding out whether lookups work", errClosed)
		close(asked.done)
		return asked
	}
	s.signs.asked = asked
	return asked
}

// isOld reports whether a query ended too long ago to say anything.
func (s *sign) isOld() bool {
	select {
	case <-s.done:
		return time.Since(s.ended) >= signAge
	default:
		return false
	}
}

// answer sends a query, and tells those who wait how it ended.
func (s *MySQL) answer(p *plan, asked *sign) {
	defer close(asked.done)
	ctx, before := s.start.ctx, s.pool.breaker.answers.Load()
	_, err := asking(ctx, s, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.tryLookup(ctx, p)
	})
	s.heard(ctx, before, err)
	if err != nil {
		asked.err = s.failed(ctx, "finding out whether lookups work", err)
	}
	asked.ended = time.Now()
}
