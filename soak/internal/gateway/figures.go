package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/procfs"
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
	memory, err := procfs.MemoryOf([]int{f.Process})
	if err != nil {
		return f, err
	}
	f.Resident = memory.Resident
	if f.Descriptors, err = procfs.Descriptors(f.Process); err != nil {
		return f, err
	}
	f.MySQL, err = procfs.ConnectionsTo(f.Process, mysqlPort)
	return f, err
}

// Goroutines are the stacks of all goroutines, for whoever looks for one that
// is left.
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
