package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Figures are what a gateway takes of the machine at a moment.
type Figures struct {
	Process     int   // its id: another process begins anew
	Resident    int64 // memory, in bytes
	Heap        int64 // what is in use of it after a collection of garbage, in bytes
	Goroutines  int
	Descriptors int
	MySQL       int // connections to MySQL
}

// Figures reads them, from /proc and from the admin endpoint.
func (g *Gateway) Figures(ctx context.Context, mysqlPort int) (Figures, error) {
	f := Figures{Process: g.running().PID()}
	profile, err := g.get(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return f, err
	}
	if f.Heap, err = figure(profile, "# HeapAlloc = "); err != nil {
		return f, err
	}
	profile, err = g.get(ctx, "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return f, err
	}
	goroutines, err := figure(profile, "goroutine profile: total ")
	if err != nil {
		return f, err
	}
	f.Goroutines = int(goroutines)
	process, err := procfs.NewProc(f.Process)
	if err != nil {
		return f, fmt.Errorf("finding the process of gateway %s: %w", g.Name, err)
	}
	status, err := process.NewStatus()
	if err != nil {
		return f, fmt.Errorf("reading the memory of gateway %s: %w", g.Name, err)
	}
	f.Resident = int64(status.VmRSS) //nolint:gosec // no machine has so much memory
	if f.Descriptors, err = process.FileDescriptorsLen(); err != nil {
		return f, fmt.Errorf("counting the open files of gateway %s: %w", g.Name, err)
	}
	if f.MySQL, err = connectionsTo(process, mysqlPort); err != nil {
		return f, fmt.Errorf("counting the connections of gateway %s to MySQL: %w", g.Name, err)
	}
	return f, nil
}

// connectionsTo counts the TCP connections over IPv4 of a process to a port,
// those that are being made included.
func connectionsTo(process procfs.Proc, port int) (int, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0, err
	}
	//lint:ignore SA1019 netlink needs more rights than reading a file, and a figure of a soak needs no speed
	lines, err := fs.NetTCP() //nolint:staticcheck // of all processes; as above
	if err != nil {
		return 0, err
	}
	sockets := make(map[string]bool)
	for _, line := range lines {
		if line.RemPort == uint64(port) { //nolint:gosec // ports are positive
			sockets[fmt.Sprintf("socket:[%d]", line.Inode)] = true
		}
	}
	files, err := process.FileDescriptorTargets()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, file := range files {
		if sockets[file] {
			n++
		}
	}
	return n, nil
}

// Goroutines are the stacks of all goroutines, to find one that is left.
func (g *Gateway) Goroutines(ctx context.Context) (string, error) {
	return g.get(ctx, "/debug/pprof/goroutine?debug=1")
}

// Metrics are the gateway's, as Prometheus gets them.
func (g *Gateway) Metrics(ctx context.Context) (string, error) { return g.get(ctx, "/metrics") }

func (g *Gateway) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+path, nil)
	if err != nil {
		return "", err
	}
	answer, err := adminClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking gateway %s for %s: %w", g.Name, path, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("asking gateway %s for %s: %w", g.Name, path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking gateway %s for %s: the answer is %s", g.Name, path, answer.Status)
	}
	return string(text), nil
}

// figure reads the number at the end of the line that begins with a text.
func figure(text, begin string) (int64, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if number, ok := strings.CutPrefix(lines.Text(), begin); ok {
			return strconv.ParseInt(number, 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no line that begins with %q", begin)
}
