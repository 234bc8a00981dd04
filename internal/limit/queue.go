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

// A Queue looks users up for clients over the limit, on the side: one query
// at a time, so many in a second and no more, whatever they send. The lookups
// of all others don't meet it.
//
// Clients take turns. Where one of them has more lookups waiting than there is
// room for, it is that one's lookups that are turned away.
type Queue struct {
	lookup  func(context.Context, []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error)
	timeout time.Duration // how long a lookup waits for its turn

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc

	mu      sync.Mutex
	turns   []*clientQueue // of the clients with lookups, the next one first
	waiting int            // lookups
	sent    time.Time      // the last query
	asking  bool           // whether that is on its way
	running bool           // whether there is a goroutine
}

// The limits of a Queue.
const (
	queueInterval = 50 * time.Millisecond // between two queries
	queueBatch    = 32                    // keys in a query
	queueLength   = 2048                  // lookups that wait
	queueShare    = 512                   // of them, one client's: what is asked for in 0.8s
	// Keys that are text may be asked for once more, one by one: what a
	// collation takes for equal, only MySQL can tell.
	queueTextBatch = 8
)

// clientQueue has the lookups of a client.
type clientQueue struct {
	client  Client
	lookups []*queuedLookup
}

// queuedLookup is a lookup that waits. Its user and err are set when done is
// closed.
type queuedLookup struct {
	key  token.PrimaryKey
	done chan struct{}
	user *userstore.User
	err  error
}

// ErrTurnedAway: there is no room in the queue, or it is too long to wait.
var ErrTurnedAway = errors.New("too many lookups are waiting")

func NewQueue(lookup func(context.Context, []token.PrimaryKey) (map[token.PrimaryKey]*userstore.User, error), timeout time.Duration) *Queue {
	q := &Queue{lookup: lookup, timeout: timeout}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// Stop ends the queries. Lookups that wait get the context's error.
func (q *Queue) Stop() { q.cancel() }

// Find reads the user with a primary key for a client, from a query that is
// sent after the call. The error is ErrTurnedAway, that of the lookup, that
// MySQL has no answer, or the context's.
func (q *Queue) Find(ctx context.Context, from Client, key token.PrimaryKey) (*userstore.User, error) {
	l := &queuedLookup{key: key, done: make(chan struct{})}
	if !q.join(from, l) {
		return nil, ErrTurnedAway
	}
	timer := time.NewTimer(q.timeout)
	defer timer.Stop()
	select {
	case <-l.done:
		return l.user, l.err
	case <-ctx.Done():
		q.leave(from, l)
		return nil, ctx.Err()
	case <-timer.C:
	}
	if q.leave(from, l) {
		return nil, q.whyInVain()
	}
	select { // on its way to MySQL, and back in time
	case <-l.done:
		return l.user, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errInVain: it is MySQL that lookups wait for.
var errInVain = fmt.Errorf("%w: MySQL has no answer for the lookups before this one", userstore.ErrUnavailable)

// whyInVain is the error of a lookup that has waited too long: for others, or
// for a MySQL that doesn't answer.
func (q *Queue) whyInVain() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asking && time.Since(q.sent) >= q.timeout/2 {
		return errInVain
	}
	return ErrTurnedAway
}

// join adds a lookup, and reports whether there was room.
func (q *Queue) join(from Client, l *queuedLookup) bool {
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
		return false
	}
	own.lookups = append(own.lookups, l)
	q.waiting++
	if !q.running {
		q.running = true
		go q.run()
	}
	return true
}

// turnOf is the place of a client among the turns, or -1. There are few of them.
func (q *Queue) turnOf(from Client) int {
	return slices.IndexFunc(q.turns, func(c *clientQueue) bool { return c.client == from })
}

// makeRoom turns away the last lookup of the client with the most, if that has
// more than the one that room is made for.
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
	longest.lookups[last].end(nil, ErrTurnedAway)
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
	if q.turns[0].lookups[0].key.Kind() == token.KindString {
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
	q.sent, q.asking = time.Now(), true
	return batch
}

// send reads the users of a batch.
func (q *Queue) send(batch []*queuedLookup) {
	keys := make([]token.PrimaryKey, len(batch))
	for i, l := range batch {
		keys[i] = l.key
	}
	users, err := q.lookup(q.ctx, keys)
	q.mu.Lock()
	q.asking = false
	q.mu.Unlock()
	if errors.Is(err, userstore.ErrAmbiguous) && len(batch) > 1 {
		for _, l := range batch { // that is one key's error
			q.send([]*queuedLookup{l})
		}
		return
	}
	for _, l := range batch {
		user, ok := users[l.key]
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
