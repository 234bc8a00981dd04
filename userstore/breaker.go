package userstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// How often a server that doesn't answer is asked again, and how long such a
// question waits: so long after its return, at most, the server is in use again.
const (
	knockInterval = 250 * time.Millisecond
	longestKnock  = 2 * time.Second
)

// breaker keeps requests from waiting for a server that doesn't answer. It
// opens when a query got no answer, and none came to any other in the
// meantime, nor to a question that is asked to make sure: a query that takes
// too long, as behind a lock, is no reason to do without the server. While it
// is open, requests are told so at once, and the server is asked again and
// again, whether there are requests or not.
//
// A breaker belongs to a pool of connections, and so to all stores that share
// it.
type breaker struct {
	server func() string // its address
	logger func() *zap.Logger

	// connect asks the server by a new connection, and idle by one of the pool
	// that has no work. There may be none, which idle says by false.
	connect func(context.Context) error
	idle    func(context.Context) (asked bool, err error)
	busy    func() bool // whether connections of the pool have work

	renew func()        // has connections replaced
	limit time.Duration // of a query

	answers atomic.Uint64          // that came
	open    atomic.Pointer[outage] // nil while closed

	asking  atomic.Bool // somebody makes sure, or waits for the server's return
	checked atomic.Int64

	ctx    context.Context // ends with the pool
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup
}

// outage is the time during which a server doesn't answer.
type outage struct {
	since time.Time
	err   error // for those who ask meanwhile
}

// init readies a breaker whose other fields are set.
func (b *breaker) init() { b.ctx, b.cancel = context.WithCancel(context.Background()) }

// close ends what the breaker does.
func (b *breaker) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.tasks.Wait()
}

// refusal is what requests get while the breaker is open, and nil while it is
// closed.
func (b *breaker) refusal() error {
	if o := b.open.Load(); o != nil {
		return o.err
	}
	return nil
}

// heard takes note of how a query ended that began when that many answers had
// come.
func (b *breaker) heard(before uint64, err error) {
	if !isSilence(err) {
		b.answers.Add(1)
		return
	}
	if b.answers.Load() == before && b.open.Load() == nil {
		b.suspect(err)
	}
}

// erServerShutdown is what a server says that is about to be silent.
const erServerShutdown = 1053

// isSilence reports whether an error says that the server gave no answer. A
// client that went away says nothing about it.
func isSilence(err error) bool {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, errClosed) ||
		errors.As(err, &misfit{}) || errors.As(err, &errStalled{}) {
		return false
	}
	if answer, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return answer.Number == erServerShutdown
	}
	return true
}

// suspect begins to make sure, unless that is under way or was a moment ago.
func (b *breaker) suspect(err error) {
	now := time.Now().UnixNano()
	if last := b.checked.Load(); last != 0 && now-last < int64(knockInterval) {
		return
	}
	if !b.asking.CompareAndSwap(false, true) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.tasks.Go(func() {
		defer b.asking.Store(false)
		if b.isSilent() {
			b.waitForReturn(err)
		}
		b.checked.Store(time.Now().UnixNano())
	})
}

// isSilent asks the server, and reports whether it doesn't answer, nor has
// answered anybody else in the meantime.
func (b *breaker) isSilent() bool {
	before := b.answers.Load()
	ctx, cancel := context.WithTimeout(b.ctx, b.knockLimit())
	defer cancel()
	asked, err := b.idle(ctx)
	if !asked {
		err = b.connect(ctx)
	}
	// That no connection can be made, as without the server's name, says nothing
	// about those that there are: they may be about to answer.
	for !asked && isSilence(err) && b.answers.Load() == before && b.busy() {
		select {
		case <-time.After(busyInterval):
		case <-ctx.Done():
			return b.answers.Load() == before && b.ctx.Err() == nil
		}
		if tried, pinged := b.idle(ctx); tried {
			asked, err = true, pinged
		}
	}
	return isSilence(err) && b.answers.Load() == before && b.ctx.Err() == nil
}

// busyInterval is how often it is looked whether a connection has ended its work.
const busyInterval = 10 * time.Millisecond

func (b *breaker) knockLimit() time.Duration { return min(b.limit, longestKnock) }

// waitForReturn opens the breaker, and closes it when the server answers.
func (b *breaker) waitForReturn(cause error) {
	began := time.Now()
	if !errors.Is(cause, ErrUnavailable) {
		cause = explain(cause, b.limit)
	}
	b.open.Store(&outage{began, fmt.Errorf("MySQL doesn't answer, and is asked again until it does: %w", cause)})
	// Nothing may come of the connections that there are, even when the server
	// is back: they may lead to where it was.
	b.renew()
	b.logger().Error("MySQL doesn't answer: requests get 503 at once until it does",
		zap.String("server", b.server()), zap.Error(cause))

	b.knock()
	if b.ctx.Err() != nil {
		return
	}
	b.open.Store(nil)
	b.logger().Info("MySQL answers again", zap.String("server", b.server()), zap.Duration("after", time.Since(began)))
}

// knock returns when the server has answered. A server that is slow may need as
// long as a query has; but who waits so long for one that was away misses its
// return. So where that is a difference, there are two who ask.
func (b *breaker) knock() {
	ctx, answered := context.WithCancel(b.ctx)
	defer answered()
	var patient sync.WaitGroup
	if b.limit > longestKnock {
		patient.Go(func() {
			b.knockFor(ctx, b.limit)
			answered()
		})
	}
	b.knockFor(ctx, b.knockLimit())
	answered()
	patient.Wait()
}

// knockFor asks the server until it has answered or ctx ends, and waits for
// each answer up to a limit.
func (b *breaker) knockFor(ctx context.Context, limit time.Duration) {
	pause := time.NewTicker(knockInterval)
	defer pause.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, limit)
		err := b.connect(limited)
		cancel()
		if ctx.Err() != nil || !isSilence(err) {
			return
		}
		// The ticker may have ticked while the question waited.
		pause.Reset(knockInterval)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}
