package measure

import (
	"context"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
)

// idle is what gateways ask the database without requests: those that follow its binlog
// ask how long it is.
type idle struct {
	perSecond float64 // of all gateways
	following int     // gateways that follow
}

// countIdle counts what the gateways ask while none is under load.
func (r *Runner) countIdle(ctx context.Context, gateways []*peer.Gateway) error {
	r.idle = idle{}
	for _, g := range gateways {
		if g.Follows() {
			r.idle.following++
		}
	}
	if r.idle.following == 0 {
		return nil
	}
	const enough = 4 * time.Second
	before, err := r.Database.Counters(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pauseFor(ctx, enough); err != nil {
		return err
	}
	after, err := r.Database.Counters(ctx)
	if err != nil {
		return err
	}
	r.idle.perSecond = float64(after.Since(before).Questions) / time.Since(began).Seconds()
	return nil
}

// askedByOthers is how many questions the other gateways have asked while one was under
// load. What that asked for itself stays its own.
func (r *Runner) askedByOthers(g *peer.Gateway, duration time.Duration) int64 {
	if r.idle.following == 0 {
		return 0
	}
	others := r.idle.following
	if g.Follows() {
		others--
	}
	share := float64(others) / float64(r.idle.following)
	return int64(r.idle.perSecond*duration.Seconds()*share + 0.5)
}
