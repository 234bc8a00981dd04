package sesame

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// FailureLimit limits how often a client may come with what is refused: a token
// that doesn't hold, or a session cookie that is forged. A client is an address
// of IPv4, or a network /64 of IPv6, as Caddy's `trusted_proxies` tell it.
//
// A client over the limit gets 429 where it would get 401. A valid token or
// session of such a client is still served, after its turn in a queue of its
// own, so that many who share an address aren't locked out by one of them.
type FailureLimit struct {
	// How many failures a client may have at once. Default: 100.
	Failures int `json:"failures,omitempty"`

	// In which time so many are forgiven again, one after the other. 24h at
	// most. Default: 1m.
	Per caddy.Duration `json:"per,omitempty"`

	// Whether there is no limit. Default: false.
	Off bool `json:"off,omitempty"`
}

// The defaults of FailureLimit, and its longest time. A page with fifty images,
// all of them asked for with a cookie or link that no longer holds, is one
// mistake of one person.
const (
	defaultFailures = 100
	defaultPer      = time.Minute
	longestPer      = 24 * time.Hour
)

// validate checks the limit, which may be nil.
func (l *FailureLimit) validate() error {
	switch {
	case l == nil:
		return nil
	case l.Failures < 0 || l.Failures > math.MaxInt32:
		return fmt.Errorf("limit_failures %d: it must be a number of failures, at least 1", l.Failures)
	case l.Per < 0 || time.Duration(l.Per) > longestPer:
		return fmt.Errorf("limit_failures: per %s: it must be a duration such as 1m, at most %s", time.Duration(l.Per), longestPer)
	case l.Off && (l.Failures != 0 || l.Per != 0):
		return errors.New("limit_failures: it can't be off and have a number")
	}
	return nil
}

// withDefaults is the limit with its defaults; nil is one of defaults only.
func (l *FailureLimit) withDefaults() FailureLimit {
	limit := FailureLimit{Failures: defaultFailures, Per: caddy.Duration(defaultPer)}
	if l != nil {
		limit.Off = l.Off
		if l.Failures > 0 {
			limit.Failures = l.Failures
		}
		if l.Per > 0 {
			limit.Per = l.Per
		}
	}
	return limit
}

// client stands for who is told apart by the limit: an address of IPv4, a
// network of IPv6. It is a hash under a key that this process has made up, so
// that nobody can choose addresses which fall together. It is never 0.
type client uint64

// clientOf is the client with an address, as Caddy writes it. All whose address
// isn't one, as over a Unix socket, are the same client.
func (f *failures) clientOf(address string) client {
	var text [9]byte // the kind, and what is told apart
	if addr, err := netip.ParseAddr(address); err == nil {
		if addr = addr.Unmap(); addr.Is4() {
			ip := addr.As4()
			text[0] = 4
			copy(text[1:], ip[:])
		} else {
			ip := addr.As16()
			text[0] = 6
			copy(text[1:], ip[:8])
		}
	}
	return client(max(maphash.Bytes(f.seed, text[:]), 1))
}

// failures counts the failures of clients, in memory that doesn't grow. All
// handlers with the same limit share it, in this configuration and the next.
//
// Of each client it knows a point in time: when all of its failures will be
// forgiven. A failure moves it on by an interval, and a client for which it is
// further away than the limit allows is limited (the generic cell rate
// algorithm, ITU-T I.371, appendix I). So the failures of a client that has
// gone are forgotten without anybody's doing.
type failures struct {
	limit     FailureLimit
	interval  int64 // nanoseconds in which one failure is forgiven
	most      int64 // how far ahead the time of a client can be
	seed      maphash.Seed
	began     time.Time
	buckets   [failureBuckets]failureBucket
	standings standings
	lines     lineLimit   // for clients over the limit
	crowded   atomic.Bool // whether that was told a moment ago
}

// The size of the table. A client may be in any slot of one bucket. Where that
// is full, the client with the fewest failures that still count is forgotten:
// it takes as many failures as others have to push them out, and nobody is
// limited for the lack of a slot.
const (
	failureBuckets = 1 << 13
	failureSlots   = 8
)

// failureBucket is written to by failures only, and read without its lock.
type failureBucket struct {
	mu    sync.Mutex
	slots [failureSlots]failureSlot
}

type failureSlot struct {
	client   atomic.Uint64
	forgiven atomic.Int64 // in nanoseconds since failures.began
	told     int64        // when the log was told last, or 0; under the bucket's lock
}

// failuresOf has the failures of each limit in this process, so that a reload
// doesn't forget them.
var failuresOf = caddy.NewUsagePool()

// acquireFailures returns the failures of a limit. Each call needs one
// releaseFailures.
func acquireFailures(limit FailureLimit) (*failures, error) {
	value, _, err := failuresOf.LoadOrNew(limit, func() (caddy.Destructor, error) { return newFailures(limit), nil })
	if err != nil {
		return nil, fmt.Errorf("limit_failures: %w", err)
	}
	return value.(*failures), nil
}

