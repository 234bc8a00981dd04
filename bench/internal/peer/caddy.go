package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// caddyfile is the same for all: where it listens, what guards, where it goes,
// and what else the proxy does. By default, Caddy keeps 32 connections to an
// application; more of them keep the cost of connecting out of what is
// measured with many clients, to the advantage of bare most of all.
const caddyfile = `{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
	}
}

http://%s {
	metrics
}

http://%s {
	%s
	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host 1024
		}
		%s
	}
}
`

// caddyConfig is what differs between Caddys.
type caddyConfig struct {
	name     string
	guard    string // the directive, or empty
	upstream string // where requests go, if not to the application
	proxy    string // options of reverse_proxy
}

// startCaddy runs a Caddy. A configuration that it doesn't know how to adapt is
// an error of type notAdapted.
func (s *Site) startCaddy(ctx context.Context, cfg caddyConfig) (*Gateway, error) {
	dir, err := s.mkdir(cfg.name)
	if err != nil {
		return nil, err
	}
	address, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	metrics, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf(caddyfile, metrics, address, cfg.guard, cmp.Or(cfg.upstream, s.Upstream), cfg.proxy)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing a Caddyfile: %w", err)
	}
	env := []string{
		"XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir,
		"GOMAXPROCS=" + strconv.Itoa(threads()),
		"DJANGO_SECRET_KEY=" + s.SecretKey,
	}
	if s.Database != nil {
		env = append(env, "SESAME_DSN="+s.Database.DSN(), "SESAME_SOCKET_DSN="+s.Database.SocketDSN())
	}
	env = append(env, s.Env...)
	adapt := exec.CommandContext(ctx, s.Caddy, "adapt", "--adapter", "caddyfile", "--config", path) //nolint:gosec // the caddy to measure
	adapt.Env = append(os.Environ(), env...)
	if out, err := adapt.CombinedOutput(); err != nil {
		return nil, notAdapted(strings.TrimSpace(string(out)))
	}
	process, err := s.run(ctx, cfg.name, address, env,
		slices.Concat(s.Under, []string{s.Caddy, "run", "--adapter", "caddyfile", "--config", path})...)
	if err != nil {
		return nil, err
	}
	return &Gateway{URL: "http://" + address, metrics: "http://" + metrics + "/", process: process}, nil
}

// notAdapted is what Caddy says of a Caddyfile that it refuses.
type notAdapted string

func (n notAdapted) Error() string { return "Caddy refuses the Caddyfile: " + n.short() }

// short is the message alone, where Caddy writes it as JSON.
func (n notAdapted) short() string {
	lines := strings.Split(string(n), "\n")
	last := lines[len(lines)-1]
	var entry struct {
		Message string `json:"msg"`
	}
	if json.Unmarshal([]byte(last), &entry) == nil && entry.Message != "" {
		last = entry.Message
	}
	// Where in a file that will be gone is of no use.
	last, _, _ = strings.Cut(last, ", at /")
	return strings.TrimPrefix(last, "Error: ")
}

func startBare(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	g, err := s.startCaddy(ctx, caddyConfig{name: p.Name})
	if err != nil {
		return nil, err
	}
	// The very requests that sesame gets.
	g.Requests = bearerRequests(s.Users)
	return g, nil
}

// header is a request for the root with one header field.
func header(name, value string) wrk.Request {
	return wrk.Request{Path: "/", Header: name + ": " + value}
}
