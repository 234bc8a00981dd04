package testprogram

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// look returns the path of a program, or skips the test where there is none.
func look(t testing.TB, name, debian string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		program, err = exec.LookPath(filepath.Join("/usr/sbin", name))
	}
	if err == nil {
		return program
	}
	lack := fmt.Sprintf("there is no %s (Debian: apt-get install %s)", name, debian)
	if os.Getenv("CI") != "" {
		t.Fatal(lack)
	}
	t.Skip(lack)
	return ""
}

// Nginx is an nginx that runs until its test ends.
type Nginx struct {
	t       testing.TB
	program *exec.Cmd
	dir     string
}

// StartNginx runs nginx with the directives of its http block, which has it listen on an
// address.
func StartNginx(t testing.TB, directives, addr string) *Nginx {
	t.Helper()
	n := &Nginx{t: t, dir: t.TempDir()}
	n.write(directives)
	n.program = exec.Command(look(t, "nginx", "nginx-light"), "-p", n.dir, "-e", "stderr", "-c", n.config()) //nolint:gosec // as the test says
	Listen(t, n.program, addr, syscall.SIGTERM)
	return n
}

func (n *Nginx) config() string { return filepath.Join(n.dir, "nginx.conf") }

func (n *Nginx) write(directives string) {
	n.t.Helper()
	var text strings.Builder
	text.WriteString("daemon off;\nworker_processes 1;\npid pid;\nerror_log stderr;\n")
	if os.Geteuid() == 0 {
		text.WriteString("user root;\n") // others may not enter the directory
	}
	text.WriteString("events {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "%s_temp_path %s;\n", kind, kind)
	}
	text.WriteString(directives + "\n}\n")
	if err := os.WriteFile(n.config(), []byte(text.String()), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// Reload has nginx use other directives. It returns once no process has the former ones:
// requests under way have then ended.
func (n *Nginx) Reload(directives string) {
	n.t.Helper()
	n.write(directives)
	former := n.workers()
	if err := n.program.Process.Signal(syscall.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
	await(n.t, "the end of nginx's former processes", func() bool {
		return !slices.ContainsFunc(former, isRunning)
	})
}

// workers are the processes that answer requests.
func (n *Nginx) workers() []string {
	n.t.Helper()
	pid := strconv.Itoa(n.program.Process.Pid)
	children, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children")) //nolint:gosec // of the process that was started here
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.Fields(string(children))
}

func isRunning(pid string) bool {
	_, err := os.Stat(filepath.Join("/proc", pid))
	return !errors.Is(err, fs.ErrNotExist)
}

// HAProxy is an HAProxy that runs until its test ends.
type HAProxy struct {
	t      testing.TB
	socket string
}

// StartHAProxy runs HAProxy with a configuration, which has it listen on an address.
func StartHAProxy(t testing.TB, config, addr string) *HAProxy {
	t.Helper()
	dir := t.TempDir()
	h := &HAProxy{t, filepath.Join(dir, "stats")}
	name := filepath.Join(dir, "haproxy.cfg")
	config = fmt.Sprintf("global\n    stats socket %s\ndefaults\n    mode http\n    timeout connect 60s\n    timeout client 60s\n    timeout server 60s\n%s", h.socket, config)
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	Listen(t, exec.Command(look(t, "haproxy", "haproxy"), "-db", "-f", name), addr, syscall.SIGTERM) //nolint:gosec // as the test says
	return h
}

// Await waits until a server of a backend has a status, such as UP or DOWN, and, if it is
// DOWN, until no request is under way there.
func (h *HAProxy) Await(backend, server, status string) {
	h.t.Helper()
	await(h.t, fmt.Sprintf("%s of HAProxy to be %s", server, status), func() bool {
		fields := h.server(backend, server)
		return strings.HasPrefix(fields["status"], status) && (status != "DOWN" || fields["scur"] == "0")
	})
}

// server returns what HAProxy says of a server.
func (h *HAProxy) server(backend, name string) map[string]string {
	h.t.Helper()
	conn, err := net.Dial("unix", h.socket)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		h.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		h.t.Fatal(err)
	}
	heading, lines, _ := strings.Cut(strings.TrimPrefix(string(answer), "# "), "\n")
	names := strings.Split(heading, ",")
	for line := range strings.Lines(lines) {
		cells := strings.Split(line, ",")
		if len(cells) < 2 || cells[0] != backend || cells[1] != name {
			continue
		}
		fields := make(map[string]string)
		for i, cell := range cells[:min(len(cells), len(names))] {
			fields[names[i]] = cell
		}
		return fields
	}
	h.t.Fatalf("HAProxy has no server %s in %s", name, backend)
	return nil
}
