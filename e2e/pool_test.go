package e2e_test

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// pool is a PHP-FPM with the pool of the guide to PHP, whose workers are of
// another user than Caddy, as everywhere.
type pool struct{ socket string }

func startPool(t *testing.T) pool {
	t.Helper()
	dir := openDir(t)
	p := pool{socket: filepath.Join(dir, "fpm.sock")}
	text := placed(t, readGuide(t, "php.md").block(t, "## PHP-FPM's socket", "ini"), map[string]string{
		"/run/php/app.sock": p.socket,
		// The user that Caddy's package makes may not be there.
		"www-data,caddy": "www-data,nobody",
	})
	testprogram.PHPPool(t, text+"php_admin_value[session.save_path] = "+openDir(t)+"\n", p.socket)
	return p
}

// openDir makes a directory that other users can get to.
func openDir(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// owns gives a directory to the pool's workers.
func (p pool) owns(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return // the workers are this process's user's
	}
	if output, err := exec.Command("chown", "-R", "www-data:www-data", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
}

// TestPoolsSocketIsForTheNamedUsers has programs of several users open the socket
// of the guide's pool.
func TestPoolsSocketIsForTheNamedUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as other users")
	}
	socket := startPool(t).socket
	for name, opens := range map[string]bool{"www-data": true, "nobody": true, "daemon": false} {
		account, err := user.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.ParseUint(account.Uid, 10, 32)
		gid, _ := strconv.ParseUint(account.Gid, 10, 32)
		program := exec.Command("php", "-n", "-r", `exit(@stream_socket_client("unix://$argv[1]") ? 0 : 1);`, socket)
		program.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		program.Dir = "/"
		output, err := program.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if (err == nil) != opens {
			t.Errorf("%s opens the socket: %t, want %t\n%s", name, err == nil, opens, output)
		}
	}
}
