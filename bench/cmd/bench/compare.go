package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/machine"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/measure"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/report"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// fewRows is the smaller number of rows for growth.
const fewRows = 1000

// comparison is a run.
type comparison struct {
	options
	site     *peer.Site
	runner   *measure.Runner
	gateways []*peer.Gateway
	results  results.Results
	began    time.Time
}

// compare has all processes ended and all files but the results removed when it
// returns.
func compare(ctx context.Context, o options) error {
	if _, err := wrk.Find(); err != nil {
		return err // before anything takes time
	}
	caddy, err := filepath.Abs(o.caddy)
	if err != nil {
		return err
	}
	dir, err := child.TempDir("sesame-bench")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	c := &comparison{options: o, began: time.Now()}
	c.site = &peer.Site{
		Dir: dir, Caddy: caddy, SecretKey: users.NewSecretKey(), SesameSource: os.Getenv("SESAME_SRC"),
	}
	defer c.site.Close()
	if err := c.startDatabase(ctx); err != nil {
		return err
	}
	defer c.site.Database.Stop()
	application, err := startUpstream(ctx, dir)
	if err != nil {
		return err
	}
	defer application.process.Stop()
	c.site.Upstream, c.runner.Application = application.address, application.process.PID()
	if err := c.startPeers(ctx); err != nil {
		return err
	}
	if err := c.describe(ctx); err != nil {
		return err
	}
	if err := c.measure(ctx); err != nil {
		// That a server has ended says more than that it doesn't answer.
		return errors.Join(err, c.site.Check())
	}
	c.say("done")
	fmt.Println()
	fmt.Print(report.Markdown(&c.results))
	if err := report.Write(c.out, &c.results); err != nil {
		return err
	}
	fmt.Printf("\nThis, charts and all values are in %s.\n", c.out)
	return nil
}

// say tells what is being done, and since when.
func (c *comparison) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

func (c *comparison) startDatabase(ctx context.Context) error {
	dir := filepath.Join(c.site.Dir, "mariadb")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	rows := c.Users
	if c.measures(partGrowth) {
		rows += c.Rows
	}
	c.say("starting MariaDB, with %s users", results.Thousands(c.Users))
	database, err := users.Start(ctx, dir, rows)
	if err != nil {
		return err
	}
	if err = database.CreateTable(ctx, peer.Table, c.Users); err == nil {
		c.site.Users, err = database.Spread(ctx, peer.Table, c.site.SecretKey, c.Users, c.Users)
	}
	if err != nil {
		database.Stop()
		return err
	}
	c.site.Database = database
	tool, err := wrk.New(c.site.Dir)
	if err != nil {
		database.Stop()
		return err
	}
	c.runner = &measure.Runner{Settings: c.Settings, Wrk: tool, Database: database, Say: c.say}
	return nil
}

// application is what is behind all gateways.
type application struct {
	address string
	process *child.Process
}

func startUpstream(ctx context.Context, dir string) (application, error) {
	self, err := os.Executable()
	if err != nil {
		return application{}, fmt.Errorf("finding this program: %w", err)
	}
	address, err := child.FreeAddress()
	if err != nil {
		return application{}, err
	}
	process, err := child.Start("the application", filepath.Join(dir, "upstream.log"), nil, self, upstreamCommand, address)
	if err != nil {
		return application{}, err
	}
	if err := process.AwaitListening(ctx, address); err != nil {
		process.Stop()
		return application{}, err
	}
	return application{address, process}, nil
}

// startPeers runs all that can be run here, and says what can't.
func (c *comparison) startPeers(ctx context.Context) error {
	for _, p := range c.peers {
		c.say("starting %s", p.Title)
		g, err := c.site.Start(ctx, p)
		if reason, ok := errors.AsType[peer.Unavailable](err); ok {
			c.skip(results.Skipped{Name: p.Name, Reason: reason.Reason})
			continue
		}
		if err != nil {
			return errors.Join(err, c.site.Check())
		}
		c.gateways = append(c.gateways, g)
		c.results.Peers = append(c.results.Peers, results.Peer{Name: p.Name, Title: p.Title, What: p.What})
	}
	return nil
}

func (c *comparison) skip(s results.Skipped) {
	c.say("skipping %s: %s", s.Name, s.Reason)
	c.results.Skipped = append(c.results.Skipped, s)
}

