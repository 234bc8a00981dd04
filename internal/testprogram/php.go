package testprogram

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// PHP runs php-fpm until the test ends, and returns where it listens. The
// arguments are the program's, such as -n for no modules.
func PHP(t testing.TB, arguments ...string) (addr string) {
	t.Helper()
	program, ok := findPHP()
	if !ok {
		lacks(t, "there is no php-fpm to test with (Debian: apt-get install php-fpm)")
	}
	addr, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`[global]
daemonize = no
error_log = %[1]s/error.log
pid = %[1]s/pid
log_limit = 8192
[www]
listen = %[2]s
pm = static
pm.max_children = 2
catch_workers_output = yes
clear_env = yes
php_admin_value[post_max_size] = 16M
`, dir, addr)
	arguments = append([]string{"--nodaemonize", "--force-stderr", "--fpm-config", filepath.Join(dir, "fpm.conf")}, arguments...)
	if os.Geteuid() == 0 {
		// It runs workers as root only with --allow-to-run-as-root and this
		// user.
		config += "user = root\ngroup = root\n"
		arguments = append(arguments, "--allow-to-run-as-root")
	}
	if err := os.WriteFile(filepath.Join(dir, "fpm.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, arguments...) //nolint:gosec // it was found on PATH
	server.Env = append(os.Environ(), "TMPDIR="+dir)
	Listen(t, server, addr, os.Interrupt)
	return addr
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
