// Package gateway runs the gateways of a soak: real Caddys with sesame, each a
// process of its own, with the same keys and the same database.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
)

// Config is what all gateways have in common.
type Config struct {
	Caddy     string // the program
	Upstream  string // host and port of the application
	SecretKey string
	Options   string // further options of sesame, for experiments
	FollowDSN string // with which the gateway follows the binlog; empty if it doesn't
}

// The limits in the configuration, for those who judge by them.
const (
	MaxOpenConns = 10
	QueryTimeout = 2 * time.Second
	Watch        = time.Second
	Lease        = time.Second // of rows, where the binlog is followed
	GracePeriod  = 3 * time.Second

	// MostConnections are those of the pool, and the one by which a gateway asks
	// whether a MySQL that gave no answer is there.
	MostConnections = MaxOpenConns + 1

	// FollowConnections are those of a gateway that follows the binlog, also at rest:
	// for each of its three sites, the stream and the one that asks where the log ends.
	FollowConnections = 3 * 2
)

// Gateway is a Caddy that listens on the same addresses for as long as there is
// a soak, though not always as the same process.
type Gateway struct {
	Name    string
	Address string // host and port

	// Away are the times when it is killed, or not up again. Reloading are
	// those when it gets another configuration.
	Away, Reloading ledger.Spans

	cfg   Config
	dsn   string
	dir   string
	admin string // host and port of its admin endpoint

	mu      sync.Mutex
	process *child.Process
	logs    []string // the files, one for each process that there was
	reloads int
}

// Start runs a gateway with its files in a directory.
func Start(ctx context.Context, cfg Config, name, dsn, dir string) (*Gateway, error) {
	g := &Gateway{Name: name, cfg: cfg, dsn: dsn, dir: filepath.Join(dir, name)}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for gateway %s: %w", name, err)
	}
	var err error
	if g.Address, err = child.FreeAddress(); err != nil {
		return nil, err
	}
	if g.admin, err = child.FreeAddress(); err != nil {
		return nil, err
	}
	return g, g.Run(ctx)
}

// Run starts the process, after Start or once more after Kill or Stop, and
// returns when it listens.
func (g *Gateway) Run(ctx context.Context) error {
	config := filepath.Join(g.dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(g.caddyfile("")), 0o600); err != nil {
		return fmt.Errorf("writing a Caddyfile: %w", err)
	}
	g.mu.Lock()
	log := filepath.Join(g.dir, fmt.Sprintf("log%d", len(g.logs)+1))
	g.logs = append(g.logs, log)
	g.mu.Unlock()
	process, err := child.Start("gateway "+g.Name, log, []string{
		"XDG_DATA_HOME=" + g.dir, "XDG_CONFIG_HOME=" + g.dir,
		"DJANGO_SECRET_KEY=" + g.cfg.SecretKey, "SESAME_DSN=" + g.dsn, "SESAME_FOLLOW_DSN=" + g.cfg.FollowDSN,
	}, g.cfg.Caddy, "run", "--adapter", "caddyfile", "--config", config)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.process = process
	g.mu.Unlock()
	return process.AwaitListening(ctx, g.Address)
}

func (g *Gateway) running() *child.Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.process
}

// AtRest is how many connections to MySQL the gateway has without requests.
func (g *Gateway) AtRest() int {
	if g.cfg.FollowDSN == "" {
		return 0
	}
	return FollowConnections
}

// Stale is how old a row may be that lets a request in.
func (g *Gateway) Stale() time.Duration {
	if g.cfg.FollowDSN == "" {
		return 0
	}
	return Lease
}

// Kill ends the process as a crash does.
func (g *Gateway) Kill() { g.running().Kill() }

// Stop ends the process as an operator does.
func (g *Gateway) Stop() { g.running().Stop() }

// Check is an error if the process has ended by itself.
func (g *Gateway) Check() error { return g.running().Check() }

// Logs are the files with all that the gateway has logged.
func (g *Gateway) Logs() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.logs...)
}

// ErrRefused is returned by Reload where the gateway refuses a configuration.
var ErrRefused = errors.New("the gateway refuses the configuration")

// Reload gives the gateway a configuration that differs a little from the one
// before.
func (g *Gateway) Reload(ctx context.Context) error {
	g.mu.Lock()
	g.reloads++
	realm := fmt.Sprintf("realm soak-%d", g.reloads)
	g.mu.Unlock()
	return g.load(ctx, g.caddyfile(realm))
}

// ReloadBadly gives the gateway a configuration that can't be right. The error
// is to be ErrRefused.
func (g *Gateway) ReloadBadly(ctx context.Context) error {
	return g.load(ctx, g.caddyfile("scope {http.request.uri.path.1}\nsignature_size 65"))
}

func (g *Gateway) load(ctx context.Context, caddyfile string) error {
	defer g.Reloading.Begin()()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.admin+"/load", bytes.NewReader([]byte(caddyfile)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "text/caddyfile")
	answer, err := adminClient.Do(request)
	if err != nil {
		return fmt.Errorf("loading a configuration into gateway %s: %w", g.Name, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return fmt.Errorf("loading a configuration into gateway %s: %w", g.Name, err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%w: %s", ErrRefused, text)
	}
	return nil
}

// adminClient is for admin endpoints, which close connections at each reload.
var adminClient = &http.Client{
	Timeout:   time.Minute,
	Transport: &http.Transport{DisableKeepAlives: true},
}
