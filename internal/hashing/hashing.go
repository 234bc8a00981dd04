// Package hashing keeps the cost of password checks within bounds: how many are
// at work at once and how much of the CPUs wrong passwords take (queue), how often
// a password can be guessed (guesses), and that right ones needn't be hashed again
// for each request (Verdicts). It knows neither requests nor how passwords are
// hashed.
package hashing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// hashed counts the passwords that were hashed.
var hashed atomic.Uint64

// Hashed returns how many passwords this process has hashed.
func Hashed() uint64 { return hashed.Load() }

// Shared is shared by all handlers of a process that check the passwords of the
// same users in the same way, in this configuration and the next.
type Shared struct {
	queue    *queue
	Verdicts *Verdicts

	guesses *guesses
	flights flights
	of      Key
}

// Key says which handlers share.
type Key struct {
	AtWork int    // see newQueue
	Users  string // the table of the users, and how their passwords are checked
}

// inUse has each Shared of this process, so that a reload forgets nothing.
var inUse = caddy.NewUsagePool()

// Acquire returns the Shared of a key. Each call needs one Release.
func Acquire(of Key) (*Shared, error) {
	value, _, err := inUse.LoadOrNew(of, func() (caddy.Destructor, error) {
		return NewShared(of), nil
	})
	if err != nil {
		return nil, fmt.Errorf("sharing password checks: %w", err)
	}
	return value.(*Shared), nil
}

// NewShared makes a Shared for one caller alone.
func NewShared(of Key) *Shared {
	return &Shared{
		queue: newQueue(of.AtWork), Verdicts: NewVerdicts(), guesses: newGuesses(),
		flights: flights{all: make(map[flightID]*flight)}, of: of,
	}
}

// Release gives back what Acquire returned.
func (s *Shared) Release() error {
	if _, err := inUse.Delete(s.of); err != nil {
		return fmt.Errorf("sharing password checks: %w", err)
	}
	return nil
}

// Destruct does nothing: there is only memory. UsagePool calls it.
func (*Shared) Destruct() error { return nil }

// A Guess is a password that isn't known to be right.
type Guess struct {
	Client      Client
	User        string // see guesses.user
	Credentials Credentials
	Encoded     string // the hash that the password is checked against
	Threads     int    // how many CPUs the check takes at once; 0 means one
}

// Check has check called for a guess: after the delay that failures have earned
// the client and the user, and when it is its turn. It counts the result, and
// returns it. The error is a *TooMany, a *Busy or the context's; then it isn't
// known whether the password is right.
//
// The same guess that a client sends several times at once is checked once, as a
// browser or a WebDAV client sends its first requests all together.
func (s *Shared) Check(ctx context.Context, g Guess, check func() (isRight bool)) (isRight bool, err error) {
	id := flightID{g.Client, s.Verdicts.mac(forHash, string(g.Credentials.id[:]), g.Encoded)}
	for {
		f, isFirst := s.flights.join(id)
		if isFirst {
			return s.fly(ctx, id, f, g, check)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.isRight, f.err
		} // the other client has left, and this one hasn't
	}
}

// fly checks a guess for all requests that wait for it.
func (s *Shared) fly(ctx context.Context, id flightID, f *flight, g Guess, check func() (isRight bool)) (bool, error) {
	defer s.flights.end(id, f)
	f.isRight, f.err = s.check(ctx, g, check)
	return f.isRight, f.err
}

// check is Check without regard to others.
func (s *Shared) check(ctx context.Context, g Guess, check func() (isRight bool)) (bool, error) {
	made, err := s.guesses.begin(g.Client, g.User)
	if err != nil {
		return false, err
	}
	became := unchecked
	defer func() { s.guesses.end(made, became) }()
	if err := s.guesses.wait(ctx, made); err != nil {
		return false, err
	}
	err = s.queue.run(ctx, g.Client, made.rank, max(g.Threads, 1), func() (isWrong bool) {
		hashed.Add(1)
		became = wrong // also if check panics
		if check() {
			became = right
		}
		return became == wrong
	})
	return became == right, err
}

// flights are the guesses being checked.
type flights struct {
	mu  sync.Mutex
	all map[flightID]*flight
}

type flightID struct {
	client Client
	mac    [32]byte // of credentials and hash
}

// flight is a guess that is being checked. isRight and err are set when done is
// closed.
type flight struct {
	done    chan struct{}
	isRight bool
	err     error
}

// join returns the flight with an id. The first to join must end it.
func (f *flights) join(id flightID) (joined *flight, isFirst bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if joined, ok := f.all[id]; ok {
		return joined, false
	}
	joined = &flight{done: make(chan struct{})}
	f.all[id] = joined
	return joined, true
}

func (f *flights) end(id flightID, ended *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, id)
	close(ended.done)
}
