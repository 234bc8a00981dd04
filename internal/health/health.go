// Package health answers the health checks of load balancers and supervisors: whether
// the process is alive, and whether it is ready for requests.
package health

import (
	"context"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Off is the path of a check that there is none of.
const Off = "off"

// The names of the checks below the reserved path.
const (
	health = "health"
	ready  = "ready"
)

// Config are the paths of the checks as configured: absolute paths, Off, or empty for
// the default.
type Config struct {
	HealthPath string
	ReadyPath  string

	// Reserved is the path below which the checks are by default; empty for nowhere.
	Reserved string
}

// Checks are the health checks of a site.
type Checks struct {
	health, ready string // their paths; empty for none

	// Serves returns nil if users can be looked up. It is called for each check of
	// readiness, so it must be cheap.
	Serves func(context.Context) error

	// RetryAfter is how long a client should wait for MySQL to come back.
	RetryAfter time.Duration
}

// New makes the checks of a configuration.
func New(cfg Config) (*Checks, error) {
	c := new(Checks)
	for _, of := range []struct {
		option, path, name string
		to                 *string
	}{
		{"health_path", cfg.HealthPath, health, &c.health},
		{"ready_path", cfg.ReadyPath, ready, &c.ready},
	} {
		switch {
		case of.path == Off, of.path == "" && cfg.Reserved == "":
			continue
		case of.path == "":
			*of.to = cfg.Reserved + of.name
			continue
		}
		if err := checkPath(of.option, of.path); err != nil {
			return nil, err
		}
		if cfg.isPage(of.path) {
			return nil, setting.Errorf(of.option, "%s %s: the gateway's own pages are below %s: choose another path, such as /healthz", of.option, of.path, cfg.Reserved)
		}
		*of.to = of.path
	}
	if c.health != "" && c.health == c.ready {
		return nil, setting.Errorf("ready_path", "ready_path %s: health_path has the same path, and the answers of the two differ: choose another", c.ready)
	}
	return c, nil
}

// isPage reports whether a path may be that of another page of the gateway.
func (c *Config) isPage(of string) bool {
	name, ok := strings.CutPrefix(of, c.Reserved)
	return ok && c.Reserved != "" && name != health && name != ready
}

// checkPath rejects paths that no request has after Caddy and clients have cleaned it.
func checkPath(option, of string) error {
	if !strings.HasPrefix(of, "/") || of == "/" {
		return setting.Errorf(option, "%s %q: it must be a path that begins with a slash, such as /healthz, or off", option, of)
	}
	if i := strings.IndexAny(of, "*{}?#% \\"); i >= 0 {
		return setting.Errorf(option, "%s %q: %q can't be in it: write a plain path, such as /healthz", option, of, of[i:i+1])
	}
	if cleaned := path.Clean(of); cleaned != of {
		return setting.Errorf(option, "%s %q: requests for it come as %s: write that", option, of, cleaned)
	}
	return nil
}

// Serve answers a request if it is a check.
func (c *Checks) Serve(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "":
		return false
	case c.health:
		answer(w, r, http.StatusOK, "alive")
	case c.ready:
		c.serveReady(w, r)
	default:
		return false
	}
	return true
}

// serveReady tells whether requests should come here. They shouldn't while Caddy waits
// for balancers to notice that it is about to end (shutdown_delay).
func (c *Checks) serveReady(w http.ResponseWriter, r *http.Request) {
	if isShuttingDown(r) {
		answer(w, r, http.StatusServiceUnavailable, "shutting down")
		return
	}
	if err := c.Serves(r.Context()); err != nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(c.RetryAfter.Seconds())))
		answer(w, r, http.StatusServiceUnavailable, "users can't be looked up")
		return
	}
	answer(w, r, http.StatusOK, "ready")
}

// isShuttingDown reports whether Caddy's server of the request will soon accept no more
// requests.
func isShuttingDown(r *http.Request) bool {
	if caddy.Exiting() {
		return true
	}
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	is, _ := replacer.Get("http.shutting_down")
	return is == true
}

// answer writes a status and a line that says why. No cache may keep it.
func answer(w http.ResponseWriter, r *http.Request, status int, why string) {
	header := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, why+"\n") // the client may be gone
	}
}
