package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// Site is what all gateways have in common. The caller sets what is exported,
// and closes it.
type Site struct {
	Dir          string // for files
	Caddy        string // the program
	Upstream     string // host and port of the application
	Database     *users.Database
	SecretKey    string
	Users        []users.User
	SesameSource string // a directory with django-sesame's package, or empty

	// Under is a program, and its arguments, that Caddys run under, and Env what their
	// environment has in addition; nil for none.
	Under, Env []string

	processes []*child.Process
	django    *django
	djangoErr error
}

// Start runs a peer, and sees that it lets the right requests through.
func (s *Site) Start(ctx context.Context, p Peer) (*Gateway, error) {
	g, err := p.start(ctx, s, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	g.Peer = p
	g.Order = order(p, len(g.Requests))
	g.RequestsFile = filepath.Join(s.Dir, p.Name, "requests")
	if err := wrk.WriteRequests(g.RequestsFile, g.Requests, g.Order); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	if err := g.awaitFollowing(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	if err := g.verify(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return g, nil
}

// drawsPerUser is how many requests are drawn for each user before they repeat.
const drawsPerUser = 10

// order says which of n requests a peer gets, one after the other.
func order(p Peer, n int) []int {
	if !p.Uniform {
		return users.Zipf(n, drawsPerUser*n)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Close ends all processes.
func (s *Site) Close() {
	for _, p := range slices.Backward(s.processes) {
		p.Stop()
	}
	s.processes = nil
}

// Check is an error if a process has ended.
func (s *Site) Check() error {
	for _, p := range s.processes {
		if err := p.Check(); err != nil {
			return err
		}
	}
	return nil
}

// run starts a process that listens on an address, with its files in a
// directory named after it.
func (s *Site) run(ctx context.Context, name, address string, env []string, command ...string) (*child.Process, error) {
	process, err := child.Start(name, filepath.Join(s.Dir, name, "log"), env, command...)
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, process)
	return process, process.AwaitListening(ctx, address)
}

// mkdir makes the directory for a process's files.
func (s *Site) mkdir(name string) (string, error) {
	dir := filepath.Join(s.Dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a directory: %w", err)
	}
	return dir, nil
}

// threads is how many threads run Go code in each Caddy, and how many workers
// nginx has.
func threads() int { return runtime.GOMAXPROCS(0) }

// names are those of the users whose requests a gateway gets.
func names(all []users.User) []string {
	list := make([]string, len(all))
	for i, u := range all {
		list[i] = u.Name
	}
	return list
}
