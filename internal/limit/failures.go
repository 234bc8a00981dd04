package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/loglimit"
)

// A Client identifies an address of IPv4, or a network of IPv6. It is a hash under
// a random key of this process, so that no client can choose addresses with the
// same hash. It is never 0.
type Client uint64

// seed is the key of the process. See Client and Credential.
var seed = maphash.MakeSeed()

// ClientOf returns the client of an address, as Caddy writes it. Addresses that
// aren't IP addresses, as with a Unix socket, are all the same client.
func ClientOf(address string) Client {
	var network struct {
		bits  int
		begin [16]byte
	}
	if addr, err := netip.ParseAddr(address); err == nil {
		addr, network.bits = addr.Unmap(), 64
		if addr.Is4() {
			network.bits = 32
		}
		prefix, _ := addr.Prefix(network.bits) // both lengths are possible
		network.begin = prefix.Addr().As16()
	}
	return Client(max(maphash.Comparable(seed, network), 1))
}

// Failures counts the failures of clients, in memory that doesn't grow. All
// handlers with the same limit share it, in this configuration and the next.
//
// For each client it stores one time: when all failures will be forgiven. A failure
// moves that time on by an interval, and a client whose time is further away than
// the limit allows is limited (the generic cell rate algorithm, ITU-T I.371,
// appendix I). So the failures of a client that has gone are forgotten by
// themselves.
type Failures struct {
	limit     Config
	interval  int64 // nanoseconds in which one failure is forgiven
	most      int64 // how far ahead a client's time can be
	began     time.Time
	buckets   [failureBuckets]failureBucket
	standings standings
	lines     loglimit.Limit // for clients over the limit
	crowded   atomic.Bool    // whether crowding was reported a moment ago
}

// The size of the table. A client may be in any slot of one bucket. If the bucket
// is full, the client with the fewest failures that still count is forgotten:
// pushing out a client takes as many failures as that client has. No client is
// limited because slots are missing.
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
	forgiven atomic.Int64 // in nanoseconds since Failures.began
	told     int64        // when the client was last logged, or 0; under the bucket's lock
}

// failuresOf has the failures of each limit in this process, so that a reload
// doesn't forget them.
var failuresOf = caddy.NewUsagePool()

// Acquire returns the failures of a limit, which all handlers with that limit
// share. Each call needs one Release.
func Acquire(limit Config) *Failures {
	// The only errors are those of the function, which has none.
	value, _, _ := failuresOf.LoadOrNew(limit, func() (caddy.Destructor, error) { return newFailures(limit), nil })
	return value.(*Failures)
}

// Release releases failures that Acquire returned.
func (f *Failures) Release() {
	_, _ = failuresOf.Delete(f.limit) // the only errors are those of Destruct
}

// InUse returns how many limits have failures in this process.
func InUse() int {
	n := 0
	failuresOf.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

func newFailures(limit Config) *Failures {
	interval := max(int64(limit.Per)/int64(limit.Failures), 1)
	return &Failures{
		limit:    limit,
		interval: interval,
		most:     interval * int64(limit.Failures),
		began:    time.Now(),
		lines:    loglimit.Limit{Most: mostLines, Per: linesForTime},
	}
}

// The most lines that clients over the limit can cause, and in which time.
const (
	mostLines    = 20
	linesForTime = time.Minute
)

// Destruct does nothing: there is only memory. UsagePool calls it.
func (f *Failures) Destruct() error { return nil }

// now is the time on a clock that is never set.
func (f *Failures) now() int64 { return int64(time.Since(f.began)) }

func (f *Failures) bucket(c Client) *failureBucket {
	return &f.buckets[uint64(c)%failureBuckets]
}

// Wait returns how long a client stays limited if it doesn't fail again; 0 means
// that it isn't limited. It takes no lock.
func (f *Failures) Wait(c Client) time.Duration {
	b := f.bucket(c)
	for i := range b.slots {
		if b.slots[i].client.Load() == uint64(c) {
			return f.waitUntil(b.slots[i].forgiven.Load(), f.now())
		}
	}
	return 0
}

// waitUntil is Wait for a client whose failures are forgiven at a given time.
func (f *Failures) waitUntil(forgiven, now int64) time.Duration {
	return time.Duration(max(forgiven-now-(f.most-f.interval), 0))
}

// A Failure is what follows from a failure.
type Failure struct {
	Wait    time.Duration // Failures.Wait before this failure; 0 means within the limit
	First   bool          // the client's first failure over the limit, for a while
	Crowded bool          // another client had to be forgotten; told once in a while
}

// Note counts a failure of a client.
func (f *Failures) Note(c Client) Failure {
	b, now := f.bucket(c), f.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	slot, crowded := b.slotFor(c, now)
	noted := Failure{Wait: f.waitUntil(slot.forgiven.Load(), now), Crowded: crowded && f.tellCrowded()}
	slot.forgiven.Store(min(max(slot.forgiven.Load(), now)+f.interval, now+f.most))
	if noted.Wait > 0 && (slot.told == 0 || now-slot.told >= f.most) {
		noted.First, slot.told = true, now
	}
	return noted
}

// tellCrowded reports whether a log line is due that says that clients are
// forgotten.
func (f *Failures) tellCrowded() bool {
	if !f.crowded.CompareAndSwap(false, true) {
		return false
	}
	time.AfterFunc(linesForTime, func() { f.crowded.Store(false) })
	return true
}

// TakeLine reports whether a line about a client over the limit may be logged, and
// how many lines were left out since the last one.
func (f *Failures) TakeLine() (omitted int, ok bool) { return f.lines.Take("") }

// slotFor returns the slot of a client, and assigns one if it has none. crowded
// reports that another one lost it. The caller holds the bucket's lock.
func (b *failureBucket) slotFor(c Client, now int64) (slot *failureSlot, crowded bool) {
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
	// Write the time first: a reader may briefly take a limited client for an
	// unlimited one, but never the reverse.
	least.forgiven.Store(now)
	least.client.Store(uint64(c))
	least.told = 0
	return least, crowded
}
