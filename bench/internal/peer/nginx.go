package peer

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

//go:embed nginx.conf
var nginxConf string

var nginxTemplate = template.Must(template.New("nginx.conf").Parse(nginxConf))

func startNginx(ctx context.Context, s *Site, _ Peer) (*Gateway, error) {
	nginx, err := findNginx(ctx)
	if err != nil {
		return nil, err
	}
	d, err := s.startDjango(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := s.mkdir(Nginx)
	if err != nil {
		return nil, err
	}
	address, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "nginx.conf")
	var conf strings.Builder
	if err := nginxTemplate.Execute(&conf, map[string]any{
		"Workers": threads(), "Dir": dir, "IsRoot": os.Geteuid() == 0,
		"Upstream": s.Upstream, "Address": address, "Django": d.address,
	}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(conf.String()), 0o600); err != nil {
		return nil, fmt.Errorf("writing nginx's configuration: %w", err)
	}
	// -e: else it opens a log file of the machine's nginx first.
	process, err := s.run(ctx, Nginx, address, nil, nginx, "-e", "stderr", "-p", dir, "-c", path)
	if err != nil {
		return nil, err
	}
	return &Gateway{
		URL: "http://" + address, Requests: bearerRequests(s.Users), users: names(s.Users),
		process: process, backend: d.process,
	}, nil
}

// findNginx looks on PATH and where Debian keeps servers, for one that can do
// what is needed.
func findNginx(ctx context.Context) (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		built, err := exec.CommandContext(ctx, path, "-V").CombinedOutput() //nolint:gosec // it is nginx
		if err == nil && strings.Contains(string(built), "http_auth_request_module") {
			return path, nil
		}
	}
	return "", Unavailable{"no nginx with auth_request (Debian: apt install nginx-light)"}
}

// NginxVersion says which nginx a run was made with.
func NginxVersion(ctx context.Context) (string, error) {
	path, err := findNginx(ctx)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput() //nolint:gosec // it is nginx
	_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
	return version, err
}
