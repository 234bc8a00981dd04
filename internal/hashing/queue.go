package hashing

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A Client identifies the sender of a check, by which failures and shares of the
// queue are counted: a hash of an address, or of a network, under a key of this
// process.
type Client uint64

// rank says which checks of a queue come first.
type rank int

// The ranks, the first one first. Checks of later ranks delay a known check only by
// those that are already at work.
const (
	// known: the client has had the right password of this user before.
	known rank = iota
	// clean: the client has had no wrong password lately.
	clean
	// failing: the client has.
	failing

	ranks
)

// A queue bounds how much memory and CPU time checks of passwords take.
//
// A bounded number of checks is at work at a time, and a bounded number waits, each
// for a bounded time. Clients take turns, and none can fill the queue: when it is
// full, the client with the most waiting checks loses one.
//
// Failed checks take no more than a share of the CPUs, guessShare, beyond
// guessBurst. Otherwise clients that send wrong passwords would have all CPUs but
// the queue's compute hashes, and requests that need no hash would wait. Checks
// that succeed don't count: each needs a right password.
type queue struct {
	slots int

	mu      sync.Mutex
	working int
	waiting int
	turns   [ranks][]*turns
	// paid is when the share of failed checks has made up for the time that they
	// have taken. Once it is more than guessBurst ahead, only known ones begin.
	paid time.Time
	wake *time.Timer // for when that is over; nil while it isn't awaited
}

// The limits of a queue.
const (
	queueLength = 256
	queueShare  = 64               // of them, one client's
	queueWait   = 10 * time.Second // how long a check waits at most

	// guessShare is the share of the CPUs that failed checks may take: one
	// sixteenth.
	guessShare = 16
	// guessBurst is how much CPU time failed checks may take at once.
	guessBurst = 2 * time.Second
)

// turns are the waiting checks of a client, which has at least one.
type turns struct {
	client Client
	checks []*waiter
}

// waiter is a check that waits. begin is closed when its turn comes, or when it has
// lost its place: then isFull is true.
type waiter struct {
	begin  chan struct{}
	isFull bool
}

// Busy says that a check couldn't begin, because too many others wait. It says
// nothing about the password.
type Busy struct {
	Wait time.Duration // how long to wait before another try
}

func (b *Busy) Error() string {
	return fmt.Sprintf("too many password checks are waiting; try again in %s", b.Wait)
}

const (
	// busyWait is Busy.Wait.
	busyWait = 5 * time.Second
	// busyHold is how long a client waits for the answer that there is no room.
	// Otherwise it would ask again at once, and cause a lookup each time.
	busyHold = time.Second
)

// newQueue makes a queue that runs a number of checks at a time; 0 means half as
// many as there are CPUs, at least one.
func newQueue(atWork int) *queue {
	if atWork == 0 {
		atWork = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	return &queue{slots: atWork}
}

// run calls check when its turn comes. The check uses a number of CPUs at once, if
// there are enough, and reports whether the password was wrong. The error is a
// *Busy, or the context's; then check hasn't been called.
func (q *queue) run(ctx context.Context, client Client, at rank, threads int, check func() (isWrong bool)) error {
	if err := q.wait(ctx, client, at); err != nil {
		return err
	}
	began, isWrong := time.Now(), false
	defer func() { q.end(time.Since(began)*time.Duration(min(threads, runtime.GOMAXPROCS(0))), isWrong) }()
	isWrong = check()
	return nil
}

// wait returns nil when it is the check's turn.
func (q *queue) wait(ctx context.Context, client Client, at rank) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := q.join(client, at)
	if err != nil {
		return hold(ctx, err)
	}
	timer := time.NewTimer(queueWait)
	defer timer.Stop()
	select {
	case <-w.begin:
		if w.isFull {
			return &Busy{busyWait}
		}
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = &Busy{busyWait}
	}
	if q.leave(client, at, w) || w.isFull {
		return err
	}
	q.end(0, false) // the check was given a place just now, and doesn't use it
	return err
}

