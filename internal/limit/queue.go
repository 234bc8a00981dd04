package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Queue looks users up for clients over the limit: one query at a time, and a
// fixed number per second, however many requests come. Lookups of other clients
// don't use it.
//
// Clients take turns. If a client has more lookups waiting than there is room for,
// that client's lookups are turned away.
type Queue struct {
	lookup  Lookup
	timeout time.Duration // how long a lookup waits for its turn

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc

	mu       sync.Mutex
	turns    []*clientQueue // of the clients with lookups, the next one first
	waiting  int            // lookups
	sent     time.Time      // the last query
	answered time.Time      // the last answer of MySQL
	asking   bool           // whether a query is on its way
	running  bool           // whether there is a goroutine
}

// Lookup is userstore.MySQL.LookupEach.
type Lookup func(context.Context, []userstore.Key) (found map[userstore.Key]*userstore.User, refused map[userstore.Key]error, err error)

// The limits of a Queue.
const (
	queueInterval = 50 * time.Millisecond // between two queries
	queueBatch    = 32                    // keys in a query
	queueLength   = 2048                  // lookups that wait
	queueShare    = 512                   // of them, one client's: as many as are sent in 0.8s
	// Text keys may take one more query each: only MySQL can tell which keys a
	// collation takes for equal.
	queueTextBatch = 8
)

// clientQueue has the lookups of a client.
type clientQueue struct {
	client  Client
	lookups []*queuedLookup
}

// queuedLookup is a lookup that waits. Its user, refused and err are set when done
// is closed.
type queuedLookup struct {
	key     userstore.Key
	joined  time.Time
	sent    time.Time // when its query was sent, or zero
	done    chan struct{}
	user    *userstore.User
	refused error // the rejection by the row that was found
	err     error
}

// ErrTurnedAway says that the queue has no room, or that the wait would be too
// long.
var ErrTurnedAway = errors.New("too many lookups are waiting")

// NewQueue makes a queue for lookups, which returns the rows of the users that
// exist. timeout is how long a lookup waits for its turn.
func NewQueue(lookup Lookup, timeout time.Duration) *Queue {
	q := &Queue{lookup: lookup, timeout: timeout}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// Stop ends the queries. Lookups that wait get the context's error.
func (q *Queue) Stop() { q.cancel() }

// Find reads the user with a primary key for a client, from a query that is sent
// after the call, and returns the error of check, which gets nil if there is no
// such user. Other errors are ErrTurnedAway, an error of the lookup, that MySQL has
// no answer, or the context's.
//
// A rejection is returned a whole number of intervals after the query was sent. So
// the time that a client waits doesn't tell whether there is a row, or how long
// MySQL took for it.
func (q *Queue) Find(ctx context.Context, from Client, key userstore.Key, check func(*userstore.User) error) (*userstore.User, error) {
	l := &queuedLookup{key: key, joined: time.Now(), done: make(chan struct{})}
	if err := q.wait(ctx, from, l); err != nil && !errors.Is(err, userstore.ErrNotFound) {
		return nil, err
	}
	rejected := l.refused
	if rejected == nil {
		rejected = check(l.user)
	}
	if rejected == nil {
		return l.user, nil
	}
	over := time.Since(l.sent) % queueInterval
	timer := time.NewTimer(queueInterval - over)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.user, rejected
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait waits for the answer to a lookup, or until waiting longer is useless.
func (q *Queue) wait(ctx context.Context, from Client, l *queuedLookup) error {
	if err := q.join(from, l); err != nil {
		return err
	}
	timer := time.NewTimer(q.timeout)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		q.leave(from, l)
		return ctx.Err()
	case <-timer.C:
	}
	if q.leave(from, l) {
		return q.whyInVain(l)
	}
	select { // on its way to MySQL, and back in time
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errInVain: it is MySQL that lookups wait for.
var errInVain = fmt.Errorf("%w: MySQL has no answer for the lookups before this one", userstore.ErrUnavailable)

// whyInVain returns the error of a lookup that has waited for the timeout: MySQL
// hasn't answered anything in that time, or has too many lookups to answer.
func (q *Queue) whyInVain(l *queuedLookup) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.answered.After(l.joined) {
		return errInVain
	}
	return q.whyFull()
}

// whyFull returns the error for a lookup without room: MySQL doesn't answer the
// lookups that wait, or there are too many. The caller holds the lock.
func (q *Queue) whyFull() error {
	if q.asking && time.Since(q.sent) >= q.timeout/2 {
		return errInVain
	}
	return ErrTurnedAway
}

// join adds a lookup. The error says why there is no room.
func (q *Queue) join(from Client, l *queuedLookup) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.turnOf(from)
	if i < 0 {
		q.turns = append(q.turns, &clientQueue{client: from})
		i = len(q.turns) - 1
	}
	own := q.turns[i]
	if len(own.lookups) == queueShare || q.waiting == queueLength && !q.makeRoom(own) {
		if len(own.lookups) == 0 {
			q.turns = slices.Delete(q.turns, i, i+1)
		}
		return q.whyFull()
	}
	own.lookups = append(own.lookups, l)
	q.waiting++
	if !q.running {
		q.running = true
		go q.run()
	}
	return nil
}

// turnOf returns the place of a client among the turns, or -1. There are few turns.
func (q *Queue) turnOf(from Client) int {
	return slices.IndexFunc(q.turns, func(c *clientQueue) bool { return c.client == from })
}

// makeRoom turns away the last lookup of the client with the most lookups, if it
// has more than the client that needs room.
func (q *Queue) makeRoom(own *clientQueue) bool {
	longest := own
	for _, c := range q.turns {
		if len(c.lookups) > len(longest.lookups) {
			longest = c
		}
	}
	if len(longest.lookups) <= len(own.lookups)+1 {
		return false
	}
	last := len(longest.lookups) - 1
	longest.lookups[last].end(nil, q.whyFull())
	longest.lookups = slices.Delete(longest.lookups, last, last+1)
	q.waiting--
	return true
}

// leave takes a lookup out, and reports whether it was still waiting.
func (q *Queue) leave(from Client, l *queuedLookup) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	turn := q.turnOf(from)
	if turn < 0 {
		return false
	}
	i := slices.Index(q.turns[turn].lookups, l)
	if i < 0 {
		return false
	}
	q.turns[turn].lookups = slices.Delete(q.turns[turn].lookups, i, i+1)
	if len(q.turns[turn].lookups) == 0 {
		q.turns = slices.Delete(q.turns, turn, turn+1)
	}
	q.waiting--
	return true
}

