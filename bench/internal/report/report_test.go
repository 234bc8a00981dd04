package report

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// sample is a run of two rounds, with names that need escaping.
func sample() *results.Results {
	r := &results.Results{
		Machine:  results.Machine{Date: time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC), CPU: "Some CPU", CPUs: 2, Memory: 8 << 30},
		Settings: results.Settings{Rounds: 2, Duration: time.Second, Connections: []int{8, 64}, Users: 10_000},
		Peers: []results.Peer{
			{Name: "bare", Title: "bare <reverse_proxy>", What: "Nothing."},
			{Name: "sesame", Title: "sesame", What: "A token."},
		},
		Skipped: []results.Skipped{{Name: "nginx", Reason: "it isn't there"}},
		Single:  []results.Single{{Bare: 100 * time.Microsecond, Sesame: 150 * time.Microsecond, Select: 50 * time.Microsecond}},
		Growth:  []results.Growth{{Kind: "sesame", Rows: 1000, Throughput: results.Throughput{Round: 0, Requests: 1020, Duration: time.Second}}, {Kind: "sesame", Rows: 10_000_000, Throughput: results.Throughput{Round: 0, Requests: 1000, Duration: time.Second}}},
	}
	for round := range 2 {
		for _, connections := range r.Settings.Connections {
			for peer, requests := range map[string]int64{"bare": 10_000, "sesame": 9_200 + 100*int64(round)} {
				r.Throughput = append(r.Throughput, results.Throughput{
					Peer: peer, Connections: connections, Round: round, Requests: requests, Duration: time.Second,
					GatewayCPU: time.Second, Resident: 50 << 20, Peak: 60 << 20, Questions: requests / 10,
				})
			}
		}
		for peer, p99 := range map[string]time.Duration{"bare": 4 * time.Millisecond, "sesame": 5 * time.Millisecond} {
			r.Latency = append(r.Latency, results.Latency{
				Peer: peer, Round: round, Rate: 5000,
				P50: time.Millisecond, P90: 2 * time.Millisecond, P99: p99, P999: 8 * time.Millisecond,
			})
		}
	}
	return r
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	got := Markdown(sample())
	for _, want := range []string{
		"2030-01-02 03:04 UTC",
		"| CPU     | 2 × Some CPU |",
		"| sesame over bare, requests per second at 64 connections ",
		"≥ 0.90 |    0.93 (0.92..0.93) | 0.93 (0.92..0.93) | met ",
		"| not measured |",
		"| sesame               |         9,250 | 0.93 (0.92..0.93) |          9,250 | 0.93 (0.92..0.93) |",
		"| 1.25 (1.25..1.25) |",
		"| 10,000,000 |",
		"2.0 (2.0..2.0) % longer",
		"*nginx was left out: it isn't there.*",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

// TestMarkdownOfLittle has nothing but the throughput of bare.
func TestMarkdownOfLittle(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Peers, r.Latency, r.Single, r.Growth = r.Peers[:1], nil, nil, nil
	got := Markdown(r)
	for _, heading := range []string{"## Latency", "## One connection", "## Size of the table", "NaN"} {
		if strings.Contains(got, heading) {
			t.Errorf("the report has %s", heading)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := newTable("Wörter", "n", "")
	table.left[2] = true
	table.add("ä", "1,000", "met")
	table.add("long words", "–", "")
	var got strings.Builder
	table.write(&got)
	const want = `| Wörter     |     n |     |
| ---------- | ----: | --- |
| ä          | 1,000 | met |
| long words |     – |     |

`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// svgElement is what a test needs of a drawing.
type svgElement struct {
	XMLName  xml.Name
	Class    string       `xml:"class,attr"`
	X        float64      `xml:"x,attr"`
	Y        float64      `xml:"y,attr"`
	X1       float64      `xml:"x1,attr"`
	X2       float64      `xml:"x2,attr"`
	Width    float64      `xml:"width,attr"`
	Height   float64      `xml:"height,attr"`
	Text     string       `xml:",chardata"`
	Children []svgElement `xml:",any"`
}

func parseSVG(t *testing.T, text string) svgElement {
	t.Helper()
	var root svgElement
	if err := xml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return root
}

func TestThroughputChart(t *testing.T) {
	t.Parallel()
	root := parseSVG(t, throughputChart(sample()).svg())
	var bars, spreads []svgElement
	var texts []string
	for _, e := range root.Children {
		switch {
		case e.XMLName.Local == "rect" && (strings.HasPrefix(e.Class, "ours") || strings.HasPrefix(e.Class, "theirs")) && e.Y > barsTop-10:
			bars = append(bars, e)
		case e.Class == "spread":
			spreads = append(spreads, e)
		case e.XMLName.Local == "text":
			texts = append(texts, e.Text)
		}
	}
	if len(bars) != 4 || len(spreads) != 4 {
		t.Fatalf("there are %d bars and %d lines, not 4 each", len(bars), len(spreads))
	}
	if !strings.HasPrefix(bars[0].Class, "theirs") || !strings.HasPrefix(bars[2].Class, "ours") {
		t.Errorf("the bars are of classes %q and %q", bars[0].Class, bars[2].Class)
	}
	if ratio := bars[2].Width / bars[0].Width; ratio < 0.924 || ratio > 0.926 {
		t.Errorf("the bar for 0.925 is %v as long as that for 1", ratio)
	}
	// From 0.92 to 0.93 around a median of 0.925, in the middle of the bar.
	if end := bars[2].X + bars[2].Width; spreads[2].X1 >= end || spreads[2].X2 <= end {
		t.Errorf("the line from %v to %v isn't around the bar's end at %v", spreads[2].X1, spreads[2].X2, end)
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"bare <reverse_proxy>", "9,250/s at 64", "8 connections", "64 connections", "0.93"} {
		if !strings.Contains(all, want) {
			t.Errorf("no text says %q", want)
		}
	}
	for _, e := range root.Children {
		if e.X+e.Width > chartWidth || e.Y+e.Height > root.Height {
			t.Errorf("%s at %v, %v is outside", e.XMLName.Local, e.X, e.Y)
		}
	}
}

func TestLatencyChart(t *testing.T) {
	t.Parallel()
	svg := latencyChart(sample()).svg()
	parseSVG(t, svg)
	for _, want := range []string{"p99.9", "5.00 ms", "at 5,000 requests per second"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
}

// TestChartOfNothing draws a chart whose only bar was not measured.
func TestChartOfNothing(t *testing.T) {
	t.Parallel()
	c := &chart{
		series: []string{"a"}, groups: []group{{name: "g", bars: []bar{{stats.Spread{}, "NaN"}}}},
		tick: func(x float64) string { return fmt.Sprint(x) },
	}
	svg := c.svg()
	parseSVG(t, svg)
	if strings.Contains(svg, "NaN") {
		t.Errorf("there is something that isn't a number:\n%s", svg)
	}
}

func TestNiceStep(t *testing.T) {
	t.Parallel()
	for least, want := range map[float64]float64{1: 1, 1.1: 2, 2.1: 2.5, 3: 5, 5.1: 10, 0.03: 0.05, 0.2: 0.2, 130: 200} {
		if got := niceStep(least); got < want*0.999 || got > want*1.001 {
			t.Errorf("the step for %v is %v, not %v", least, got, want)
		}
	}
}
