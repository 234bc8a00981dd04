package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/upstream"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// Throughput measures all gateways, in rounds, with each number of connections.
// The bare one takes turns with each of the others: a machine that others share is
// another one some seconds later.
func (r *Runner) Throughput(ctx context.Context, gateways []*peer.Gateway) ([]results.Throughput, error) {
	bare, others := withoutBare(gateways)
	if err := r.countIdle(ctx, gateways); err != nil {
		return nil, err
	}
	var all []results.Throughput
	for round := range r.Settings.Rounds {
		for _, connections := range r.Settings.Connections {
			r.Say("throughput: round %d of %d, %d connections", round+1, r.Settings.Rounds, connections)
			err := rotated(others, round, func(g *peer.Gateway) error {
				if g.Variant && connections != r.Settings.Reference() {
					return nil
				}
				beside, measured, err := r.besideBare(ctx, bare, g, connections)
				beside.Round, measured.Round = round, round
				all = append(all, beside, measured)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// withoutBare parts the bare gateway from the others that are to be compared with it.
// Alone it is compared with itself.
func withoutBare(gateways []*peer.Gateway) (bare *peer.Gateway, others []*peer.Gateway) {
	for _, g := range gateways {
		if g.Name == peer.Bare {
			bare = g
		} else {
			others = append(others, g)
		}
	}
	if len(others) == 0 {
		others = gateways
	}
	return bare, others
}

// besideBare measures a gateway and the bare one in turns, and begins and ends with
// the bare one.
func (r *Runner) besideBare(ctx context.Context, bare, g *peer.Gateway, connections int) (beside, measured results.Throughput, err error) {
	turn := r.turnOf(g)
	if beside, err = r.throughput(ctx, bare, connections, time.Second); err != nil {
		return beside, measured, err
	}
	for range r.durationFor(g) / turn {
		if err := r.addThroughput(ctx, &measured, g, connections, turn); err != nil {
			return beside, measured, err
		}
		if err := r.addThroughput(ctx, &beside, bare, connections, time.Second); err != nil {
			return beside, measured, err
		}
	}
	beside.Beside = g.Name
	return beside, measured, nil
}

// turnOf is how long a gateway is measured before it is the bare one's turn: a second,
// or all the time where each turn would first need some seconds of other load.
func (r *Runner) turnOf(g *peer.Gateway) time.Duration {
	if g.Slow || g.Warm || g.Beside != nil {
		return r.durationFor(g)
	}
	return min(time.Second, r.durationFor(g))
}

// addThroughput measures a gateway once more.
func (r *Runner) addThroughput(ctx context.Context, sum *results.Throughput, g *peer.Gateway, connections int, duration time.Duration) error {
	measured, err := r.throughput(ctx, g, connections, duration)
	if err != nil {
		return err
	}
	measured.Add(*sum)
	*sum = measured
	return nil
}

// besideFor is how long other load is on a gateway before it is measured: what the
// gateway allows at once is over then.
const besideFor = 6 * time.Second

// throughput measures one gateway once.
func (r *Runner) throughput(ctx context.Context, g *peer.Gateway, connections int, duration time.Duration) (results.Throughput, error) {
	none := results.Throughput{}
	if err := pause(ctx); err != nil {
		return none, err
	}
	load := wrk.Load{
		URL: g.URL, Requests: g.RequestsFile, Connections: connections,
		Duration: duration, MinBody: upstream.Size,
	}
	if g.Beside != nil {
		defer g.Beside(ctx)()
		if err := pauseFor(ctx, besideFor); err != nil {
			return none, err
		}
	}
	if g.Warm {
		load.Duration = max(duration/4, time.Second)
		if _, err := r.Wrk.Run(ctx, load); err != nil {
			return none, err
		}
		load.Duration = duration
	}
	before, err := r.used(ctx, g)
	if err != nil {
		return none, err
	}
	answered, err := r.Wrk.Run(ctx, load)
	if err != nil {
		return none, err
	}
	after, err := r.used(ctx, g)
	if err != nil {
		return none, err
	}
	counted := after.counters.Since(before.counters)
	counted.Questions = max(counted.Questions-r.askedByOthers(g, after.at.Sub(before.at)), 0)
	return results.Throughput{
		Peer: g.Name, Connections: connections,
		Requests: answered.Requests, Duration: answered.Duration, P50: answered.P50, P99: answered.P99,
		GatewayCPU:  after.gateway - before.gateway,
		DatabaseCPU: after.database - before.database,
		BackendCPU:  after.backend - before.backend,

		ApplicationCPU: after.application - before.application,
		LoadCPU:        answered.CPU,

		Resident: after.memory.Resident, Peak: after.memory.Peak,
		Questions: counted.Questions, Executed: counted.Executed, PagesRead: counted.PagesRead,
		Hits: after.hits.Since(before.hits).Kept,
	}, nil
}

// usage is what was used up to a moment.
type usage struct {
	gateway, database, backend, application time.Duration // CPU time

	memory   peer.Memory
	hits     peer.Hits
	counters users.Counters
	at       time.Time // when counters was read
}

func (r *Runner) used(ctx context.Context, g *peer.Gateway) (usage, error) {
	var u usage
	pids, err := g.PIDs()
	if err != nil {
		return u, fmt.Errorf("finding the gateway's processes: %w", err)
	}
	backend, err := g.BackendPIDs()
	if err != nil {
		return u, fmt.Errorf("finding the processes behind the gateway: %w", err)
	}
	if u.gateway, err = peer.CPUTime(pids...); err != nil {
		return u, err
	}
	if u.backend, err = peer.CPUTime(backend...); err != nil {
		return u, err
	}
	if u.database, err = peer.CPUTime(r.Database.PID()); err != nil {
		return u, err
	}
	if u.application, err = peer.CPUTime(r.Application); err != nil {
		return u, err
	}
	if u.memory, err = peer.MemoryOf(pids); err != nil {
		return u, err
	}
	if u.hits, err = g.Hits(ctx); err != nil {
		return u, err
	}
	u.counters, err = r.Database.Counters(ctx)
	u.at = time.Now()
	return u, err
}
