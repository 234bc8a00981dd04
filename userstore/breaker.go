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

// How often a server that doesn't answer is pinged, and how long a ping waits:
// after its return, the server is in use again within this time.
const (
	knockInterval = 250 * time.Millisecond
	longestKnock  = 2 * time.Second
)

// question is what a server is asked to find out whether it serves.
type question bool

// The questions. A ping has an answer even if a table is locked, but also from a server
// that can't serve.
const (
	ping  question = false
	trial question = true
)

// questionAfter returns the question to ask after an error.
func questionAfter(err error) question { return question(cannotServe(err)) }

// breaker keeps requests from waiting for a server that doesn't answer. It
// opens when a query got no answer, no other query got one in the meantime,
// and a ping got none either: a query that takes too long, as behind a lock,
// doesn't open it. While it is open, requests fail at once, and the server is
// pinged repeatedly, whether there are requests or not.
//
// A breaker belongs to a pool of connections, and so to all stores that share
// it.
type breaker struct {
	server func() string // its address
	logger func() *zap.Logger

	// connect asks the server with a new connection, and idle with an unused
	// connection of the pool. idle returns false if there is none.
	connect func(context.Context, question) error
	idle    func(context.Context, question) (asked bool, err error)
	busy    func() bool // whether connections of the pool are in use

	renew func()        // replaces all connections
	limit time.Duration // of a query

	answers atomic.Uint64          // that came
	open    atomic.Pointer[outage] // nil while closed

	asking  atomic.Bool // a goroutine pings the server, or waits for its return
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
	err   error // for requests in the meantime
}

// init prepares a breaker with its other fields set.
func (b *breaker) init() { b.ctx, b.cancel = context.WithCancel(context.Background()) }

// close ends the goroutine of the breaker.
func (b *breaker) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.tasks.Wait()
}

// refusal returns the error for requests while the breaker is open, and nil
// while it is closed.
func (b *breaker) refusal() error {
	if o := b.open.Load(); o != nil {
		return o.err
	}
	return nil
}

// heard records how a query ended. before is the number of answers when it
// began.
func (b *breaker) heard(before uint64, err error) {
	if !isSilence(err) {
		b.answers.Add(1)
		return
	}
	if b.answers.Load() == before && b.open.Load() == nil {
		b.suspect(err)
	}
}

// isSilence reports whether an error means that the server gave no answer, or that it
// can't serve now. The error of a client that went away doesn't.
func isSilence(err error) bool {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, errClosed) ||
		errors.As(err, &misfit{}) || errors.As(err, &errStalled{}) {
		return false
	}
	if errors.As(err, new(*mysql.MySQLError)) {
		return cannotServe(err)
	}
	return true
}

// suspect begins to ping the server, unless that is under way or was a moment
// ago.
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
		if b.isSilent(questionAfter(err)) {
			b.waitForReturn(err)
		}
		b.checked.Store(time.Now().UnixNano())
	})
}

// isSilent asks the server, and reports whether it answered neither this nor
// another query in the meantime.
func (b *breaker) isSilent(asking question) bool {
	before := b.answers.Load()
	ctx, cancel := context.WithTimeout(b.ctx, b.knockLimit())
	defer cancel()
	asked, err := b.idle(ctx, asking)
	if !asked {
		err = b.connect(ctx, asking)
	}
	// If no connection can be made, as when the name can't be resolved,
	// existing connections may still answer.
	for !asked && isSilence(err) && b.answers.Load() == before && b.busy() {
		select {
		case <-time.After(busyInterval):
		case <-ctx.Done():
			return b.answers.Load() == before && b.ctx.Err() == nil
		}
		if tried, pinged := b.idle(ctx, asking); tried {
			asked, err = true, pinged
		}
	}
	return isSilence(err) && b.answers.Load() == before && b.ctx.Err() == nil
}

// busyInterval is how often it is checked whether a connection has become
// unused.
const busyInterval = 10 * time.Millisecond

func (b *breaker) knockLimit() time.Duration { return min(b.limit, longestKnock) }

// waitForReturn opens the breaker, and closes it when the server answers.
func (b *breaker) waitForReturn(cause error) {
	began, asking := time.Now(), questionAfter(cause)
	if !errors.Is(cause, ErrUnavailable) {
		cause = explain(cause, b.limit)
	}
	b.open.Store(&outage{began, fmt.Errorf("MySQL doesn't answer, and is asked again until it does: %w", cause)})
	// The existing connections may be useless even after the server's return:
	// they may lead to its former address.
	b.renew()
	b.logger().Error("MySQL doesn't answer: requests get 503 at once until it does",
		zap.String("server", b.server()), zap.Error(cause))

	b.knock(asking)
	if b.ctx.Err() != nil {
		return
	}
	b.open.Store(nil)
	b.logger().Info("MySQL answers again", zap.String("server", b.server()), zap.Duration("after", time.Since(began)))
}

// knock returns when the server has answered. A slow server may need as long
// as a query may take, but a ping that waits so long would notice a server's
// return late. So if the limits differ, two goroutines ping.
func (b *breaker) knock(asking question) {
	ctx, answered := context.WithCancel(b.ctx)
	defer answered()
	var patient sync.WaitGroup
	if b.limit > longestKnock {
		patient.Go(func() {
			b.knockFor(ctx, asking, b.limit)
			answered()
		})
	}
	b.knockFor(ctx, asking, b.knockLimit())
	answered()
	patient.Wait()
}

// knockFor asks the server until it has answered or ctx ends, and waits for
// each answer up to a limit.
func (b *breaker) knockFor(ctx context.Context, asking question, limit time.Duration) {
	pause := time.NewTicker(knockInterval)
	defer pause.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, limit)
		err := b.connect(limited, asking)
		cancel()
		if ctx.Err() != nil || !isSilence(err) {
			return
		}
		// The ticker may have fired during the ping.
		pause.Reset(knockInterval)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}