// gateway returns the one with a name, or nil.
func (c *comparison) gateway(name string) *peer.Gateway {
	for _, g := range c.gateways {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// describe notes the machine, and the versions of what is measured.
func (c *comparison) describe(ctx context.Context) error {
	c.results.Settings = c.Settings
	m := machine.Describe()
	var err error
	if m.MariaDB, err = c.site.Database.Version(ctx); err != nil {
		return fmt.Errorf("asking MariaDB for its version: %w", err)
	}
	out, err := exec.CommandContext(ctx, c.site.Caddy, "version").Output() //nolint:gosec // the caddy to measure
	if err != nil {
		return fmt.Errorf("asking caddy for its version: %w", err)
	}
	m.Caddy, _, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	if m.Wrk, err = c.runner.Wrk.Version(ctx); err != nil {
		return err
	}
	if c.gateway(peer.ForwardAuth) != nil || c.gateway(peer.Nginx) != nil {
		if m.Django, err = peer.DjangoVersions(ctx); err != nil {
			return fmt.Errorf("asking Django for its version: %w", err)
		}
	}
	if c.gateway(peer.Nginx) != nil {
		if m.Nginx, err = peer.NginxVersion(ctx); err != nil {
			return fmt.Errorf("asking nginx for its version: %w", err)
		}
	}
	c.results.Machine = m
	return nil
}

func (c *comparison) measure(ctx context.Context) error {
	// What was written for logins is not to be written during a measurement.
	if err := c.settle(ctx); err != nil {
		return err
	}
	var err error
	if c.measures(partThroughput) {
		if c.results.Throughput, err = c.runner.Throughput(ctx, c.gateways); err != nil {
			return err
		}
	}
	if c.measures(partLatency) {
		if err := c.measureLatency(ctx); err != nil {
			return err
		}
	}
	bare, sesame := c.gateway(peer.Bare), c.gateway(peer.Sesame)
	if c.measures(partSingle) && sesame != nil {
		if c.results.Single, err = c.runner.Single(ctx, bare, sesame, c.gateway(peer.Follow), c.site.Users); err != nil {
			return err
		}
	}
	if c.measures(partInstructions) {
		if err := c.countInstructions(ctx); err != nil {
			return err
		}
	}
	if c.measures(partGateways) {
		if err := c.measureGateways(ctx); err != nil {
			return err
		}
	}
	if c.measures(partRouting) {
		if err := c.measureRouting(ctx); err != nil {
			return err
		}
	}
	if c.measures(partGrowth) {
		return c.measureGrowth(ctx)
	}
	return nil
}

func (c *comparison) settle(ctx context.Context) error {
	settled, err := c.site.Database.Settle(ctx)
	if err == nil && !settled {
		c.say("MariaDB is still writing to its disk; what is measured next may suffer")
	}
	return err
}

// measureLatency loads all that can bear half of what bare can.
func (c *comparison) measureLatency(ctx context.Context) error {
	reference := c.Reference()
	rate := max(int(c.results.PerSecond(peer.Bare, reference).Median/2), 1)
	var able []*peer.Gateway
	for _, g := range c.gateways {
		if g.Variant {
			continue
		}
		// What sesame can't do is to be seen, and not left out.
		if most := c.results.PerSecond(g.Name, reference).Max; most < float64(rate) && g.Name != peer.Sesame {
			c.skip(results.Skipped{
				Name: g.Name, Reason: fmt.Sprintf("latency is measured at %d requests per second, and it answers %.0f at most", rate, most),
			})
			continue
		}
		able = append(able, g)
	}
	measured, skipped, err := c.runner.Latency(ctx, able, rate)
	for _, s := range skipped {
		c.skip(s)
	}
	c.results.Latency = measured
	return err
}

// measureGrowth makes two tables, and gateways for each.
func (c *comparison) measureGrowth(ctx context.Context) error {
	var gateways []measure.Sized
	for _, rows := range []int{fewRows, c.Rows} {
		table := fmt.Sprintf("users_%d", rows)
		c.say("making a table of %s rows", results.Thousands(rows))
		if err := c.site.Database.CreateTable(ctx, table, rows); err != nil {
			return err
		}
		all, err := c.site.Database.Spread(ctx, table, c.site.SecretKey, c.Users, rows)
		if err != nil {
			return err
		}
		for _, kind := range []string{peer.Sesame, peer.Follow} {
			if kind == peer.Follow && c.gateway(kind) == nil {
				continue // it isn't asked for, or can't be run
			}
			g, err := c.site.StartTable(ctx, kind, table, all)
			if err != nil {
				return errors.Join(err, c.site.Check())
			}
			gateways = append(gateways, measure.Sized{Gateway: g, Kind: kind, Rows: rows})
		}
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	var err error
	c.results.Growth, err = c.runner.Growth(ctx, gateways)
	return err
}
