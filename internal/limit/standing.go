package limit

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A Standing is the last known result for a credential.
type Standing uint8

// The standings. None of them accepts or rejects a credential: they decide which
// lookups wait in the queue, and what counts as a failure again.
const (
	Unseen   Standing = iota // nothing, or too long ago
	Valid                    // it was accepted
	Rejected                 // it was rejected a moment ago
	Stale                    // it was rejected before that, and counted
)

// How long standings are known.
const (
	validFor = 10 * time.Minute
	// RejectedFor is how long the Standing of a credential is Rejected, before it
	// is Stale.
	RejectedFor = time.Second
	// staleFor is the least time for which a credential is Stale. If the limit counts
	// failures over a longer time, that time counts, so that one credential never
	// adds up to more than one failure.
	staleFor = 10 * time.Minute
)

// standings are those of credentials, in memory that doesn't grow. Credentials
// are known by a hash under a key of this process, which doesn't reveal them.
//
// Each request with a token reads them, without a lock.
type standings struct {
	buckets [standingBuckets]standingBucket
}

const (
	standingBuckets = 1 << 13
	standingSlots   = 8
)

type standingBucket struct {
	mu    sync.Mutex // for writing
	slots [standingSlots]standingSlot
}

// standingSlot has the standing of one credential. A writer clears id first, so
// that a reader who finds the same id before and after knows that the values belong
// to it.
type standingSlot struct {
	id    atomic.Uint64
	until atomic.Int64 // in nanoseconds since Failures.began
	at    atomic.Int64 // when it was rejected, likewise, or notRejected
}

// notRejected is in the place of a time in the slot of an accepted credential.
const notRejected = -1

// A Credential identifies a token or a session cookie among the client's earlier
// ones. It is a keyed hash, and never 0.
type Credential uint64

// CredentialOf identifies a credential that a client has sent.
func (f *Failures) CredentialOf(c Client, value string) Credential {
	// Both are keyed hashes, so that a client can't look for a collision.
	return Credential(max(maphash.String(seed, value)^bits.RotateLeft64(uint64(c), 32), 1))
}

func (f *Failures) standingBucket(c Credential) *standingBucket {
	return &f.standings.buckets[uint64(c)%standingBuckets]
}

// Standing returns the last known result for a credential.
func (f *Failures) Standing(c Credential) Standing {
	b := f.standingBucket(c)
	for i := range b.slots {
		slot := &b.slots[i]
		if slot.id.Load() != uint64(c) {
			continue
		}
		until, at := slot.until.Load(), slot.at.Load()
		if slot.id.Load() == uint64(c) {
			return standingAt(until, at, f.now())
		}
	}
	return Unseen
}

func standingAt(until, at, now int64) Standing {
	switch {
	case until <= now:
		return Unseen
	case at == notRejected:
		return Valid
	case now-at < int64(RejectedFor):
		return Rejected
	default:
		return Stale
	}
}

// RememberValid notes that a credential was accepted.
func (f *Failures) RememberValid(c Credential) {
	f.remember(c, f.now()+int64(validFor), notRejected)
}

// RememberRejected notes that a credential was rejected. It reports whether the
// credential is new, since it wasn't rejected within the time of the limit.
func (f *Failures) RememberRejected(c Credential) (isNew bool) {
	now := f.now()
	return f.remember(c, now+int64(max(staleFor, time.Duration(f.limit.Per))), now)
}

// remember sets the standing of a credential, and reports whether it was neither
// Rejected nor Stale. In a full bucket it replaces the credential that was rejected
// first. Rejected credentials, of which there can be any number, never replace an
// accepted one.
func (f *Failures) remember(c Credential, until, at int64) (isNew bool) {
	b, now := f.standingBucket(c), f.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var replaced *standingSlot
	for i := range b.slots {
		slot := &b.slots[i]
		if slot.id.Load() == uint64(c) {
			before := standingAt(slot.until.Load(), slot.at.Load(), now)
			slot.set(c, until, at)
			return before == Unseen || before == Valid
		}
		if slot.isValid(now) && at != notRejected {
			continue
		}
		if replaced == nil || slot.isBefore(replaced, now) {
			replaced = slot
		}
	}
	if replaced != nil {
		replaced.set(c, until, at)
	}
	return true
}

// isBefore reports whether a slot is to be replaced before another: accepted
// credentials last, and the one first that is forgotten first, or long ago.
func (s *standingSlot) isBefore(other *standingSlot, now int64) bool {
	if its := other.isValid(now); s.isValid(now) != its {
		return its
	}
	return s.until.Load() < other.until.Load()
}

// isValid reports whether the standing is Valid.
func (s *standingSlot) isValid(now int64) bool {
	return standingAt(s.until.Load(), s.at.Load(), now) == Valid
}

// set is called with the bucket's lock held.
func (s *standingSlot) set(c Credential, until, at int64) {
	s.id.Store(0)
	s.until.Store(until)
	s.at.Store(at)
	s.id.Store(uint64(c))
}
