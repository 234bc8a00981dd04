// Package measure puts load on gateways, one at a time, and notes what comes of
// it.
package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// Runner measures gateways in front of the same database.
type Runner struct {
	Settings results.Settings
	Wrk      *wrk.Tool
	Database *users.Database
	// Application is the process ID of what is behind all gateways.
	Application int
	// Say tells the user who waits what is being done.
	Say func(format string, args ...any)

	idle idle
}

// rotated calls do with each gateway in turn. Each round begins with another,
// so that none always comes after the same.
func rotated(gateways []*peer.Gateway, round int, do func(*peer.Gateway) error) error {
	for i := range gateways {
		g := gateways[(i+round)%len(gateways)]
		if err := do(g); err != nil {
			return fmt.Errorf("measuring %s: %w", g.Name, err)
		}
	}
	return nil
}

// durationFor is how long a gateway is measured at a time.
func (r *Runner) durationFor(g *peer.Gateway) time.Duration {
	if g.Slow {
		return max(r.Settings.Duration/2, time.Second)
	}
	return r.Settings.Duration
}

// pause lets what is left of the last load come to its end.
func pause(ctx context.Context) error { return pauseFor(ctx, 50*time.Millisecond) }

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
