package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// A tree is the root of a system below a directory.
type tree string

// path is where a file of the system is outside of it.
func (tr tree) path(name string) string { return filepath.Join(string(tr), name) }

func (tr tree) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(tr.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (tr tree) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(tr.path(name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func (tr tree) exists(name string) bool {
	_, err := os.Lstat(tr.path(name))
	return err == nil
}

// run runs a command in the system as root, and returns what it prints.
func (tr tree) run(t *testing.T, command ...string) string {
	t.Helper()
	output, err := tr.try(command...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, output)
	}
	return output
}

func (tr tree) try(command ...string) (output string, err error) {
	cmd := exec.Command("chroot", append([]string{string(tr)}, command...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"}
	// Of the machine, not of the system: where a proxy is.
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if value := os.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// id is the number of a user of the system, or of a group.
func (tr tree) id(t *testing.T, file, name string) int {
	t.Helper()
	for line := range strings.Lines(tr.read(t, file)) {
		if fields := strings.Split(line, ":"); fields[0] == name {
			id, err := strconv.Atoi(fields[2])
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			return id
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return 0
}

// makeDir makes a directory of a user.
func (tr tree) makeDir(t *testing.T, name string, uid, gid int) {
	t.Helper()
	err := errors.Join(os.MkdirAll(tr.path(name), 0o755), os.Chown(tr.path(name), uid, gid), os.Chmod(tr.path(name), 0o700))
	if err != nil {
		t.Fatal(err)
	}
}

// daemon runs a command in the system as a user, until the test ends, and returns
// when it has told its supervisor that it is ready.
func (tr tree) daemon(t *testing.T, uid, gid int, env []string, command ...string) (end func()) {
	t.Helper()
	const notify = "/tmp/notify.sock"
	supervisor, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: tr.path(notify), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { supervisor.Close() })
	if err := os.Chmod(tr.path(notify), 0o777); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(env, "NOTIFY_SOCKET="+notify), "/", &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: string(tr), Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", command[0], err)
	}
	ctx, ended := context.WithCancel(context.Background())
	go func() {
		_ = cmd.Wait()
		ended()
		_ = supervisor.SetReadDeadline(time.Now()) // nothing comes any more
	}()
	end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ctx.Done()
	}
	t.Cleanup(end)
	if err := awaitReady(supervisor); err != nil {
		end()
		t.Fatalf("%s isn't ready: %v\n%s", command[0], err, &said)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", command[0], &said)
		}
	})
	return end
}

// awaitReady reads what a daemon tells its supervisor.
func awaitReady(supervisor *net.UnixConn) error {
	message := make([]byte, 4096)
	for {
		n, err := supervisor.Read(message)
		if err != nil {
			return fmt.Errorf("it ended: %w", err)
		}
		if strings.Contains(string(message[:n]), "READY=1") {
			return nil
		}
	}
}

// made is the one file in the directory of what was made that fits a pattern.
func made(t *testing.T, pattern string) string {
	t.Helper()
	dir := os.Getenv("SESAME_PACKAGES")
	if dir == "" {
		t.Skip("SESAME_PACKAGES isn't set: it names the directory that ./xcaddy.sh package has made")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may install packages in a directory")
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s has %d files %s, %v; want one", dir, len(files), pattern, err)
	}
	return files[0]
}

// newTree is an empty directory with a name that is short enough for sockets in it.
func newTree(t *testing.T) tree {
	t.Helper()
	dir, err := os.MkdirTemp("", "tree")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return tree(dir)
}

// startMariaDB runs the statements of first-user.sql, and returns the DSN that the
// gateway gets.
func startMariaDB(t *testing.T, statements string) (dsn string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mariadb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	server, err := testmariadb.Start(dir)
	if errors.Is(err, testmariadb.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	// The server of a test knows no names of machines.
	statements = strings.ReplaceAll(statements, "'localhost'", "'127.0.0.1'")
	for statement := range strings.SplitSeq(withoutComments(statements), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := server.Exec("", statement); err != nil {
			t.Fatal(err)
		}
	}
	return server.UserDSN("gateway", "change me", "sesame_example")
}

func withoutComments(sql string) string {
	var b strings.Builder
	for line := range strings.Lines(sql) {
		if !strings.HasPrefix(line, "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}
