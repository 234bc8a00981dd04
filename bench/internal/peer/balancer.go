package peer

import (
	"context"
	"fmt"
	"strings"
)

// The policies of balancers: one sends requests of a user to one gateway, and the other
// to any.
const (
	Routed   = "header Authorization"
	Unrouted = "random"
)

// StartBalancer runs a Caddy that sends requests to gateways by a policy.
func (s *Site) StartBalancer(ctx context.Context, policy string, gateways []*Gateway) (*Gateway, error) {
	policyName, _, _ := strings.Cut(policy, " ")
	name := fmt.Sprintf("balancer_%s_%d", policyName, len(gateways))
	return s.Start(ctx, Peer{
		Name: name, Title: name,
		start: func(ctx context.Context, s *Site, _ Peer) (*Gateway, error) {
			addresses := make([]string, len(gateways))
			for i, g := range gateways {
				addresses[i] = strings.TrimPrefix(g.URL, "http://")
			}
			g, err := s.startCaddy(ctx, caddyConfig{name: name, upstream: strings.Join(addresses, " "), proxy: "lb_policy " + policy})
			if err != nil {
				return nil, err
			}
			g.Requests, g.users = gateways[0].Requests, gateways[0].users
			return g, nil
		},
	})
}
