package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// A Standing is what was last found of a token.
type Standing uint8

const (
	Unseen   Standing = iota // nothing, or too long ago
	Valid                    // it held
	Rejected                 // it was refused a moment ago
)

// How long standings are known. None of them lets a token in or refuses it for
// good: they choose who waits in the queue.
const (
	validFor = 10 * time.Minute
	// RejectedFor is how long the Standing of a token is Rejected.
	RejectedFor = time.Second
)

// standings are those of tokens that limited clients came with, in memory that
// doesn't grow. Tokens are known by a hash under a key of this process, of which
// nobody can tell the token.
type standings struct {
	buckets [standingBuckets]struct {
		mu    sync.Mutex
		slots [standingSlots]standingSlot
	}
}

const (
	standingBuckets = 1 << 12
	standingSlots   = 8
)

type standingSlot struct {
	token    uint64
	until    int64 // in nanoseconds since Failures.began
	standing Standing
}

// fingerprint identifies a token among the standings.
func (f *Failures) fingerprint(token string) uint64 {
	return max(maphash.String(f.seed, token), 1)
}

// Standing is the one of a token.
func (f *Failures) Standing(token string) Standing {
	id, now := f.fingerprint(token), f.now()
	b := &f.standings.buckets[id%standingBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, slot := range b.slots {
		if slot.token == id && slot.until > now {
			return slot.standing
		}
	}
	return Unseen
}

// Remember keeps the standing of a token. Where all slots are taken it replaces
// the one that would be forgotten first: refused tokens, of which there is no
// end, don't push out valid ones.
func (f *Failures) Remember(token string, s Standing) {
	id, until := f.fingerprint(token), f.now()+int64(validFor)
	if s == Rejected {
		until = f.now() + int64(RejectedFor)
	}
	b := &f.standings.buckets[id%standingBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	replaced := &b.slots[0]
	for i := range b.slots {
		slot := &b.slots[i]
		if slot.token == id {
			replaced = slot
			break
		}
		if slot.until < replaced.until {
			replaced = slot
		}
	}
	*replaced = standingSlot{id, until, s}
}
