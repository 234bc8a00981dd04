package secondfactor

import (
	"sync"
	"time"
)

// attempts limits how many wrong codes of a user are tried, whatever clients send
// them: five at once, and then one a minute, as allauth does. Only clients that know
// the user's password, or have a link of the user's mailbox, count, so that no other
// one can lock the user out. django-otp
// also counts in its rows, for all gateways.
type attempts struct {
	mu sync.Mutex
	of map[attempted]time.Time // when all wrong codes of a user are forgiven
}

type attempted struct{ users, user string }

const (
	attemptsAtOnce   = 5
	attemptForgiven  = time.Minute
	mostAttemptUsers = 1 << 16
)

// allAttempts are those of the process. They outlive a reload.
var allAttempts = attempts{of: make(map[attempted]time.Time)}

// begin counts a code, and returns how long its user has to wait until a code is
// tried; 0 for not at all. Where it is 0, and the code is right, the caller calls
// succeed.
func (a *attempts) begin(of attempted, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, isKnown := a.of[of]
	if until.Before(now) {
		until = now
	}
	if wait := until.Sub(now) - (attemptsAtOnce-1)*attemptForgiven; wait > 0 {
		return wait
	}
	if !isKnown && len(a.of) >= mostAttemptUsers {
		a.forget(now)
		if len(a.of) >= mostAttemptUsers {
			return attemptForgiven
		}
	}
	a.of[of] = until.Add(attemptForgiven)
	return 0
}

// forget removes users whose wrong codes are all forgiven.
func (a *attempts) forget(now time.Time) {
	for of, until := range a.of {
		if !until.After(now) {
			delete(a.of, of)
		}
	}
}

// succeed forgives the wrong codes of a user.
func (a *attempts) succeed(of attempted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, of)
}

// unchecked takes back a code that wasn't tried.
func (a *attempts) unchecked(of attempted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until, ok := a.of[of]; ok {
		a.of[of] = until.Add(-attemptForgiven)
	}
}
