// Package report writes results for people: as tables in Markdown, and as
// charts.
package report

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// The files that Write makes.
const (
	MarkdownFile   = "latest.md"
	JSONFile       = "results.json"
	ThroughputFile = "throughput.svg"
	LatencyFile    = "latency.svg"
)

// Write makes all files in a directory.
func Write(dir string, r *results.Results) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making the directory for results: %w", err)
	}
	if err := r.Write(filepath.Join(dir, JSONFile)); err != nil {
		return err
	}
	files := map[string]string{MarkdownFile: Markdown(r)}
	if len(r.Throughput) > 0 {
		files[ThroughputFile] = throughputChart(r).svg()
	}
	if len(r.Latency) > 0 {
		files[LatencyFile] = latencyChart(r).svg()
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
	return nil
}

// percentiles are those that are reported of latencies.
var percentiles = []struct {
	name string
	of   func(results.Latency) time.Duration
}{
	{"p50", func(l results.Latency) time.Duration { return l.P50 }},
	{"p90", func(l results.Latency) time.Duration { return l.P90 }},
	{"p99", results.P99},
	{"p99.9", func(l results.Latency) time.Duration { return l.P999 }},
}

// Markdown is the whole report.
func Markdown(r *results.Results) string {
	b := new(strings.Builder)
	b.WriteString("# Comparison with peers\n\n")
	fmt.Fprintf(b, "Made by `./xcaddy.sh bench` on %s. [../README.md](../README.md) says what is measured, and how.\n\n", r.Machine.Date.Format("2006-01-02 15:04 MST"))
	writeMachine(b, r)
	writeTargets(b, r)
	if len(r.Throughput) > 0 {
		writeThroughput(b, r)
		writeCosts(b, r)
	}
	if len(r.Latency) > 0 {
		writeLatency(b, r)
	}
	if len(r.Single) > 0 {
		writeSingle(b, r)
	}
	if len(r.Instructions) > 0 {
		writeInstructions(b, r)
	}
	if len(r.Gateways) > 0 {
		writeGateways(b, r)
	}
	if len(r.Growth) > 0 {
		writeGrowth(b, r)
	}
	writePeers(b, r)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func writeMachine(b *strings.Builder, r *results.Results) {
	m := r.Machine
	t := newTable("Machine", "")
	t.left[1] = true
	for _, row := range [][2]string{
		{"CPU", fmt.Sprintf("%d × %s", m.CPUs, m.CPU)},
		{"Memory", fmt.Sprintf("%.0f GiB", float64(m.Memory)/(1<<30))},
		{"Kernel", m.Kernel},
		{"Go", m.Go},
		{"Caddy", m.Caddy},
		{"MariaDB", m.MariaDB},
		{"Django", m.Django},
		{"nginx", m.Nginx},
		{"wrk", m.Wrk},
	} {
		if row[1] != "" {
			t.add(row[0], row[1])
		}
	}
	t.write(b)
	s := r.Settings
	fmt.Fprintf(b, "%d rounds of %s each, %s users, everything on the same machine: load, gateway, application, database.\n\n",
		s.Rounds, s.Duration, results.Thousands(s.Users))
}

func writeTargets(b *strings.Builder, r *results.Results) {
	b.WriteString("## Targets\n\n")
	t := newTable("Median over all rounds", "Target", "Measured (min..max)", "by CPU time", "")
	t.left[4] = true
	for _, target := range r.Targets() {
		t.add(target.What, target.Want, target.Measured.Format(target.Decimals), target.ByCPU.Format(target.Decimals), target.Verdict())
	}
	t.write(b)
}

func writeThroughput(b *strings.Builder, r *results.Results) {
	fmt.Fprintf(b, "## Throughput\n\n![Requests per second over those of a bare reverse_proxy](%s)\n\n", ThroughputFile)
	b.WriteString("Requests per second, and their ratio to bare's of the same round.\n\n")
	head := []string{"Peer"}
	for _, n := range r.Settings.Connections {
		head = append(head, fmt.Sprintf("%d connections", n), "over bare")
	}
	t := newTable(head...)
	for _, p := range r.Peers {
		row := []string{p.Title}
		for _, n := range r.Settings.Connections {
			perSecond := r.PerSecond(p.Name, n)
			if perSecond.N == 0 {
				row = append(row, "–", "–")
				continue
			}
			row = append(row, results.Thousands(int(perSecond.Median+0.5)), r.Ratio(p.Name, peer.Bare, n).Format(digits(r.Ratio(p.Name, peer.Bare, n).Median)))
		}
		t.add(row...)
	}
	t.write(b)
}

// digits is how many decimals a ratio needs to say something.
func digits(ratio float64) int {
	if ratio < 0.1 {
		return 3
	}
	return 2
}

func writeCosts(b *strings.Builder, r *results.Results) {
	n := r.Settings.Reference()
	fmt.Fprintf(b, "## CPU, memory and queries\n\nAt %d connections. CPU is in seconds for 10,000 requests, memory in MiB. *Kept rows* is the part of requests that a kept row answered, *by CPU time* how many requests a second of CPU time is enough for, of all processes, over bare's: that is what is left of the throughput where all CPUs are busy.\n\n", n)
	t := newTable("Peer", "gateway CPU", "database CPU", "Django CPU", "application CPU", "load CPU", "memory", "at most", "memory over bare", "queries per request", "kept rows", "by CPU time")
	for _, p := range r.Peers {
		if r.PerSecond(p.Name, n).N == 0 {
			continue
		}
		gateway := r.CPU(p.Name, n, func(t results.Throughput) time.Duration { return t.GatewayCPU })
		database := r.CPU(p.Name, n, func(t results.Throughput) time.Duration { return t.DatabaseCPU })
		backend := r.CPU(p.Name, n, func(t results.Throughput) time.Duration { return t.BackendCPU })
		application := r.CPU(p.Name, n, func(t results.Throughput) time.Duration { return t.ApplicationCPU })
		load := r.CPU(p.Name, n, func(t results.Throughput) time.Duration { return t.LoadCPU })
		t.add(p.Title,
			fmt.Sprintf("%.2f", gateway.Median), fmt.Sprintf("%.2f", database.Median), fmt.Sprintf("%.2f", backend.Median),
			fmt.Sprintf("%.2f", application.Median), fmt.Sprintf("%.2f", load.Median),
			fmt.Sprintf("%.1f", r.Resident(p.Name, n).Median), fmt.Sprintf("%.1f", r.Peak(p.Name)),
			r.ResidentOver(p.Name, peer.Bare, n).Format(1), r.QueriesPerRequest(p.Name, n).Format(4),
			r.HitsPerRequest(p.Name, n).Format(3), r.CPURatio(p.Name, peer.Bare, n).Format(2))
	}
	t.write(b)
}

func writeLatency(b *strings.Builder, r *results.Results) {
	fmt.Fprintf(b, "## Latency\n\n![Latency at half of bare's requests per second](%s)\n\n", LatencyFile)
	fmt.Fprintf(b, "Milliseconds at %s requests per second, which is half of what bare answered with %d connections. "+
		"Each request is sent when it is its time, whether others are answered or not. "+
		"*Late* is the p99 of by how much the load generator was late itself, which is part of the latencies.\n\n",
		results.Thousands(r.Latency[0].Rate), r.Settings.Reference())
	head := []string{"Peer"}
	for _, p := range percentiles {
		head = append(head, p.name)
	}
	t := newTable(append(head, "p99 over bare", "late")...)
	for _, p := range r.Peers {
		row := []string{p.Title}
		for _, percentile := range percentiles {
			row = append(row, r.LatencyOf(p.Name, percentile.of).Format(2))
		}
		ratio := r.LatencyRatio(p.Name, peer.Bare, results.P99)
		if ratio.N > 0 {
			behind := r.LatencyOf(p.Name, func(l results.Latency) time.Duration { return l.Behind })
			t.add(append(row, ratio.Format(2), behind.Format(2))...)
		}
	}
	t.write(b)
}

func writeSingle(b *strings.Builder, r *results.Results) {
	b.WriteString("## One connection\n\nMedian latency in milliseconds, in turns, when nothing else goes on.\n\n")
	t := newTable("What", "ms")
	bare := r.SingleOf(func(s results.Single) time.Duration { return s.Bare })
	t.add("request to bare", bare.Format(3))
	t.add("prepared SELECT with the bare driver", r.SingleOf(func(s results.Single) time.Duration { return s.Select }).Format(3))
	for _, peer := range []struct {
		name string
		of   func(results.Single) time.Duration
	}{{"sesame", results.OfSesame}, {"sesame with follow", results.OfFollow}} {
		added := r.AddedPerSelect(peer.of)
		if added.N == 0 {
			continue
		}
		t.add("request to "+peer.name, r.SingleOf(peer.of).Format(3))
		t.add("added by "+peer.name, r.SingleOf(func(s results.Single) time.Duration { return peer.of(s) - s.Bare }).Format(3))
		t.add("added by "+peer.name+", over the SELECT", added.Format(2))
	}
	t.write(b)
}

func writeInstructions(b *strings.Builder, r *results.Results) {
	b.WriteString("## Instructions\n\nInstructions of a gateway's own code for a request over one connection, as callgrind counts them. The kernel's aren't among them. Other work on the machine doesn't change them.\n\n")
	t := newTable("Peer", "instructions per request", "over bare")
	for _, p := range r.Peers {
		if counted := r.InstructionsOf(p.Name); counted.N > 0 {
			t.add(p.Title, results.Thousands(int(counted.Median)), r.InstructionsRatio(p.Name, peer.Bare).Format(3))
		}
	}
	t.write(b)
}

func writeGateways(b *strings.Builder, r *results.Results) {
	b.WriteString("## Several gateways\n\nGateways with one database, the same number of connections altogether, while users change in the database. " +
		"With a policy, all connections are to a balancer, which chooses the gateway of each request by it.\n\n")
	t := newTable("Peer", "policy", "gateways", "requests per second", "changes per second", "queries per second", "queries per request", "database CPU")
	type kind struct {
		peer, policy string
		gateways     int
	}
	var kinds []kind
	for _, g := range r.Gateways {
		if k := (kind{g.Peer, g.Policy, g.Gateways}); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	slices.SortFunc(kinds, func(a, b kind) int {
		return cmp.Or(strings.Compare(b.peer, a.peer), strings.Compare(a.policy, b.policy), a.gateways-b.gateways)
	})
	for _, k := range kinds {
		of := func(value func(results.Gateways) float64) stats.Spread {
			return r.OfGateways(k.peer, k.policy, k.gateways, value)
		}
		t.add(k.peer, cmp.Or(k.policy, "none"), fmt.Sprint(k.gateways),
			of(func(g results.Gateways) float64 { return float64(g.Requests) / g.Duration.Seconds() }).Format(0),
			of(func(g results.Gateways) float64 { return float64(g.Changes) / g.Duration.Seconds() }).Format(0),
			of(func(g results.Gateways) float64 { return float64(g.Questions) / g.Duration.Seconds() }).Format(0),
			of(func(g results.Gateways) float64 { return float64(g.Questions) / float64(g.Requests) }).Format(4),
			of(func(g results.Gateways) float64 { return g.DatabaseCPU.Seconds() / float64(g.Requests) * 10_000 }).Format(2))
	}
	t.write(b)
}

func writeGrowth(b *strings.Builder, r *results.Results) {
	fmt.Fprintf(b, "## Size of the table\n\nAt %d connections, with users from all over the table.\n\n", r.Settings.Reference())
	t := newTable("Gateway", "rows", "requests per second", "µs per request", "database CPU", "queries per request", "pages read from disk")
	for _, kind := range []string{peer.Sesame, peer.Follow} {
		for _, rows := range r.Sizes() {
			addSize(t, r, kind, rows)
		}
	}
	t.write(b)
	fmt.Fprintf(b, "A request takes %s %% longer with the largest table, by rounds, and %s %% with follow.\n\n",
		r.GrowthPercent(peer.Sesame).Format(1), r.GrowthPercent(peer.Follow).Format(1))
}

func addSize(t *table, r *results.Results, kind string, rows int) {
	perSecond := r.AtSize(kind, rows, results.Throughput.PerSecond)
	if perSecond.N == 0 {
		return
	}
	database := r.AtSize(kind, rows, func(t results.Throughput) float64 { return t.DatabaseCPU.Seconds() / float64(t.Requests) * 10_000 })
	queries := r.AtSize(kind, rows, func(t results.Throughput) float64 { return float64(t.Questions) / float64(t.Requests) })
	pages := r.AtSize(kind, rows, func(t results.Throughput) float64 { return float64(t.PagesRead) })
	t.add(kind, results.Thousands(rows), perSecond.Format(0), fmt.Sprintf("%.1f", 1e6/perSecond.Median),
		fmt.Sprintf("%.2f", database.Median), queries.Format(4), fmt.Sprintf("%.0f", pages.Median))
}

func writePeers(b *strings.Builder, r *results.Results) {
	b.WriteString("## What was compared\n\n")
	for _, p := range r.Peers {
		fmt.Fprintf(b, "- **%s**: %s\n", p.Title, p.What)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(b, "- *%s was left out: %s.*\n", s.Name, strings.TrimSuffix(s.Reason, "."))
	}
}