func releaseFailures(f *failures) error {
	if _, err := failuresOf.Delete(f.limit); err != nil {
		return fmt.Errorf("limit_failures: %w", err)
	}
	return nil
}

func newFailures(limit FailureLimit) *failures {
	interval := max(int64(limit.Per)/int64(limit.Failures), 1)
	return &failures{
		limit:    limit,
		interval: interval,
		most:     interval * int64(limit.Failures),
		seed:     maphash.MakeSeed(),
		began:    time.Now(),
	}
}

// Destruct does nothing: there is only memory. UsagePool calls it.
func (f *failures) Destruct() error { return nil }

// now is the time on a clock that nobody sets.
func (f *failures) now() int64 { return int64(time.Since(f.began)) }

func (f *failures) bucket(c client) *failureBucket {
	return &f.buckets[uint64(c)%failureBuckets]
}

// wait is how long a client is limited, if it doesn't fail any more; 0 is a
// client that isn't limited. It takes no lock.
func (f *failures) wait(c client) time.Duration {
	b := f.bucket(c)
	for i := range b.slots {
		if b.slots[i].client.Load() == uint64(c) {
			return f.waitUntil(b.slots[i].forgiven.Load(), f.now())
		}
	}
	return 0
}

// waitUntil is wait for a client whose failures will be forgiven at a time.
func (f *failures) waitUntil(forgiven, now int64) time.Duration {
	return time.Duration(max(forgiven-now-(f.most-f.interval), 0))
}

// failure is what follows from a failure.
type failure struct {
	wait    time.Duration // as failures.wait was before it; 0 is within the limit
	first   bool          // of those over the limit, for a while
	crowded bool          // another client had to be forgotten
}

// note counts a failure of a client.
func (f *failures) note(c client) failure {
	b, now := f.bucket(c), f.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	slot, crowded := b.slotFor(c, now)
	noted := failure{wait: f.waitUntil(slot.forgiven.Load(), now), crowded: crowded}
	slot.forgiven.Store(min(max(slot.forgiven.Load(), now)+f.interval, now+f.most))
	if noted.wait > 0 && (slot.told == 0 || now-slot.told >= f.most) {
		noted.first, slot.told = true, now
	}
	return noted
}

// slotFor is the slot of a client, which is given one if it has none. crowded
// reports that another one lost it. The caller holds the bucket's lock.
func (b *failureBucket) slotFor(c client, now int64) (slot *failureSlot, crowded bool) {
	least := &b.slots[0]
	for i := range b.slots {
		s := &b.slots[i]
		if s.client.Load() == uint64(c) {
			return s, false
		}
		if s.forgiven.Load() < least.forgiven.Load() {
			least = s
		}
	}
	crowded = least.forgiven.Load() > now
	// The time first: for a moment a reader may take a limited client for one
	// that isn't, and never the reverse.
	least.forgiven.Store(now)
	least.client.Store(uint64(c))
	least.told = 0
	return least, crowded
}

// lineLimit limits lines of the log that clients cause.
type lineLimit struct {
	mu      sync.Mutex
	began   time.Time
	written int
	omitted int
}

// The most lines that clients over the limit cause, and in which time.
const (
	mostLines    = 20
	linesForTime = time.Minute
)

// take reports whether a line may be written, and how many were left out since
// the last.
func (l *lineLimit) take() (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.began) >= linesForTime {
		l.began, l.written = now, 0
	}
	if l.written == mostLines {
		l.omitted++
		return 0, false
	}
	l.written++
	omitted, l.omitted = l.omitted, 0
	return omitted, true
}

// standing is what was last found of a token.
type standing uint8

const (
	standingNone    standing = iota // nothing, or too long ago
	standingValid                   // it held
	standingRefused                 // it was refused a moment ago
)

// How long standings are known. None of them lets a token in or refuses it for
// good: they choose who waits in the queue.
const (
	validFor   = 10 * time.Minute
	refusedFor = time.Second
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
	until    int64 // in nanoseconds since failures.began
	standing standing
}

// fingerprint identifies a token among the standings.
func (f *failures) fingerprint(token string) uint64 {
	return max(maphash.String(f.seed, token), 1)
}

// standing is the one of a token.
func (f *failures) standing(token string) standing {
	id, now := f.fingerprint(token), f.now()
	b := &f.standings.buckets[id%standingBuckets]
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, slot := range b.slots {
		if slot.token == id && slot.until > now {
			return slot.standing
		}
	}
	return standingNone
}

// remember keeps the standing of a token. Where all slots are taken it replaces
// the one that would be forgotten first: refused tokens, of which there is no
// end, don't push out valid ones.
func (f *failures) remember(token string, s standing) {
	id, until := f.fingerprint(token), f.now()+int64(validFor)
	if s == standingRefused {
		until = f.now() + int64(refusedFor)
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
