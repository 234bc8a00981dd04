package hashing

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// guesses counts wrong passwords by user and by client, in memory that doesn't
// grow, and delays further passwords before they are checked. So a password can't
// be guessed at the speed of the machine, and no user can be locked out: the
// longest delay is maxDelay, and another client's guesses don't delay a client that
// has had the right password of the user before.
//
// The caller chooses a text to count a user by: the same for all names of the user,
// and one of its kind for a name without a user.
type guesses struct {
	seed maphash.Seed

	mu      sync.Mutex
	counts  table
	known   table // pairs of client and user that had the right password
	waiting map[Client]int
	delayed int // of all clients
}

// The delays.
const (
	// freeGuesses are not delayed.
	freeGuesses = 5
	// firstDelay is the delay after freeGuesses. Each further one is twice as long.
	firstDelay = 250 * time.Millisecond
	maxDelay   = 8 * time.Second
	// mostWait is how long a guess waits at most, behind others of its client for
	// the same user.
	mostWait = 2 * maxDelay
	// forgiveAfter is the time in which one failure is forgiven.
	forgiveAfter = time.Minute
	// mostFailures are remembered: with these, the delay is maxDelay.
	mostFailures = 20
	// knownFor is how long a client is known to have had the right password.
	knownFor = 30 * 24 * time.Hour

	delayedOfClient = 32
	delayedOfAll    = 1024
)

// TooMany says that a client has sent so many passwords that this one isn't
// checked. It says nothing about the password.
type TooMany struct {
	Wait time.Duration // how long to wait before another try
}

func (t *TooMany) Error() string {
	return fmt.Sprintf("the client has sent too many wrong passwords; try again in %s", t.Wait)
}

// newGuesses makes an empty guesses.
func newGuesses() *guesses {
	return &guesses{seed: maphash.MakeSeed(), waiting: make(map[Client]int)}
}

// A guess is a password that is to be checked, or is being checked.
type guess struct {
	client Client
	user   string
	rank   rank
	delay  time.Duration
	// counted is how much this guess has moved the failures of the pair and of the
	// user on: it counts as a failure until the check succeeds, so that sending
	// many at once gains nothing. For the client it counts later, since many users
	// may share an address.
	counted [2]time.Duration
}

// begin counts a guess, and returns how long it has to wait. If the error is a
// *TooMany, the guess isn't checked; otherwise the caller calls end.
func (g *guesses) begin(client Client, user string) (*guess, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	made := &guess{client: client, user: user, rank: clean}
	pair := g.pair(client, user)
	own := g.counts.failures(g.client(client), now)
	failures := max(own, g.counts.failures(g.user(user), now))
	switch {
	case g.known.slotOf(pair).isAfter(now):
		made.rank, failures = known, g.counts.failures(pair, now)
	case own > 0:
		made.rank = failing
	}
	slot := g.counts.slotFor(pair, now)
	if delay := delayOf(failures); delay > 0 {
		// The guess waits behind those of the same client for the same user, each
		// of which waits for a delay of its own.
		made.delay = max(slot.next.Sub(now), 0) + delay
		if made.delay > mostWait || g.waiting[client] >= delayedOfClient || g.delayed >= delayedOfAll {
			return nil, &TooMany{max(made.delay-mostWait, delay)}
		}
		slot.next = now.Add(made.delay)
		g.waiting[client]++
		g.delayed++
	}
	made.counted[0] = slot.fail(now)
	if made.rank != known { // a known client's wrong passwords are old ones, or typing errors
		made.counted[1] = g.counts.slotFor(g.user(user), now).fail(now)
	}
	return made, nil
}

