package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/measure"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
)

// counted are the peers whose instructions are counted.
var counted = []string{
	peer.Bare, peer.Sesame, peer.Cache, peer.Follow, peer.Session, peer.FollowSession, peer.FollowGroups, peer.FollowAssertion,
}

// countedUsers is how many users make the requests whose instructions are counted:
// gateways are slow under callgrind.
const countedUsers = 500

// countInstructions starts peers once more, under callgrind.
func (c *comparison) countInstructions(ctx context.Context) error {
	site, err := c.furtherSite("callgrind")
	if err != nil {
		return err
	}
	defer site.Close()
	callgrind, err := measure.NewCallgrind(site.Dir)
	if errors.Is(err, measure.ErrNoCallgrind) {
		c.say("instructions aren't counted: %s", err)
		return nil
	}
	if err != nil {
		return err
	}
	site.Under, site.Env = callgrind.Command(), callgrind.Env()
	site.Users = site.Users[:min(countedUsers, len(site.Users))]
	var gateways []*peer.Gateway
	chosen, err := peer.ByNames(counted)
	if err != nil {
		return err
	}
	for _, p := range chosen {
		if c.gateway(p.Name) == nil {
			continue // it isn't asked for, or can't be run
		}
		c.say("starting %s under callgrind", p.Title)
		g, err := site.Start(ctx, p)
		if err != nil {
			return errors.Join(err, site.Check())
		}
		gateways = append(gateways, g)
	}
	c.results.Instructions, err = c.runner.Instructions(ctx, callgrind, gateways)
	return err
}

// groupSizes are the numbers of gateways that are measured together.
var groupSizes = []int{1, 2, 4, 8}

// measureGateways starts several gateways of each kind.
func (c *comparison) measureGateways(ctx context.Context) error {
	site, err := c.furtherSite("several")
	if err != nil {
		return err
	}
	defer site.Close()
	var groups []measure.Group
	for _, kind := range []string{peer.Sesame, peer.Follow} {
		if c.gateway(kind) == nil {
			continue
		}
		all, err := c.startGateways(ctx, site, kind)
		if err != nil {
			return err
		}
		for _, n := range groupSizes {
			groups = append(groups, measure.Group{Name: kind, Gateways: all[:n]})
		}
	}
	measured, err := c.runner.Gateways(ctx, groups)
	c.results.Gateways = append(c.results.Gateways, measured...)
	return err
}

// startGateways starts as many gateways of a kind as the largest group has.
func (c *comparison) startGateways(ctx context.Context, site *peer.Site, kind string) ([]*peer.Gateway, error) {
	most := slices.Max(groupSizes)
	c.say("starting %d gateways with %s", most, kind)
	var all []*peer.Gateway
	for number := range most {
		g, err := site.StartNumbered(ctx, kind, number+1)
		if err != nil {
			return nil, errors.Join(err, site.Check())
		}
		all = append(all, g)
	}
	return all, nil
}

// measureRouting measures several gateways of each kind behind a balancer.
func (c *comparison) measureRouting(ctx context.Context) error {
	for _, kind := range []string{peer.Sesame, peer.Cache, peer.Follow} {
		if c.gateway(kind) == nil {
			continue
		}
		if err := c.measureRoutingOf(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// measureRoutingOf measures gateways of a kind, which end before those of the next kind
// are started.
func (c *comparison) measureRoutingOf(ctx context.Context, kind string) error {
	site, err := c.furtherSite("routing_" + kind)
	if err != nil {
		return err
	}
	defer site.Close()
	all, err := c.startGateways(ctx, site, kind)
	if err != nil {
		return err
	}
	var groups []measure.Group
	for _, policy := range []string{peer.Unrouted, peer.Routed} {
		for _, n := range groupSizes {
			balancer, err := site.StartBalancer(ctx, policy, all[:n])
			if err != nil {
				return errors.Join(err, site.Check())
			}
			groups = append(groups, measure.Group{Name: kind, Gateways: all[:n], Balancer: balancer, Policy: policy})
		}
	}
	measured, err := c.runner.Gateways(ctx, groups)
	c.results.Gateways = append(c.results.Gateways, measured...)
	return err
}

// furtherSite is for the same application and database, with files of its own.
func (c *comparison) furtherSite(name string) (*peer.Site, error) {
	dir := filepath.Join(c.site.Dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return &peer.Site{
		Dir: dir, Caddy: c.site.Caddy, Upstream: c.site.Upstream, Database: c.site.Database,
		SecretKey: c.site.SecretKey, Users: c.site.Users,
	}, nil
}
