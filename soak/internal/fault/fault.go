// Package fault breaks MySQL and the gateways of a soak, one thing at a time,
// and sees how long it takes until all is well again.
package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// Site is what can be broken.
type Site struct {
	Books *ledger.Ledger
	Table *people.Table
	// Gateways are two: the first is never ended, so that its memory can be
	// compared over the whole time.
	Gateways []*gateway.Gateway
	// Probe is a person whose row no fault changes, and Tokens make tokens for that
	// person: a gateway that accepts one works.
	Probe  *people.Person
	Tokens *token.Tokens
	// Say tells the user who watches what happens.
	Say func(format string, args ...any)

	mu      sync.Mutex
	slowest map[string]time.Duration
}

// fault is a way to break something. It returns when it is mended.
type fault struct {
	name string
	run  func(*Site, context.Context, *rand.Rand) error
}

var faults = []fault{
	{"MySQL frozen", (*Site).freeze},
	{"MySQL crashed", (*Site).crash},
	{"MySQL restarted", (*Site).restart},
	{"connections to MySQL killed", (*Site).killConnections},
	{"table locked", (*Site).lockTable},
	{"MySQL read-only", (*Site).readOnly},
	{"a gateway crashed", (*Site).crashGateway},
	{"a gateway restarted", (*Site).restartGateway},
	{"a gateway restarted without MySQL", (*Site).restartGatewayWithoutMySQL},
	{"gateways reloaded", (*Site).reload},
	{"gateways reloaded while MySQL is frozen", (*Site).reloadWhileFrozen},
	{"a bad configuration loaded", (*Site).reloadBadly},
}

// Run breaks things until ctx ends, and returns when all is mended. Each fault
// has its turn before any comes again; the same seed makes the same choices.
func (s *Site) Run(ctx context.Context, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // it is to be repeatable
	for {
		for _, i := range random.Perm(len(faults)) {
			// A while in which nothing is broken.
			if !pause(ctx, between(random, 2*time.Second, 5*time.Second)) {
				return nil
			}
			if err := s.breakAndMend(faults[i], random); err != nil {
				return err
			}
		}
	}
}

// breakAndMend isn't interrupted: what is broken must be mended.
func (s *Site) breakAndMend(f fault, random *rand.Rand) error {
	begin := time.Now()
	if err := f.run(s, context.Background(), random); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	s.Books.Count("faults", f.name)
	s.Say("%s, for %s", f.name, time.Since(begin).Round(time.Millisecond))
	return nil
}

func pause(ctx context.Context, d time.Duration) (ok bool) {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

// outage runs what takes MySQL away and brings it back. It is over when all
// gateways accept a user again.
func (s *Site) outage(ctx context.Context, name string, takeAway func() error) error {
	end := s.Books.MySQL.Begin()
	defer end()
	if err := takeAway(); err != nil {
		return err
	}
	return s.awaitService(ctx, name)
}

// The time within which the gateways are to let people in again when MySQL is
// back, and the one after which it is a violation also on a machine that is
// busy with other things.
const (
	BackWithin = 2 * time.Second
	backLimit  = 15 * time.Second
)

// awaitService waits until every gateway accepts a user, and notes how long
// that took.
func (s *Site) awaitService(ctx context.Context, name string) error {
	begin := time.Now()
	for _, g := range s.Gateways {
		for !s.serves(ctx, g) {
			if time.Since(begin) > backLimit {
				s.Books.Violation("%s: gateway %s doesn't let people in %s after it was over", name, g.Name, backLimit)
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slowest == nil {
		s.slowest = make(map[string]time.Duration)
	}
	s.slowest[name] = max(s.slowest[name], time.Since(begin))
	return nil
}

// Recovery is how long users weren't accepted after a fault was over.
type Recovery struct {
	Fault   string
	Slowest time.Duration
}

// Recoveries are those of all faults.
func (s *Site) Recoveries() []Recovery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Recovery
	for _, f := range faults {
		if slowest, ok := s.slowest[f.name]; ok {
			all = append(all, Recovery{f.name, slowest})
		}
	}
	return all
}

var probes = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// serves reports whether a gateway accepts a valid token.
func (s *Site) serves(ctx context.Context, g *gateway.Gateway) bool {
	password, _ := s.Probe.Now()
	made, err := s.Tokens.Create(token.IntKey(s.Probe.ID), token.User{Password: &password}, "", time.Now())
	if err != nil {
		return false
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Address+gateway.PathAPI, nil)
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+made)
	answer, err := probes.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close() // the status is enough
	return answer.StatusCode == http.StatusOK
}

// WatchMySQL asks MySQL all the time, so that it is known when it is slow for
// other reasons: the machine may be busy. It returns when ctx ends.
func (s *Site) WatchMySQL(ctx context.Context) {
	for pause(ctx, 100*time.Millisecond) {
		s.askMySQL(ctx)
	}
}

// slow is when MySQL counts as away. It is less than a gateway waits.
const slow = gateway.QueryTimeout / 4

func (s *Site) askMySQL(ctx context.Context) {
	begin := time.Now()
	var end func()
	var mu sync.Mutex
	timer := time.AfterFunc(slow, func() {
		mu.Lock()
		defer mu.Unlock()
		end = s.Books.MySQL.BeginAt(begin)
	})
	var one int
	err := s.Table.Admin.QueryRowContext(ctx, "SELECT COUNT(*) FROM auth_user WHERE id = ?", people.FirstID).Scan(&one)
	timer.Stop()
	mu.Lock()
	defer mu.Unlock()
	switch {
	case end != nil:
		end()
	case err != nil && ctx.Err() == nil:
		s.Books.MySQL.BeginAt(begin)()
	}
}

// refusedOnly returns the error of loading a configuration unless the gateway
// refused it.
func refusedOnly(err error) error {
	if errors.Is(err, gateway.ErrRefused) {
		return nil
	}
	return err
}
