package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/openloop"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// Latency measures gateways at a rate of requests per second that doesn't depend on
// how soon they answer, each right after the bare one. Those that leave requests
// without an answer are named in skipped.
func (r *Runner) Latency(ctx context.Context, gateways []*peer.Gateway, rate int) (all []results.Latency, skipped []results.Skipped, err error) {
	bare, others := withoutBare(gateways)
	for round := range r.Settings.Rounds {
		r.Say("latency at %d requests per second: round %d of %d", rate, round+1, r.Settings.Rounds)
		var lost []results.Skipped
		err := rotated(others, round, func(g *peer.Gateway) error {
			if g != bare {
				beside, err := r.latency(ctx, bare, rate)
				if err != nil {
					return fmt.Errorf("measuring %s beside it: %w", bare.Name, err)
				}
				beside.Round, beside.Beside = round, g.Name
				all = append(all, beside)
			}
			measured, err := r.latency(ctx, g, rate)
			if errors.Is(err, openloop.ErrUnanswered) && g.Name != peer.Bare && g.Name != peer.Sesame {
				lost = append(lost, results.Skipped{Name: g.Name, Reason: fmt.Sprintf("latency: it doesn't keep up with %d requests per second", rate)})
				return nil
			}
			measured.Round = round
			all = append(all, measured)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		// What is left of one that was lost would be of fewer rounds.
		for _, l := range lost {
			others = slices.DeleteFunc(slices.Clone(others), func(g *peer.Gateway) bool { return g.Name == l.Name })
			all = slices.DeleteFunc(all, func(m results.Latency) bool { return m.Peer == l.Name || m.Beside == l.Name })
		}
		skipped = append(skipped, lost...)
	}
	return all, skipped, nil
}

// settling is how long a load goes on before it is measured.
const settling = 500 * time.Millisecond

// latency measures one gateway once.
func (r *Runner) latency(ctx context.Context, g *peer.Gateway, rate int) (results.Latency, error) {
	if err := pause(ctx); err != nil {
		return results.Latency{}, err
	}
	address, requests := g.Raw()
	got, err := openloop.Run(ctx, openloop.Load{
		Address: address, Requests: requests, Rate: rate,
		Duration: settling + r.durationFor(g), Settling: settling,
	})
	if err != nil {
		return results.Latency{}, err
	}
	return results.Latency{
		Peer: g.Name, Rate: rate, Requests: len(got.Latencies),
		P50:    stats.Percentile(got.Latencies, 50),
		P90:    stats.Percentile(got.Latencies, 90),
		P99:    stats.Percentile(got.Latencies, 99),
		P999:   stats.Percentile(got.Latencies, 99.9),
		Max:    stats.Percentile(got.Latencies, 100),
		Behind: stats.Percentile(got.Behind, 99),
	}, nil
}
