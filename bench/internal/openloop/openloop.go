// Package openloop sends requests at a fixed rate, each when it is its time,
// whether those before it are answered or not. An answer's latency counts from
// that time on: a gateway that stalls can't keep requests from being sent that
// would have waited, and neither can this program.
//
// It costs a fraction of the CPU that an HTTP client takes. On a small machine
// that client would take it from the gateway, and measure itself.
package openloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Load is what to send.
type Load struct {
	Address  string   // host and port
	Requests [][]byte // sent in turn, as they are
	Rate     int      // requests per second
	Duration time.Duration
	// Settling is the time at the beginning whose requests aren't counted:
	// connections are made then.
	Settling time.Duration
}

// Result is what came of it.
type Result struct {
	Latencies []time.Duration // ascending
	// Behind is by how much requests were sent too late, ascending. It is part
	// of the latencies, and no fault of the gateway's.
	Behind []time.Duration
}

const (
	// maxConnections are open at once. Requests beyond wait, and their latency
	// counts all the same.
	maxConnections = 2048
	// patience is how long the last answers may take.
	patience = 10 * time.Second
)

// ErrUnanswered is wrapped by the error of Run where an answer was missing or
// wrong.
var ErrUnanswered = errors.New("a request was not answered as it should be")

// Run sends the load.
func Run(ctx context.Context, load Load) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	count := int(load.Duration.Seconds() * float64(load.Rate))
	r := &run{
		load: load, ctx: ctx, cancel: cancel, open: count, answered: make(chan struct{}),
		start:     time.Now().Add(10 * time.Millisecond),
		latencies: make([]time.Duration, 0, count),
	}
	defer r.close()
	behind := r.sendAll(count)
	select {
	case <-r.answered:
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	case <-time.After(patience):
		return Result{}, fmt.Errorf("%w within %s", ErrUnanswered, patience)
	}
	slices.Sort(r.latencies)
	slices.Sort(behind)
	return Result{Latencies: r.latencies, Behind: behind}, nil
}

// run is a load that is being sent.
type run struct {
	load   Load
	ctx    context.Context //nolint:containedctx // it is one call's
	cancel context.CancelCauseFunc
	start  time.Time

	mu        sync.Mutex
	idle      []*connection // the one that was used last is at the end
	all       []*connection
	waiting   []job // for a connection
	latencies []time.Duration
	open      int           // requests without an answer, those to come included
	answered  chan struct{} // closed when there are none
}

// job is a request and its time, counted from the start.
type job struct {
	request []byte
	due     time.Duration
}

// sendAll sends all requests, and returns how late it was with each.
func (r *run) sendAll(count int) (behind []time.Duration) {
	// A thread that sleeps by itself is more punctual than the runtime, whose
	// clock ticks in milliseconds when there is nothing else to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	behind = make([]time.Duration, 0, count)
	for i := range count {
		due := time.Duration(float64(i) / float64(r.load.Rate) * float64(time.Second))
		for early := due - time.Since(r.start); early > 0; early = due - time.Since(r.start) {
			sleep(early)
		}
		if r.ctx.Err() != nil {
			return behind
		}
		if due >= r.load.Settling {
			behind = append(behind, max(time.Since(r.start)-due, 0))
		}
		r.dispatch(job{r.load.Requests[i%len(r.load.Requests)], due})
	}
	return behind
}

// dispatch gives a request to a connection that is idle, or to a new one.
func (r *run) dispatch(j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := len(r.idle); {
	case n > 0:
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.send(c, j)
	case len(r.all) < maxConnections:
		c := &connection{run: r}
		r.all = append(r.all, c)
		go c.serve(j)
	default:
		r.waiting = append(r.waiting, j)
	}
}

// send writes a request. It is small enough for the socket to take it at once.
func (r *run) send(c *connection, j job) {
	c.due.Store(int64(j.due))
	if _, err := c.conn.Write(j.request); err != nil {
		r.fail(fmt.Errorf("%w: sending it: %w", ErrUnanswered, err))
	}
}

// done notes an answer, and gives the connection what waits for one.
func (r *run) done(c *connection) {
	due := time.Duration(c.due.Load())
	latency := time.Since(r.start) - due
	r.mu.Lock()
	defer r.mu.Unlock()
	if due >= r.load.Settling {
		r.latencies = append(r.latencies, latency)
	}
	if len(r.waiting) > 0 {
		next := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.send(c, next)
	} else {
		r.idle = append(r.idle, c)
	}
	r.open--
	if r.open == 0 {
		close(r.answered)
	}
}

// fail ends the run.
func (r *run) fail(err error) { r.cancel(err) }

// close ends all connections.
func (r *run) close() {
	r.cancel(nil) // what fails from here on is of no interest
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		if c.conn != nil {
			_ = c.conn.Close()
		}
	}
}

// connected keeps a new connection, unless the run has ended meanwhile.
func (r *run) connected(c *connection, conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		_ = conn.Close()
		return false
	}
	c.conn = conn
	return true
}
