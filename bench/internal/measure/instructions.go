package measure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
)

// ErrNoCallgrind says that instructions can't be counted here.
var ErrNoCallgrind = errors.New("valgrind is not installed (Debian: apt install valgrind)")

// Callgrind counts the instructions of gateways that run under it.
type Callgrind struct{ dir string }

// NewCallgrind makes the counter, with its files in a directory.
func NewCallgrind(dir string) (*Callgrind, error) {
	for _, program := range []string{"valgrind", "callgrind_control"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, ErrNoCallgrind
		}
	}
	return &Callgrind{dir}, nil
}

// Command is what gateways run under.
func (c *Callgrind) Command() []string {
	return []string{"valgrind", "--quiet", "--tool=callgrind", "--callgrind-out-file=" + filepath.Join(c.dir, "callgrind.%p")}
}

// Env are the environment variables that gateways need under it. Signals for
// preemption disturb it. With several threads for Go code, those without work look for
// it, and what that takes depends on how Valgrind lets them take turns.
func (c *Callgrind) Env() []string { return []string{"GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1"} }

// The requests by which instructions are counted, and those before them, which
// nothing is counted of.
const (
	countedRequests = 3000
	firstRequests   = 4000
)

// Instructions counts those of gateways, which run under callgrind, for a fixed
// number of requests over one connection.
func (r *Runner) Instructions(ctx context.Context, c *Callgrind, gateways []*peer.Gateway) ([]results.Instructions, error) {
	var all []results.Instructions
	for _, g := range gateways {
		r.Say("instructions of %s", g.Title)
		counted, err := r.instructions(ctx, c, g)
		if err != nil {
			return nil, fmt.Errorf("counting the instructions of %s: %w", g.Name, err)
		}
		all = append(all, counted...)
	}
	return all, nil
}

func (r *Runner) instructions(ctx context.Context, c *Callgrind, g *peer.Gateway) ([]results.Instructions, error) {
	pids, err := g.PIDs()
	if err != nil {
		return nil, err
	}
	to, err := dial(ctx, g)
	if err != nil {
		return nil, err
	}
	defer to.close()
	for range firstRequests {
		if err := to.get(); err != nil {
			return nil, err
		}
	}
	var all []results.Instructions
	for round := range r.Settings.Rounds {
		if err := c.control(ctx, "--zero", pids[0]); err != nil {
			return nil, err
		}
		for range countedRequests {
			if err := to.get(); err != nil {
				return nil, err
			}
		}
		if err := c.control(ctx, "--dump", pids[0]); err != nil {
			return nil, err
		}
		count, err := c.read(pids[0], round+1)
		if err != nil {
			return nil, err
		}
		all = append(all, results.Instructions{Peer: g.Name, Round: round, Requests: countedRequests, Count: count})
	}
	return all, nil
}

func (c *Callgrind) control(ctx context.Context, what string, pid int) error {
	out, err := exec.CommandContext(ctx, "callgrind_control", what, strconv.Itoa(pid)).CombinedOutput() //nolint:gosec // a process of this run
	if err != nil {
		return fmt.Errorf("controlling callgrind: %w\n%s", err, out)
	}
	return nil
}

// read returns the number of instructions in a dump.
func (c *Callgrind) read(pid, number int) (int64, error) {
	file, err := os.Open(filepath.Join(c.dir, fmt.Sprintf("callgrind.%d.%d", pid, number)))
	if err != nil {
		return 0, fmt.Errorf("reading what callgrind has counted: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "totals: "); ok {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, errors.Join(errors.New("callgrind's file has no totals"), lines.Err())
}