// run sends queries, until no lookup waits.
func (q *Queue) run() {
	for {
		q.mu.Lock()
		pause := time.Until(q.sent.Add(queueInterval))
		q.mu.Unlock()
		if pause > 0 {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-q.ctx.Done():
				timer.Stop()
			}
		}
		batch := q.take()
		if batch == nil {
			return
		}
		q.send(batch)
	}
}

// take takes the lookups of the next query, one of each client in turn. It
// returns nil, and ends the goroutine, where there is none.
func (q *Queue) take() []*queuedLookup {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == 0 {
		q.running = false
		return nil
	}
	most := queueBatch
	if pk, isPrimary := q.turns[0].lookups[0].key.PrimaryKey(); !isPrimary || pk.Kind() == token.KindString {
		most = queueTextBatch
	}
	batch := make([]*queuedLookup, 0, min(most, q.waiting))
	for len(batch) < most && len(q.turns) > 0 {
		next := q.turns[0]
		q.turns = slices.Delete(q.turns, 0, 1)
		batch = append(batch, next.lookups[0])
		if next.lookups = slices.Delete(next.lookups, 0, 1); len(next.lookups) > 0 {
			q.turns = append(q.turns, next)
		}
	}
	q.waiting -= len(batch)
	return batch
}

// send reads the users of a batch.
func (q *Queue) send(batch []*queuedLookup) {
	users, refused, err := q.ask(batch)
	if errors.Is(err, userstore.ErrAmbiguous) && len(batch) > 1 {
		for _, l := range batch { // that is one key's error
			q.send([]*queuedLookup{l})
		}
		return
	}
	for _, l := range batch {
		user, ok := users[l.key]
		if l.refused = refused[l.key]; l.refused != nil {
			l.end(nil, nil)
			continue
		}
		if err == nil && !ok {
			l.end(nil, userstore.ErrNotFound)
			continue
		}
		l.end(user, err)
	}
	if err != nil && !errors.Is(err, userstore.ErrAmbiguous) {
		q.fail(err)
	}
}

// ask asks MySQL for the users of a batch.
func (q *Queue) ask(batch []*queuedLookup) (found map[userstore.Key]*userstore.User, refused map[userstore.Key]error, err error) {
	q.mu.Lock()
	q.sent, q.asking = time.Now(), true
	keys := make([]userstore.Key, len(batch))
	for i, l := range batch {
		keys[i], l.sent = l.key, q.sent
	}
	q.mu.Unlock()
	found, refused, err = q.lookup(q.ctx, keys)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asking = false
	if err == nil || errors.Is(err, userstore.ErrAmbiguous) {
		q.answered = time.Now()
	}
	return found, refused, err
}

// fail ends all lookups that wait: MySQL has no answer for them, either.
func (q *Queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.turns {
		for _, l := range c.lookups {
			l.end(nil, err)
		}
	}
	q.turns, q.waiting = nil, 0
}

func (l *queuedLookup) end(user *userstore.User, err error) {
	l.user, l.err = user, err
	close(l.done)
}
