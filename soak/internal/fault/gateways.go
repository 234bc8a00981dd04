package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
)

// mortal is the gateway that may be ended.
func (s *Site) mortal() *gateway.Gateway { return s.Gateways[1] }

// crashGateway ends a gateway without notice.
func (s *Site) crashGateway(ctx context.Context, random *rand.Rand) error {
	g := s.mortal()
	defer g.Away.Begin()()
	g.Kill()
	pause(ctx, between(random, 0, 2*time.Second))
	if err := g.Run(ctx); err != nil {
		return err
	}
	return s.awaitService(ctx, "a gateway crashed")
}

// restartGateway ends a gateway in good order, as an upgrade of one after the
// other does.
func (s *Site) restartGateway(ctx context.Context, _ *rand.Rand) error {
	g := s.mortal()
	defer g.Away.Begin()()
	g.Stop()
	if err := g.Run(ctx); err != nil {
		return err
	}
	return s.awaitService(ctx, "a gateway restarted")
}

// restartGatewayWithoutMySQL has a gateway start before MySQL does.
func (s *Site) restartGatewayWithoutMySQL(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "a gateway restarted without MySQL", func() error {
		g := s.mortal()
		defer g.Away.Begin()()
		s.Table.Server.Kill()
		g.Kill()
		if err := g.Run(ctx); err != nil {
			return err
		}
		pause(ctx, between(random, 0, 2*time.Second))
		return s.Table.Server.Restart()
	})
}

// reload gives all gateways another configuration, several times.
func (s *Site) reload(ctx context.Context, random *rand.Rand) error {
	for range 1 + random.IntN(4) {
		for _, g := range s.Gateways {
			if err := g.Reload(ctx); err != nil {
				s.Books.Violation("gateway %s: %v", g.Name, err)
			}
			s.Books.Count("configurations", "loaded")
		}
		pause(ctx, between(random, 0, time.Second))
	}
	return nil
}

// reloadWhileFrozen does the same while MySQL hangs. A gateway may refuse the
// configuration then, and goes on with the one before.
func (s *Site) reloadWhileFrozen(ctx context.Context, random *rand.Rand) error {
	return s.outage(ctx, "gateways reloaded while MySQL is frozen", func() error {
		return s.frozen(ctx, between(random, 0, 2*time.Second), func() error {
			results := make(chan error, len(s.Gateways))
			for _, g := range s.Gateways {
				go func() { results <- refusedOnly(g.Reload(ctx)) }()
			}
			var errs []error
			for range s.Gateways {
				errs = append(errs, <-results)
				s.Books.Count("configurations", "loaded while MySQL was frozen")
			}
			return errors.Join(errs...)
		})
	})
}

// reloadBadly gives all gateways a configuration that they must refuse. The one
// before goes on.
func (s *Site) reloadBadly(ctx context.Context, _ *rand.Rand) error {
	for _, g := range s.Gateways {
		switch err := g.ReloadBadly(ctx); {
		case err == nil:
			return fmt.Errorf("gateway %s takes a configuration that can't be right", g.Name)
		case !errors.Is(err, gateway.ErrRefused):
			return err
		}
		s.Books.Count("configurations", "refused")
	}
	return nil
}
