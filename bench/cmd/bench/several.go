package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/measure"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
)

// counted are the peers whose instructions are counted.
var counted = []string{peer.Bare, peer.Sesame, peer.Cache, peer.Follow, peer.Session}

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
		c.say("starting %d gateways with %s", groupSizes[len(groupSizes)-1], kind)
		var all []*peer.Gateway
		for number := range groupSizes[len(groupSizes)-1] {
			g, err := site.StartNumbered(ctx, kind, number+1)
			if err != nil {
				return errors.Join(err, site.Check())
			}
			all = append(all, g)
		}
		for _, n := range groupSizes {
			groups = append(groups, measure.Group{Name: kind, Gateways: all[:n]})
		}
	}
	c.results.Gateways, err = c.runner.Gateways(ctx, groups)
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
