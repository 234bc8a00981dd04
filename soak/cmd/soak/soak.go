package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/application"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/fault"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/gateway"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/traffic"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// How many people there are, with tokens for many uses and for one.
const (
	reusable = 150
	once     = 60
)

// site is all that runs.
type site struct {
	settings
	started   time.Time
	secretKey string
	books     ledger.Ledger
	table     *people.Table
	app       *application.Application
	gateways  []*gateway.Gateway
	faults    *fault.Site
	figures   figures
}

// soak runs one. The error says what was wrong.
func soak(ctx context.Context, cfg settings, dir string) error {
	fmt.Printf("soak of %s with seed %d\n", cfg.duration, cfg.seed)
	s := &site{settings: cfg}
	defer s.stop()
	if err := s.start(ctx, dir); err != nil {
		return err
	}
	s.say("all is up")
	if err := s.run(ctx); err != nil {
		return err
	}
	s.say("no more requests")
	if err := s.awaitRest(ctx); err != nil {
		return err
	}
	if err := s.lookForSecrets(ctx); err != nil {
		return err
	}
	s.say("all is at rest")
	s.figures.judge(&s.books)
	return s.report(os.Stdout)
}

// start starts MySQL, the application, and the gateways.
func (s *site) start(ctx context.Context, dir string) error {
	s.started = time.Now()
	key := sha256.Sum256([]byte("soak" + strconv.FormatUint(s.seed, 10)))
	s.secretKey = hex.EncodeToString(key[:])
	var err error
	if s.table, err = people.Start(ctx, dir, reusable, once); err != nil {
		return err
	}
	if s.app, err = application.Start(&s.books); err != nil {
		return err
	}
	cfg := gateway.Config{Caddy: s.caddy, Upstream: s.app.Address, SecretKey: s.secretKey, Options: s.options}
	for _, name := range []string{"1", "2"} {
		dsn, err := s.table.Account(ctx, "gateway"+name)
		if err != nil {
			return err
		}
		// Rows that are kept for some time and rows that are followed exclude each other.
		if name == "2" && !strings.Contains(s.options, "cache") {
			if cfg.FollowDSN, err = s.table.FollowAccount(ctx, "follow"+name); err != nil {
				return err
			}
		}
		g, err := gateway.Start(ctx, cfg, name, dsn, dir)
		if g != nil {
			s.gateways = append(s.gateways, g)
		}
		if err != nil {
			return err
		}
	}
	tokens, err := token.New(token.Settings{SecretKey: s.secretKey, MaxAge: new(traffic.MaxAge), Encoding: token.LongPacker})
	if err != nil {
		return err
	}
	// The last of those for one use has no other business.
	last := len(s.table.Once) - 1
	s.faults = &fault.Site{
		Books: &s.books, Table: s.table, Gateways: s.gateways,
		Probe: s.table.Once[last], Tokens: tokens, Say: s.say,
	}
	s.table.Once = s.table.Once[:last]
	return nil
}

// stop ends whatever was started.
func (s *site) stop() {
	for _, g := range s.gateways {
		g.Stop()
	}
	if s.app != nil {
		s.app.Stop()
	}
	if s.table != nil {
		s.table.Stop()
	}
}

func (s *site) say(format string, args ...any) {
	fmt.Printf("%6s  %s\n", time.Since(s.started).Round(time.Second), fmt.Sprintf(format, args...))
}

// run has traffic and faults go on for as long as they are to.
func (s *site) run(ctx context.Context) error {
	clients, err := traffic.New(s.secretKey, &s.books, s.table, s.app, s.gateways)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()

	var watchers sync.WaitGroup
	watchers.Go(func() { s.faults.WatchMySQL(watching) })
	watchers.Go(func() { s.figures.read(watching, s.gateways[0], s.table.Port(), &s.books) })

	var all sync.WaitGroup
	all.Go(func() { clients.Run(ctx, s.seed, s.rate) })
	all.Go(func() {
		if err := s.faults.Run(ctx, s.seed); err != nil {
			s.books.Violation("%v", err)
			cancel()
		}
	})
	all.Wait()
	stopWatching()
	watchers.Wait()
	for _, g := range s.gateways {
		if err := g.Check(); err != nil {
			return err
		}
	}
	return nil
}

// restLimit is longer than anything in a gateway goes on without requests:
// connections that have nothing to do end after some seconds.
const restLimit = time.Minute

// mostAtRest is how many goroutines a gateway has that has nothing to do, and
// some more.
const mostAtRest = 60

// awaitRest waits until nothing goes on in the gateways any more.
func (s *site) awaitRest(ctx context.Context) error {
	for _, g := range s.gateways {
		deadline := time.Now().Add(restLimit)
		for {
			now, err := g.Figures(ctx, s.table.Port())
			if err != nil {
				return err
			}
			if now.Goroutines <= mostAtRest && now.MySQL <= g.AtRest() {
				s.books.Add("gateway "+g.Name+" at rest", "goroutines", now.Goroutines)
				s.books.Add("gateway "+g.Name+" at rest", "descriptors", now.Descriptors)
				break
			}
			if time.Now().After(deadline) {
				s.books.Violation("gateway %s has %d goroutines and %d connections to MySQL %s after the last request", g.Name, now.Goroutines, now.MySQL, restLimit)
				stacks, err := g.Goroutines(ctx)
				if err != nil {
					return err
				}
				fmt.Println(stacks)
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

// lookForSecrets looks for tokens, sessions and keys in the logs and metrics.
func (s *site) lookForSecrets(ctx context.Context) error {
	secrets := ledger.NewSecrets(
		[]string{people.TokenPrefix, sessionPrefix(s.started), sessionPrefix(time.Now())},
		s.secretKey, people.AccountPassword, "pbkdf2_sha256")
	for _, g := range s.gateways {
		for _, path := range g.Logs() {
			size, found, err := secrets.LookIn(path)
			if err != nil {
				return err
			}
			if found != "" {
				s.books.Violation("a secret is in the log %s: %s", path, found)
			}
			s.books.Add("MB of logs without a token", "gateway "+g.Name, int(size>>20))
		}
		metrics, err := g.Metrics(ctx)
		if err != nil {
			return err
		}
		if secrets.AreIn(metrics) {
			s.books.Violation("a secret is in the metrics of gateway %s", g.Name)
		}
	}
	return nil
}

// sessionPrefix is what a session begins with that is made at a time: three
// bytes in base64, of which two are of the time.
func sessionPrefix(at time.Time) string {
	seconds := at.Unix()
	return base64.RawURLEncoding.EncodeToString([]byte{1, byte(seconds >> 24), byte(seconds >> 16)})
}
