package measure

import (
	"context"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
)

// Sized is a gateway of a kind whose table has a number of rows.
type Sized struct {
	*peer.Gateway
	Kind string
	Rows int
}

// Growth measures gateways with tables of different sizes, in turn.
func (r *Runner) Growth(ctx context.Context, gateways []Sized) ([]results.Growth, error) {
	var all []results.Growth
	for round := range r.Settings.Rounds {
		r.Say("growth: round %d of %d", round+1, r.Settings.Rounds)
		for i := range gateways {
			g := gateways[(i+round)%len(gateways)]
			measured, err := r.throughput(ctx, g.Gateway, r.Settings.Reference(), r.durationFor(g.Gateway))
			if err != nil {
				return nil, err
			}
			measured.Round = round
			all = append(all, results.Growth{Kind: g.Kind, Rows: g.Rows, Throughput: measured})
		}
	}
	return all, nil
}
