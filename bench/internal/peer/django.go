package peer

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// workers of gunicorn: one request at a time each, as is its default.
const workers = 2

//go:embed django/authserver.py
var authServer []byte

// django is the server that forward_auth and auth_request ask.
type django struct {
	address string
	process *child.Process
}

// startDjango runs it, once for all.
func (s *Site) startDjango(ctx context.Context) (*django, error) {
	if s.django == nil && s.djangoErr == nil {
		s.django, s.djangoErr = s.runDjango(ctx)
	}
	return s.django, s.djangoErr
}

func (s *Site) runDjango(ctx context.Context) (*django, error) {
	if s.SesameSource == "" {
		return nil, Unavailable{"SESAME_SRC doesn't name a clone of django-sesame"}
	}
	source, err := findSesame(s.SesameSource)
	if err != nil {
		return nil, err
	}
	python, err := findPython(ctx)
	if err != nil {
		return nil, err
	}
	const name = "django"
	dir, err := s.mkdir(name)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "authserver.py"), authServer, 0o600); err != nil {
		return nil, fmt.Errorf("writing the Django project: %w", err)
	}
	address, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	env := []string{
		"PYTHONPATH=" + dir + string(os.PathListSeparator) + source,
		"PYTHONDONTWRITEBYTECODE=1",
		"DJANGO_SECRET_KEY=" + s.SecretKey,
		"SESAME_MAX_AGE=" + strconv.Itoa(int(users.MaxAge.Seconds())),
		"BENCH_DATABASE=" + s.Database.Addr(),
		"BENCH_DATABASE_NAME=" + users.Name,
	}
	process, err := s.run(ctx, name, address, env, python, "-m", "gunicorn",
		"--bind", address, "--workers", strconv.Itoa(workers), "--worker-class", "sync",
		"--log-level", "error", "--worker-tmp-dir", dir, "authserver:application")
	if err != nil {
		return nil, err
	}
	return &django{address: address, process: process}, nil
}

// findSesame returns the directory to import sesame from, in a clone of
// django-sesame or in its src.
func findSesame(clone string) (string, error) {
	for _, dir := range []string{clone, filepath.Join(clone, "src")} {
		if _, err := os.Stat(filepath.Join(dir, "sesame", "utils.py")); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", Unavailable{"there is no sesame/utils.py in what SESAME_SRC names, nor in src there"}
}

// findPython prefers the distribution's Python, which is the one that its
// packages of Django and gunicorn are for.
func findPython(ctx context.Context) (string, error) {
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(ctx, python, "-c", "import django, pymysql, gunicorn").Run() == nil { //nolint:gosec // one of two
			return python, nil
		}
	}
	return "", Unavailable{"no Python with Django, PyMySQL and gunicorn (Debian: apt install python3-django python3-pymysql gunicorn)"}
}

// DjangoVersions says which Django a run was made with.
func DjangoVersions(ctx context.Context) (string, error) {
	python, err := findPython(ctx)
	if err != nil {
		return "", err
	}
	const ask = `import django, gunicorn, platform
print(f"{django.__version__} on Python {platform.python_version()}, gunicorn {gunicorn.__version__}")`
	out, err := exec.CommandContext(ctx, python, "-c", ask).Output() //nolint:gosec // see findPython
	return strings.TrimSpace(string(out)), err
}

func startForwardAuth(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	d, err := s.startDjango(ctx)
	if err != nil {
		return nil, err
	}
	// gunicorn's sync workers close every connection after its answer. One that
	// Caddy opened for a client that has gone, and kept, would block a worker.
	g, err := s.startCaddy(ctx, caddyConfig{
		name: p.Name,
		guard: "forward_auth " + d.address + ` {
		uri /auth
		copy_headers Remote-User
		transport http {
			keepalive off
		}
	}`,
	})
	if err != nil {
		return nil, err
	}
	g.Requests = bearerRequests(s.Users)
	g.users = names(s.Users)
	g.backend = d.process
	return g, nil
}
