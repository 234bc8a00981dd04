package testprogram

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// PHP runs php-fpm until the test ends, and returns where it listens. The
// arguments are the program's, such as -n for no modules.
func PHP(t testing.TB, arguments ...string) (addr string) {
	t.Helper()
	addr, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	pool := fmt.Sprintf(`[www]
listen = %s
pm = static
pm.max_children = 2
clear_env = yes
php_admin_value[post_max_size] = 16M
`, addr)
	if os.Geteuid() == 0 {
		// It runs workers as root only with --allow-to-run-as-root and this
		// user.
		pool += "user = root\ngroup = root\n"
		arguments = append(arguments, "--allow-to-run-as-root")
	}
	runFPM(t, pool, "tcp", addr, arguments)
	return addr
}

// PHPPool runs php-fpm until the test ends, with a pool that listens on a
// socket. Without root's rights, its workers are this process's user, and so is
// the owner of the socket.
func PHPPool(t testing.TB, pool, socket string) {
	t.Helper()
	if os.Geteuid() != 0 {
		var kept strings.Builder
		for line := range strings.Lines(pool) {
			name, _, _ := strings.Cut(line, " ")
			switch name {
			case "user", "group", "listen.owner", "listen.group", "listen.acl_users":
			default:
				kept.WriteString(line)
			}
		}
		pool = kept.String()
	}
	runFPM(t, pool, "unix", socket, nil)
}

// runFPM runs php-fpm with a pool that listens on an address.
func runFPM(t testing.TB, pool, network, addr string, arguments []string) {
	t.Helper()
	program, ok := findPHP()
	if !ok {
		lacks(t, "there is no php-fpm to test with (Debian: apt-get install php-fpm)")
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`[global]
daemonize = no
error_log = %[1]s/error.log
pid = %[1]s/pid
log_limit = 8192
%[2]s
catch_workers_output = yes
`, dir, pool)
	if err := os.WriteFile(filepath.Join(dir, "fpm.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	arguments = append([]string{"--nodaemonize", "--force-stderr", "--fpm-config", filepath.Join(dir, "fpm.conf")}, arguments...)
	server := exec.Command(program, arguments...) //nolint:gosec // it was found on PATH
	server.Env = append(os.Environ(), "TMPDIR="+dir)
	listen(t, server, network, addr, os.Interrupt)
}

// findPHP finds php-fpm. On most systems its name contains the version.
func findPHP() (program string, ok bool) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin")
	for _, dir := range dirs {
		candidates, err := filepath.Glob(filepath.Join(dir, "php-fpm*"))
		if err != nil {
			continue
		}
		for _, candidate := range candidates {
			if path, err := exec.LookPath(candidate); err == nil {
				return path, true
			}
		}
	}
	return "", false
}