// wait waits for a guess's delay. The error is the context's.
func (g *guesses) wait(ctx context.Context, made *guess) error {
	if made.delay == 0 {
		return nil
	}
	defer g.waited(made.client)
	timer := time.NewTimer(made.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An outcome is the result of a guess.
type outcome int

const (
	unchecked outcome = iota
	right
	wrong
)

// end notes the result of a guess. A right password forgives only the failures of
// its client for this user.
func (g *guesses) end(made *guess, became outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if became == wrong {
		if made.rank != known {
			g.counts.slotFor(g.client(made.client), now).fail(now)
		}
		return
	}
	pair := g.pair(made.client, made.user)
	for i, id := range [2]uint64{pair, g.user(made.user)} {
		if slot := g.counts.slotOf(id); slot != nil {
			slot.until = slot.until.Add(-made.counted[i])
		}
	}
	if became != right {
		return
	}
	g.known.slotFor(pair, now).until = now.Add(knownFor)
	if slot := g.counts.slotOf(pair); slot != nil {
		*slot = forgotten
	}
}

// waited makes room for another waiting guess.
func (g *guesses) waited(client Client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delayed--
	if g.waiting[client]--; g.waiting[client] == 0 {
		delete(g.waiting, client)
	}
}

// delayOf is how long a guess waits after so many failures.
func delayOf(failures int) time.Duration {
	if failures < freeGuesses {
		return 0
	}
	return min(firstDelay<<min(failures-freeGuesses, 10), maxDelay)
}

func (g *guesses) client(client Client) uint64            { return g.id('c', client, "") }
func (g *guesses) user(user string) uint64                { return g.id('u', 0, user) }
func (g *guesses) pair(client Client, user string) uint64 { return g.id('p', client, user) }

// id returns the number that a slot is found by.
func (g *guesses) id(kind byte, client Client, user string) uint64 {
	var hash maphash.Hash
	hash.SetSeed(g.seed)
	_ = hash.WriteByte(kind)
	var number [8]byte
	binary.NativeEndian.PutUint64(number[:], uint64(client))
	_, _ = hash.Write(number[:])
	_, _ = hash.WriteString(user)
	return max(hash.Sum64(), 1)
}

// table has slots for a fixed number of ids. In a full bucket, a new id replaces
// the slot whose time ends first: pushing out an id takes as many failures as it
// has.
type table struct {
	buckets [tableBuckets][tableSlots]slot
}

const (
	tableBuckets = 1 << 11
	tableSlots   = 8
)

// slot has the failures of a client, a user, or a pair.
type slot struct {
	id    uint64    // 0: it is free
	until time.Time // when all failures are forgiven, or how long a pair is known
	next  time.Time // when the last guess that waits may begin
}

// forgotten is a slot without an id.
var forgotten slot

// isAfter reports whether a slot, which may be nil, still counts.
func (s *slot) isAfter(now time.Time) bool { return s != nil && s.until.After(now) }

// slotOf returns the slot of an id, or nil.
func (t *table) slotOf(id uint64) *slot {
	bucket := &t.buckets[id%tableBuckets]
	for i := range bucket {
		if bucket[i].id == id {
			return &bucket[i]
		}
	}
	return nil
}

// slotFor returns the slot of an id, which is given one if it has none.
func (t *table) slotFor(id uint64, now time.Time) *slot {
	if s := t.slotOf(id); s != nil {
		return s
	}
	bucket := &t.buckets[id%tableBuckets]
	first := &bucket[0]
	for i := range bucket {
		if bucket[i].until.Before(first.until) {
			first = &bucket[i]
		}
	}
	*first = slot{id: id, until: now}
	return first
}

// failures is how many failures of an id aren't forgiven yet.
func (t *table) failures(id uint64, now time.Time) int {
	s := t.slotOf(id)
	if !s.isAfter(now) {
		return 0
	}
	return int((s.until.Sub(now) + forgiveAfter - 1) / forgiveAfter)
}

// fail counts a failure, and returns how far that has moved the slot's time on.
func (s *slot) fail(now time.Time) time.Duration {
	if s.until.Before(now) {
		s.until = now
	}
	moved := min(forgiveAfter, now.Add(mostFailures*forgiveAfter).Sub(s.until))
	s.until = s.until.Add(moved)
	return moved
}
