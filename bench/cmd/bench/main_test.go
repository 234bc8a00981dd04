package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-sesame/caddy-sesame"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/report"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// TestMain lets this program be the application and the caddy of a comparison,
// too, so that the test needs no other to be built.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case upstreamCommand:
			main()
			return
		case "run", "adapt", "version":
			caddycmd.Main()
			return
		}
	}
	os.Exit(m.Run())
}

// TestSmallestComparison runs the command, with all that it does to measure,
// for as short a time as it can.
func TestSmallestComparison(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "results")
	err = run(t.Context(), []string{
		"-caddy", self, "-out", out, "-peers", "bare_again,sesame", "-connections", "4",
		"-rounds", "1", "-duration", "1s", "-users", "200", "-rows", "5000",
		"-parts", "throughput,latency,single,gateways,routing,growth", // callgrind takes a minute
	})
	if errors.Is(err, wrk.ErrNotInstalled) || errors.Is(err, testmariadb.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}

	text, err := os.ReadFile(filepath.Join(out, report.JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	var got results.Results
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bare", "sesame"} {
		if !slices.ContainsFunc(got.Throughput, func(m results.Throughput) bool {
			return m.Peer == name && m.Requests > 0 && m.GatewayCPU > 0 && m.Resident > 0
		}) {
			t.Errorf("no throughput of %s in %+v", name, got.Throughput)
		}
		if !slices.ContainsFunc(got.Latency, func(m results.Latency) bool {
			return m.Peer == name && m.P50 > 0 && m.P999 >= m.P99 && m.P99 >= m.P50
		}) {
			t.Errorf("no latency of %s in %+v", name, got.Latency)
		}
	}
	// Every request of sesame takes a row, so that there must be queries; and
	// none of bare's does.
	if queries := got.QueriesPerRequest("sesame", 4).Median; queries <= 0 || queries > 1.01 {
		t.Errorf("%v queries per request of sesame", queries)
	}
	if queries := got.QueriesPerRequest("bare", 4).Median; queries > 0.01 {
		t.Errorf("%v queries per request of bare", queries)
	}
	if len(got.Single) != 1 || got.Single[0].Count == 0 || got.Single[0].Select <= 0 {
		t.Errorf("with one connection: %+v", got.Single)
	}
	for _, policy := range []string{"", peer.Unrouted, peer.Routed} {
		for _, n := range groupSizes {
			requests := got.OfGateways("sesame", policy, n, func(g results.Gateways) float64 { return float64(g.Requests) })
			changes := got.OfGateways("sesame", policy, n, func(g results.Gateways) float64 { return float64(g.Changes) })
			if requests.N != 1 || requests.Median == 0 || changes.Median == 0 {
				t.Errorf("policy %q: %d gateways answered %+v requests beside %+v changes", policy, n, requests, changes)
			}
		}
	}
	if sizes := got.Sizes(); !slices.Equal(sizes, []int{fewRows, 5000}) {
		t.Errorf("growth was measured with %v rows", sizes)
	}

	markdown, err := os.ReadFile(filepath.Join(out, report.MarkdownFile))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(markdown), "| bare reverse_proxy ") {
		t.Errorf("the report lacks a peer:\n%s", markdown)
	}
	for _, name := range []string{report.ThroughputFile, report.LatencyFile} {
		wantXML(t, filepath.Join(out, name))
	}
}

func wantXML(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for decoder := xml.NewDecoder(file); ; {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(path), err)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	o, err := parseOptions([]string{"-quick", "-rounds", "7", "-peers", "sesame", "-connections", "1,2"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Rounds != 7 || o.Users != 2000 || !o.Quick {
		t.Errorf("-quick gave %+v", o.Settings)
	}
	if len(o.peers) != 2 || o.peers[0].Name != "bare" || o.peers[1].Name != "sesame" {
		t.Errorf("the peers are %v", o.peers)
	}
	if !slices.Equal(o.Connections, []int{1, 2}) {
		t.Errorf("the connections are %v", o.Connections)
	}
	for _, bad := range [][]string{
		{"more"},
		{"-rounds", "0"},
		{"-duration", "10ms"},
		{"-users", "0"},
		{"-peers", "nobody"},
		{"-connections", "8,"},
		{"-connections", "0"},
		{"-parts", "all"},
		{"-parts", "latency"},
		{"-rows", "10"},
	} {
		if o, err := parseOptions(bad); err == nil {
			t.Errorf("%v was taken for %+v", bad, o)
		}
	}
}
