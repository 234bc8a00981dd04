// Command bench compares Caddy with sesame to its peers: to Caddy without
// authentication, to its basic_auth, and to asking a real Django. It is started
// by xcaddy.sh.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/upstream"
)

func main() {
	// SIGPIPE: the reader of the output may stop, as head does.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	// The application runs in a process of its own, which is this program again.
	if len(args) == 2 && args[0] == upstreamCommand {
		return upstream.Serve(ctx, args[1])
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	return compare(ctx, o)
}

// upstreamCommand is the argument that makes this program the application.
const upstreamCommand = "upstream"

// The parts of a comparison.
const (
	partThroughput = "throughput"
	partLatency    = "latency"
	partSingle     = "single"
	partGrowth     = "growth"

	partInstructions = "instructions"
	partGateways     = "gateways"
	partRouting      = "routing"
)

var parts = []string{partThroughput, partLatency, partSingle, partInstructions, partGateways, partRouting, partGrowth}

// options are what the command line says.
type options struct {
	results.Settings
	caddy string
	out   string
	peers []peer.Peer
	parts []string
}

// quick are the options that -quick stands for.
var quick = map[string]string{
	"rounds": "2", "duration": "1s", "users": "2000", "rows": "200000",
	"parts": strings.Join(slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return part == partRouting }), ","),
}

func parseOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Compares sesame with its peers, and writes tables and charts. Options:")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.caddy, "caddy", "./caddy", "the caddy to measure")
	flags.StringVar(&o.out, "out", "bench/results", "the directory for results")
	peers := flags.String("peers", strings.Join(peer.Names(), ","), "what to compare; bare is always among it")
	partList := flags.String("parts", strings.Join(parts, ","), "what to measure; latency needs throughput")
	connections := flags.String("connections", "8,64,256", "how many connections are busy at once, for throughput")
	flags.IntVar(&o.Rounds, "rounds", 5, "how often everything is measured")
	flags.DurationVar(&o.Duration, "duration", 3*time.Second, "how long each measurement takes, in whole seconds")
	flags.IntVar(&o.Users, "users", 10_000, "how many users make requests")
	flags.IntVar(&o.Rows, "rows", 10_000_000, "the larger number of rows for growth")
	flags.BoolVar(&o.Quick, "quick", false, "a run of two minutes at most, to see that it works: fewer rounds, users and rows, and no routing")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, errors.New("it takes options only; see bench -h")
	}
	if o.Quick {
		if err := setQuick(flags); err != nil {
			return o, err
		}
	}

	var err error
	if o.peers, err = peer.ByNames(strings.Split(*peers, ",")); err != nil {
		return o, err
	}
	o.parts = strings.Split(*partList, ",")
	for _, part := range o.parts {
		if !slices.Contains(parts, part) {
			return o, fmt.Errorf("there is no part %q; there are %s", part, strings.Join(parts, ", "))
		}
	}
	for text := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-connections: %q is not a number of at least 1", text)
		}
		o.Connections = append(o.Connections, n)
	}
	return o, o.check()
}

// setQuick sets what -quick stands for, where the command line doesn't.
func setQuick(flags *flag.FlagSet) error {
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range quick {
		if given[name] {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) check() error {
	switch {
	case o.Rounds < 1:
		return errors.New("-rounds must be at least 1")
	case o.Duration < time.Second:
		return errors.New("-duration must be at least 1s")
	case o.Users < 1:
		return errors.New("-users must be at least 1")
	case o.measures(partGrowth) && o.Rows <= fewRows:
		return fmt.Errorf("-rows must be more than %d; without growth, say -parts %s", fewRows, strings.Join(parts[:len(parts)-1], ","))
	case o.measures(partLatency) && !o.measures(partThroughput):
		return errors.New("latency is measured at a rate that follows from throughput: name both in -parts")
	}
	return nil
}

func (o *options) measures(part string) bool { return slices.Contains(o.parts, part) }
