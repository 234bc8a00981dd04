package userstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// retryInterval is the minimum time between a failed check of the table and
// the next one, so that requests don't overload a server that is starting.
const retryInterval = time.Second

// errClosed is the error of a store after Close.
var errClosed = errors.New("the store is closed")

// A lateCheck is the state of a store that was opened while MySQL was unavailable, so
// that the table hasn't been checked yet.
type lateCheck struct {
	ctx    context.Context // ends with the store
	cancel context.CancelFunc
	tries  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	try    *try   // the last one
	warned string // the last error that was logged
}

// try is one check of the table. Any number of requests may wait for it.
type try struct {
	done  chan struct{} // closed at the end; then the fields below are set
	plan  *plan
	err   error
	ended time.Time
}

func (l *lateCheck) init() { l.ctx, l.cancel = context.WithCancel(context.Background()) }

// begin runs a task that ends with the store, unless the store is closed.
func (l *lateCheck) begin(task func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.tries.Go(task)
	return true
}

// close ends a running check. It returns false if it was called before.
func (l *lateCheck) close() bool {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.tries.Wait()
	return first
}

// ready returns the plan, after checking the table if that hasn't been done
// yet.
func (s *MySQL) ready(ctx context.Context) (*plan, error) {
	if p := s.plan.Load(); p != nil {
		return p, nil
	}
	const doing = "checking the table, which was put off at the start"
	if err := s.mayRead(doing); err != nil {
		return nil, err
	}
	t, err := s.currentTry()
	if err != nil {
		return nil, unavailable(doing, err)
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	select {
	case <-t.done:
	case <-limited.Done():
		return nil, s.failed(ctx, doing, limited.Err())
	}
	if t.err == nil {
		return t.plan, nil
	}
	if errors.Is(t.err, ErrUnavailable) {
		return nil, t.err
	}
	return nil, unavailable(doing, t.err)
}

// currentTry returns the check that is running or ended a moment ago, or
// begins one. It is independent of the request that caused it, because other
// requests wait for it, too.
func (s *MySQL) currentTry() (*try, error) {
	l := &s.start
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if l.try != nil && !l.try.mayRepeat() {
		return l.try, nil
	}
	t := &try{done: make(chan struct{})}
	l.try = t
	l.tries.Go(func() { s.run(t) })
	return t, nil
}

// mayRepeat reports whether a check failed long enough ago.
func (t *try) mayRepeat() bool {
	select {
	case <-t.done:
		return t.err != nil && time.Since(t.ended) >= retryInterval
	default:
		return false
	}
}

func (s *MySQL) run(t *try) {
	before := s.pool.breaker.answers.Load()
	t.plan, t.err = s.check(s.start.ctx)
	s.heard(s.start.ctx, before, t.err)
	t.ended = time.Now()
	if t.err == nil {
		s.use(t.plan)
	}
	close(t.done)
	s.report(t.err)
}

// report logs how a late check ended, unless it ended like the last one.
func (s *MySQL) report(err error) {
	if err == nil {
		s.logger.Info("MySQL answers now, and the table is as it should be")
		return
	}
	if s.start.ctx.Err() != nil {
		return // the store is being closed
	}
	s.start.mu.Lock()
	again := s.start.warned == err.Error()
	s.start.warned = err.Error()
	s.start.mu.Unlock()
	if !again {
		s.logger.Error("MySQL still can't be used: tokens are refused with status 503", zap.Error(err))
	}
}
