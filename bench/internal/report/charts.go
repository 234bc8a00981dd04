package report

import (
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
)

// throughputChart shows requests per second as a part of bare's.
func throughputChart(r *results.Results) *chart {
	c := &chart{
		title:    "Requests per second, over those of a bare reverse_proxy",
		subtitle: fmt.Sprintf("Medians of %d rounds; the lines reach from the least ratio of a round to the greatest. More is better.", r.Settings.Rounds),
		tick:     func(x float64) string { return fmt.Sprintf("%.1f", x) },
	}
	for _, connections := range r.Settings.Connections {
		c.series = append(c.series, fmt.Sprintf("%d connections", connections))
	}
	reference := r.Settings.Reference()
	for _, p := range r.Peers {
		absolute := r.PerSecond(p.Name, reference)
		if absolute.N == 0 {
			continue
		}
		g := group{
			name: p.Title, ours: isOurs(p),
			note: fmt.Sprintf("%s/s at %d", results.Thousands(int(absolute.Median)), reference),
		}
		for _, connections := range r.Settings.Connections {
			ratio := r.Ratio(p.Name, peer.Bare, connections)
			g.bars = append(g.bars, bar{ratio, fmt.Sprintf("%.2f", ratio.Median)})
		}
		c.groups = append(c.groups, g)
	}
	return c
}

// latencyChart shows percentiles of latency at a fixed rate.
func latencyChart(r *results.Results) *chart {
	c := &chart{
		title: "Latency at half of what a bare reverse_proxy can do",
		tick:  func(x float64) string { return fmt.Sprintf("%g ms", x) },
	}
	if len(r.Latency) > 0 {
		c.subtitle = fmt.Sprintf("Milliseconds at %s requests per second, whether answered or not: medians of %d rounds, and their range. Less is better.",
			results.Thousands(r.Latency[0].Rate), r.Settings.Rounds)
	}
	for _, p := range percentiles {
		c.series = append(c.series, p.name)
	}
	for _, p := range r.Peers {
		g := group{name: p.Title, ours: isOurs(p)}
		for _, percentile := range percentiles {
			spread := r.LatencyOf(p.Name, percentile.of)
			g.bars = append(g.bars, bar{spread, fmt.Sprintf("%.2f ms", spread.Median)})
		}
		if g.bars[0].N > 0 {
			c.groups = append(c.groups, g)
		}
	}
	return c
}

func isOurs(p results.Peer) bool { return strings.HasPrefix(p.Title, peer.Sesame) }
