package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/upstream"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// changesPerSecond is how many users are changed while several gateways are under
// load.
const changesPerSecond = 1000

// Group is several gateways of one kind, with one database.
type Group struct {
	Name     string
	Gateways []*peer.Gateway

	// Balancer is in front of the gateways, if there is one, and Policy how it chooses.
	Balancer *peer.Gateway
	Policy   string
}

// loaded are those of a group that get the requests.
func (g Group) loaded() []*peer.Gateway {
	if g.Balancer != nil {
		return []*peer.Gateway{g.Balancer}
	}
	return g.Gateways
}

// Gateways measures groups of gateways, in turn, under the same number of
// connections altogether, while users change.
func (r *Runner) Gateways(ctx context.Context, groups []Group) ([]results.Gateways, error) {
	var all []results.Gateways
	for round := range r.Settings.Rounds {
		r.Say("several gateways: round %d of %d", round+1, r.Settings.Rounds)
		for i := range groups {
			g := groups[(i+round)%len(groups)]
			measured, err := r.group(ctx, g)
			if err != nil {
				return nil, fmt.Errorf("measuring %d gateways of %s: %w", len(g.Gateways), g.Name, err)
			}
			measured.Round = round
			all = append(all, measured)
		}
	}
	return all, nil
}

// group measures one group once.
func (r *Runner) group(ctx context.Context, g Group) (results.Gateways, error) {
	none := results.Gateways{}
	// The first load of each is not measured.
	if _, err := r.loadAll(ctx, g.loaded(), time.Second); err != nil {
		return none, err
	}
	changes, stop := r.change(ctx)
	before, beforeCPU, err := r.database(ctx)
	if err != nil {
		return none, errors.Join(err, stop())
	}
	changed := changes()
	began := time.Now()
	requests, err := r.loadAll(ctx, g.loaded(), r.Settings.Duration)
	took := time.Since(began)
	changed = changes() - changed
	after, afterCPU, afterErr := r.database(ctx)
	if err = errors.Join(err, afterErr, stop()); err != nil {
		return none, err
	}
	return results.Gateways{
		Peer: g.Name, Gateways: len(g.Gateways), Policy: g.Policy, Duration: took, Requests: requests, Changes: changed,
		// A few changes may be counted on one side only.
		Questions:   max(after-before-changed, 0),
		DatabaseCPU: afterCPU - beforeCPU,
	}, nil
}

// database returns what the database has been asked, and its CPU time.
func (r *Runner) database(ctx context.Context) (questions int64, cpu time.Duration, err error) {
	if cpu, err = peer.CPUTime(r.Database.PID()); err != nil {
		return 0, 0, err
	}
	counters, err := r.Database.Counters(ctx)
	return counters.Questions, cpu, err
}

// loadAll has all gateways under load at once, and returns the number of requests.
func (r *Runner) loadAll(ctx context.Context, gateways []*peer.Gateway, duration time.Duration) (int64, error) {
	var requests atomic.Int64
	errs := make([]error, len(gateways))
	var all sync.WaitGroup
	for i, g := range gateways {
		all.Go(func() {
			answered, err := r.Wrk.Run(ctx, wrk.Load{
				URL: g.URL, Requests: g.RequestsFile, Connections: max(r.Settings.Reference()/len(gateways), 1),
				Duration: duration, MinBody: upstream.Size,
			})
			requests.Add(answered.Requests)
			errs[i] = err
		})
	}
	all.Wait()
	return requests.Load(), errors.Join(errs...)
}

// change changes users, one after the other, at a fixed rate, in a column that is
// read with them and that no token depends on. changes is how many so far.
func (r *Runner) change(ctx context.Context) (changes func() int64, stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var count atomic.Int64
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = r.Database.Change(ctx, peer.Table, r.Settings.Users, changesPerSecond, func() { count.Add(1) })
	}()
	return count.Load, func() error {
		cancel()
		<-done
		return err
	}
}
