package userstore

import (
	"context"
	"sync"
	"time"
)

// questions are those for the end of the log that requests ask together, where each
// request must know all changes from before it. One is under way at a time; requests
// that come meanwhile share the next.
type questions struct {
	mu      sync.Mutex
	next    *endOfLog
	isAsked bool // one is under way
}

// endOfLog is a question for it. reached is closed once the stream has come to the end of
// the log that the server has told.
type endOfLog struct{ reached chan struct{} }

// isCertain waits until all changes that were written before the call are reported.
// It returns false if that isn't known within the time of a query.
func (s *followedStream) isCertain(ctx context.Context) bool {
	s.questions.mu.Lock()
	if s.questions.next == nil {
		s.questions.next = &endOfLog{make(chan struct{})}
	}
	joined, isFirst := s.questions.next, !s.questions.isAsked
	if isFirst {
		s.questions.next, s.questions.isAsked = nil, true
	}
	s.questions.mu.Unlock()
	if isFirst {
		s.ask(joined) // without a goroutine of its own, which costs more than it spares
	}
	limit := time.NewTimer(s.log.timeout)
	defer limit.Stop()
	select {
	case <-joined.reached:
		return true
	case <-limit.C:
	case <-s.stream.Ended():
	case <-ctx.Done():
	}
	return false
}

// ask asks a question, and has the next be asked if requests wait for it.
func (s *followedStream) ask(q *endOfLog) {
	// The question is asked for other requests, too, whatever becomes of the first.
	at, err := s.askEnd(s.positions)
	if err != nil {
		s.cancel(err)
	} else {
		s.stream.WhenReached(at, func() { close(q.reached) })
	}
	s.questions.mu.Lock()
	defer s.questions.mu.Unlock()
	next := s.questions.next
	s.questions.next, s.questions.isAsked = nil, next != nil
	if next != nil {
		s.log.begin(func() { s.ask(next) })
	}
}
