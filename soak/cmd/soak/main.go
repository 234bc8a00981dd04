// Command soak has two gateways work for a time, under mixed traffic and with
// faults at random. It checks that no request is lost, no user is accepted without
// the right to log in, no one-time token is used twice, and nothing grows. xcaddy.sh
// starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	caddy    string
	duration time.Duration
	rate     int
	seed     uint64
	options  string
}

func run(ctx context.Context, args []string) error {
	s, err := parseArguments(args)
	if err != nil {
		return err
	}
	dir, err := child.TempDir("sesame-soak")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	if err := soak(ctx, s, dir); err != nil {
		return fmt.Errorf("%w\nThe logs are in %s", err, dir)
	}
	return os.RemoveAll(dir)
}

func parseArguments(args []string) (settings, error) {
	s := settings{duration: 10 * time.Minute}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Has two gateways work for a time, with faults at random: soak [OPTIONS] [DURATION]. Options:")
		flags.PrintDefaults()
	}
	flags.StringVar(&s.caddy, "caddy", "./caddy", "the caddy to try")
	flags.IntVar(&s.rate, "rate", 80, "requests in a second, besides those for one-time tokens")
	flags.Uint64Var(&s.seed, "seed", rand.Uint64(), "what all that is random begins with; the same seed makes the same choices") //nolint:gosec // it is no secret
	flags.StringVar(&s.options, "options", "", `options of sesame for an experiment: with "cache 5s", the soak must fail`)
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 1 {
		return s, errors.New("it takes options, and a duration behind them; see soak -h")
	}
	if text := flags.Arg(0); text != "" {
		var err error
		if s.duration, err = time.ParseDuration(text); err != nil {
			return s, fmt.Errorf("the duration %q: write it as 10m or 90s", text)
		}
	}
	if s.duration < 10*time.Second || s.rate < 1 {
		return s, errors.New("it takes ten seconds and one request in a second, at least")
	}
	return s, nil
}