// hold returns an error after busyHold, or the context's.
func hold(ctx context.Context, err error) error {
	timer := time.NewTimer(busyHold)
	defer timer.Stop()
	select {
	case <-timer.C:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join adds a check to the waiting ones, and begins it if possible.
func (q *queue) join(client Client, at rank) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	own := q.turnsOf(client, at)
	if own != nil && len(own.checks) >= queueShare || q.waiting == queueLength && !q.makeRoom(own, at) {
		return nil, &Busy{busyWait}
	}
	if own == nil {
		own = &turns{client: client}
		q.turns[at] = append(q.turns[at], own)
	}
	w := &waiter{begin: make(chan struct{})}
	own.checks = append(own.checks, w)
	q.waiting++
	q.next()
	return w, nil
}

// turnsOf returns a client's waiting checks of a rank, or nil.
func (q *queue) turnsOf(client Client, at rank) *turns {
	i := slices.IndexFunc(q.turns[at], func(t *turns) bool { return t.client == client })
	if i < 0 {
		return nil
	}
	return q.turns[at][i]
}

// makeRoom removes the last check of the client with the most checks: of the last
// rank that has any, or of the same rank if that client still has at least as many
// as own.
func (q *queue) makeRoom(own *turns, at rank) bool {
	for last := ranks - 1; last >= at; last-- {
		least := 1
		if last == at && own != nil {
			least = len(own.checks) + 2
		} else if last == at {
			least = 2
		}
		longest := longestOf(q.turns[last])
		if longest == nil || len(longest.checks) < least {
			continue
		}
		i := len(longest.checks) - 1
		w := longest.checks[i]
		q.remove(longest, last, i)
		w.isFull = true
		close(w.begin)
		return true
	}
	return false
}

// longestOf returns the client with the most checks, or nil where there is none.
func longestOf(all []*turns) (longest *turns) {
	for _, t := range all {
		if longest == nil || len(t.checks) > len(longest.checks) {
			longest = t
		}
	}
	return longest
}

// remove removes one of a client's waiting checks.
func (q *queue) remove(of *turns, at rank, i int) {
	of.checks = slices.Delete(of.checks, i, i+1)
	q.waiting--
	if len(of.checks) == 0 {
		q.turns[at] = slices.DeleteFunc(q.turns[at], func(t *turns) bool { return t == of })
	}
}

// leave removes a check, and reports whether it was still waiting.
func (q *queue) leave(client Client, at rank, w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	own := q.turnsOf(client, at)
	if own == nil {
		return false
	}
	i := slices.Index(own.checks, w)
	if i < 0 {
		return false
	}
	q.remove(own, at, i)
	return true
}

// end frees the place of a check, and counts the CPU time that it took.
func (q *queue) end(took time.Duration, isWrong bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if isWrong {
		q.pay(took)
	}
	q.working--
	q.next()
}

// pay delays failed checks until their share has made up for the time that one
// took.
func (q *queue) pay(took time.Duration) {
	if now := time.Now(); q.paid.Before(now) {
		q.paid = now
	}
	q.paid = q.paid.Add(took * guessShare / time.Duration(runtime.GOMAXPROCS(0)))
}

// next begins the checks that can begin: those of the first non-empty rank, one of
// each client in turn. The caller holds the lock.
func (q *queue) next() {
	for q.working < q.slots && q.waiting > 0 {
		at := known
		for len(q.turns[at]) == 0 {
			at++
		}
		if at != known && q.mustPause() {
			return
		}
		t := q.turns[at][0]
		q.turns[at] = append(q.turns[at][1:], t)
		w := t.checks[0]
		q.remove(t, at, 0)
		q.working++
		close(w.begin)
	}
}

// mustPause reports whether failed checks have used up their share for now. It
// schedules next for the end of the pause.
func (q *queue) mustPause() bool {
	burst := guessBurst * guessShare / time.Duration(runtime.GOMAXPROCS(0))
	pause := time.Until(q.paid.Add(-burst))
	if pause <= 0 {
		return false
	}
	if q.wake == nil {
		q.wake = time.AfterFunc(pause, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.wake = nil
			q.next()
		})
	}
	return true
}
