package packaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
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
		t.Fatalf("%s: %v", strings.Join(command, " "), err)
	}
	return output
}

// try is run for commands that may fail. The error has what they say.
func (tr tree) try(command ...string) (output string, err error) {
	cmd := exec.Command("chroot", append([]string{string(tr)}, command...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"}
	// Of the machine, not of the system: where a proxy is.
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if value := os.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w\n%s%s", err, &said, &complained)
	}
	return said.String(), nil
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
	t.Cleanup(func() {
		supervisor.Close()
		os.Remove(tr.path(notify))
	})
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
	ends := func(by os.Signal) {
		_ = cmd.Process.Signal(by)
		<-ctx.Done()
	}
	t.Cleanup(func() { ends(os.Kill) })
	if err := awaitReady(supervisor); err != nil {
		ends(os.Kill)
		t.Fatalf("%s isn't ready: %v\n%s", command[0], err, &said)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", command[0], &said)
		}
	})
	return func() { ends(syscall.SIGTERM) }
}

// awaitReady reads what a daemon tells its supervisor.
func awaitReady(supervisor *net.UnixConn) error {
	message := make([]byte, 4096)
	for {
		n, err := supervisor.Read(message)
		if err != nil {
			return fmt.Errorf("it ended: %w", err)
		}
		switch said := string(message[:n]); {
		case said == "READY=1":
			return nil
		case strings.HasPrefix(said, "STATUS="): // why it fails, which Caddy says before it is READY
			return errors.New(said)
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

// openLink opens a link to alice's page as a browser does, at a socket.
func openLink(t *testing.T, link, socket string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	answer, err := browser.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(text), "Hello, alice") {
		t.Errorf("the link's answer is %s, %q, %v", answer.Status, text, err)
	}
	if answer.Request.URL.RawQuery != "" {
		t.Errorf("the browser is still at the link, %s", answer.Request.URL)
	}
}

// startMariaDB runs a server with some statements.
func startMariaDB(t *testing.T, sql string) *testmariadb.Server {
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
	for statement := range strings.SplitSeq(withoutComments(sql), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := server.Exec("", statement); err != nil {
			t.Fatal(err)
		}
	}
	return server
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
