package results

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// measured is what of one peer and round the tests are about.
func measured(peer string, connections, round int, requests int64) Throughput {
	return Throughput{
		Peer: peer, Connections: connections, Round: round, Requests: requests, Duration: time.Second,
		Resident: 40 << 20, Questions: requests / 5, GatewayCPU: 500 * time.Millisecond,
	}
}

func TestRatiosAndCosts(t *testing.T) {
	t.Parallel()
	r := &Results{Throughput: []Throughput{
		measured("bare", 64, 0, 10_000), measured("sesame", 64, 0, 9_000), measured("sesame", 8, 0, 1),
		measured("sesame", 64, 1, 4_000), measured("bare", 64, 1, 5_000),
		measured("bare", 64, 2, 10_000), measured("sesame", 64, 2, 9_500),
	}}
	r.Throughput[1].Resident = 52 << 20
	ratio := r.Ratio("sesame", "bare", 64)
	if ratio.Min != 0.8 || ratio.Median != 0.9 || ratio.Max != 0.95 || ratio.N != 3 {
		t.Errorf("the ratio is %+v", ratio)
	}
	// What was measured beside a peer counts more than what was measured at all.
	beside := measured("bare", 64, 3, 9_000)
	beside.Beside = "cache"
	beside.Add(measured("bare", 64, 3, 11_000)) // of another second
	r.Throughput = append(r.Throughput, beside, measured("cache", 64, 3, 5_000))
	if ratio := r.Ratio("cache", "bare", 64); ratio.Median != 0.5 || ratio.N != 1 {
		t.Errorf("the ratio to the neighbour is %+v", ratio)
	}
	r.Throughput = r.Throughput[:len(r.Throughput)-2]
	if over := r.ResidentOver("sesame", "bare", 64); over.Max != 12 || over.Median != 0 {
		t.Errorf("the memory over bare's is %+v", over)
	}
	if queries := r.QueriesPerRequest("sesame", 64); queries.Median != 0.2 {
		t.Errorf("the queries per request are %+v", queries)
	}
	cpu := r.CPU("bare", 64, func(t Throughput) time.Duration { return t.GatewayCPU })
	if cpu.Min != 0.5 || cpu.Max != 1 {
		t.Errorf("the CPU seconds of 10,000 requests are %+v", cpu)
	}
	if none := r.Ratio("nginx", "bare", 64); none.N != 0 {
		t.Errorf("what wasn't measured has a ratio of %+v", none)
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	kept := measured("follow", 64, 0, 9_700)
	kept.Questions, kept.Hits = 9, 9_691
	r := &Results{
		Throughput: []Throughput{
			measured("bare", 8, 0, 10_000), measured("sesame", 8, 0, 7_400), measured("follow", 8, 0, 9_600),
			measured("bare", 64, 0, 10_000), measured("sesame", 64, 0, 8_960), measured("cache", 64, 0, 9_900), kept,
			measured("forward_auth", 64, 0, 1_000),
			measured("django_session", 64, 0, 9_000), measured("password", 64, 0, 8_000),
			measured("guessed", 64, 0, 8_100), measured("follow_session", 64, 0, 9_500),
		},
		Latency: []Latency{
			{Peer: "bare", P99: 2 * time.Millisecond},
			{Peer: "sesame", P99: 3 * time.Millisecond},
			{Peer: "follow", P99: 2300 * time.Microsecond},
		},
		Single:       []Single{{Bare: 100, Sesame: 210, Follow: 130, Select: 100}},
		Instructions: []Instructions{{Peer: "bare", Requests: 10, Count: 1000}, {Peer: "follow", Requests: 10, Count: 1061}},
		Growth: []Growth{
			{Kind: "sesame", Rows: 1000, Throughput: Throughput{Round: 0, Requests: 1060, Duration: time.Second}},
			{Kind: "sesame", Rows: 5000, Throughput: Throughput{Round: 0, Requests: 1000, Duration: time.Second}},
			{Kind: "follow", Rows: 1000, Throughput: Throughput{Round: 0, Requests: 1010, Duration: time.Second}},
			{Kind: "follow", Rows: 5000, Throughput: Throughput{Round: 0, Requests: 1000, Duration: time.Second}},
		},
	}
	want := []string{
		"not met", // 0.74 with 8 connections
		"met",     // 0.896 is 0.90, as it is printed
		"not measured",
		"met",
		"met",     // 1.004 times the token
		"not met", // 0.89 times the token
		"met",     // 0.904 times the token
		"not met", // 9.0 times Django
		"met",     // 1.1 SELECTs
		"met",     // 0.2 queries
		"not met", // a p99 of 1.5 times bare's
		"met",

		"met",     // follow: 0.96 with 8 connections
		"not met", // 0.97 with 64
		"not measured",
		"not met", // 0.95 with a session
		"not measured",
		"not measured",
		"not met", // 1.061 times the instructions
		"met",     // 0.0009 queries
		"met",     // a p99 of 1.15 times bare's
		"not met", // 0.30 SELECTs aren't below it

		"not met", // 6 percent
		"met",     // 1 percent with follow
	}
	targets := r.Targets()
	if len(targets) != len(want) {
		t.Fatalf("there are %d targets", len(targets))
	}
	for i, target := range targets {
		if target.Verdict() != want[i] {
			t.Errorf("%s, %s: measured %s is %s, not %s", target.What, target.Want, target.Measured.Format(3), target.Verdict(), want[i])
		}
	}
	for _, target := range new(Results).Targets() {
		if target.Verdict() != "not measured" {
			t.Errorf("%s is %s of nothing", target.What, target.Verdict())
		}
	}
	if hits := r.HitsPerRequest("follow", 64).Median; hits < 0.999 {
		t.Errorf("a part of %v of the requests was answered by kept rows", hits)
	}
}

func TestCPURatioIsOfAllProcesses(t *testing.T) {
	t.Parallel()
	sesame := measured("sesame", 64, 0, 5_000)
	sesame.DatabaseCPU, sesame.BackendCPU = 100*time.Millisecond, 50*time.Millisecond
	sesame.ApplicationCPU, sesame.LoadCPU = 200*time.Millisecond, 150*time.Millisecond
	r := &Results{Throughput: []Throughput{measured("bare", 64, 0, 10_000), sesame}}
	if got := r.CPURatio("sesame", "bare", 64).Median; got != 0.25 {
		t.Errorf("the ratio is %v, want 0.25", got) // 5,000 a second of CPU time, and 20,000
	}
	cheaper := measured("password", 64, 0, 5_000)
	r.Throughput = append(r.Throughput, cheaper)
	if got := r.CPUQuotient("password", "sesame", "bare", 64).Median; got != 2 {
		t.Errorf("the quotient is %v, want 2", got)
	}
}

// TestTargetIsMetByCPUTime has a machine on which other work took half of the time
// from one of two equal gateways.
func TestTargetIsMetByCPUTime(t *testing.T) {
	t.Parallel()
	disturbed := measured("follow", 64, 0, 5_000)
	disturbed.GatewayCPU /= 2
	r := &Results{Throughput: []Throughput{measured("bare", 64, 0, 10_000), disturbed}}
	verdicts := map[string]bool{}
	for _, target := range r.Targets() {
		verdicts[target.Verdict()] = true
	}
	if !verdicts["met by CPU time"] {
		t.Errorf("the verdicts are %v", verdicts)
	}
}

func TestGrowthComparesTheSameRound(t *testing.T) {
	t.Parallel()
	r := &Results{Growth: []Growth{
		{Kind: "sesame", Rows: 1000, Throughput: Throughput{Round: 0, Requests: 2000, Duration: time.Second}},
		{Kind: "sesame", Rows: 9000, Throughput: Throughput{Round: 0, Requests: 2000, Duration: time.Second}},
		{Kind: "sesame", Rows: 9000, Throughput: Throughput{Round: 1, Requests: 1000, Duration: time.Second}},
		{Kind: "sesame", Rows: 1000, Throughput: Throughput{Round: 1, Requests: 1100, Duration: time.Second}},
	}}
	got := r.GrowthPercent("sesame")
	if got.Min != 0 || got.Max < 9.99 || got.Max > 10.01 {
		t.Errorf("the growth is %+v", got)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		connections []int
		want        int
	}{{[]int{8, 64, 256}, 64}, {[]int{256, 64}, 64}, {[]int{1, 2, 4}, 2}, {[]int{8}, 8}, {nil, 0}} {
		if got := (Settings{Connections: test.connections}).Reference(); got != test.want {
			t.Errorf("of %v it is %d, not %d", test.connections, got, test.want)
		}
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 10_000_000: "10,000,000", -1234: "-1,234", -123: "-123"} {
		if got := Thousands(n); got != want {
			t.Errorf("%d is written %s", n, got)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	want := Results{
		Settings:   Settings{Rounds: 1, Duration: time.Second, Connections: []int{8}},
		Throughput: []Throughput{measured("bare", 8, 0, 100)},
	}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got Results
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
