package emaillink

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-sesame/caddy-sesame/internal/limit"
)

// queue has the requests that wait for a look-up, by client. Each client's turn comes
// in order, so that one that asks for many links delays its own.
type queue struct {
	mu      sync.Mutex
	turns   []*turn // clients with requests, in the order in which they are served
	waiting int
	running bool
	dropped *atomic.Uint64 // how many were, for lack of room
}

// turn has the requests of a client.
type turn struct {
	client   limit.Client
	requests []*waiting
}

// The sizes of the queue.
const (
	queueLength = 512
	queueBatch  = 16 // addresses that one query looks up
)

// join adds a request, and calls start if no work is under way. If there is no room,
// the client with the most requests loses its last one. ok is false if that is this
// one.
func (q *queue) join(w *waiting, start func()) (ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.turns, func(t *turn) bool { return t.client == w.Client })
	own := &turn{client: w.Client}
	if i >= 0 {
		own = q.turns[i]
	}
	if q.waiting == queueLength && !q.makeRoom(own) {
		return false
	}
	if i < 0 {
		q.turns = append(q.turns, own)
	}
	own.requests = append(own.requests, w)
	q.waiting++
	if !q.running {
		q.running = true
		start()
	}
	return true
}

// makeRoom drops the last request of the client with the most, if it has more than
// another would have after its request. The caller holds the lock.
func (q *queue) makeRoom(own *turn) bool {
	longest := slices.MaxFunc(q.turns, func(a, b *turn) int { return len(a.requests) - len(b.requests) })
	if len(longest.requests) <= len(own.requests)+1 {
		return false
	}
	longest.requests = longest.requests[:len(longest.requests)-1]
	q.waiting--
	q.dropped.Add(1)
	return true
}

// take takes the next requests, one of each client in turn. It returns nil, and the
// work ends, if there are none.
func (q *queue) take() (batch []*waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(batch) < queueBatch && len(q.turns) > 0 {
		next := q.turns[0]
		q.turns = slices.Delete(q.turns, 0, 1)
		batch = append(batch, next.requests[0])
		if next.requests = slices.Delete(next.requests, 0, 1); len(next.requests) > 0 {
			q.turns = append(q.turns, next)
		}
	}
	q.waiting -= len(batch)
	q.running = len(batch) > 0
	return batch
}

// clear drops all requests, and returns how many there were.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.waiting
	q.turns, q.waiting = nil, 0
	return n
}
