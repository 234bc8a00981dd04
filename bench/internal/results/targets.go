package results

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// Target is what a measurement should be.
type Target struct {
	What     string
	Want     string
	Measured stats.Spread
	Decimals int
	Met      bool // by the median

	// ByCPU is the same ratio of requests per second of CPU time, and MetByCPU whether
	// its median meets the target. A target that is no such ratio has none.
	ByCPU    stats.Spread
	MetByCPU bool
}

// Verdict is whether the target is met, in words.
func (t Target) Verdict() string {
	switch {
	case t.Measured.N == 0:
		return "not measured"
	case t.Met:
		return "met"
	case t.MetByCPU:
		return "met by CPU time"
	default:
		return "not met"
	}
}

// Targets compares the medians with what they should be.
func (r *Results) Targets() []Target {
	return slices.Concat(r.freshTargets(), r.followTargets(), []Target{
		below(r.growthTitle(peer.Sesame), r.GrowthPercent(peer.Sesame), 5, 1),
		below(r.growthTitle(peer.Follow), r.GrowthPercent(peer.Follow), 2, 1),
	})
}

// freshTargets are those of lookups that ask the database for each request.
func (r *Results) freshTargets() []Target {
	return []Target{
		r.overBare("sesame over bare, requests per second at 8 connections", peer.Sesame, 8, 0.75),
		r.overBare("sesame over bare, requests per second at 64 connections", peer.Sesame, 64, 0.90),
		r.overBare("sesame over bare, requests per second at 256 connections", peer.Sesame, 256, 0.93),
		r.overBare("sesame with cache over bare, requests per second at 64 connections", peer.Cache, 64, 0.96),
		r.overOther("a Django session over a token, requests per second at 64 connections, each over bare", peer.DjangoSession, peer.Sesame, 1),
		r.overOther("Basic with a known verdict over a token, requests per second at 64 connections, each over bare", peer.Password, peer.Sesame, 0.95),
		r.overOther("tokens while 64 clients guess passwords over tokens alone, requests per second at 64 connections, each over bare", peer.Guessed, peer.Sesame, 0.90),
		atLeast("sesame over forward_auth to Django, requests per second at 64 connections", r.Ratio(peer.Sesame, peer.ForwardAuth, 64), 10, 1),
		below("latency that sesame adds with 1 connection, over that of a prepared SELECT", r.AddedPerSelect(OfSesame), 1.15, 2),
		below("queries per request at 64 connections", r.QueriesPerRequest(peer.Sesame, 64), 0.25, 3),
		below("p99 of sesame over bare's, at half of bare's requests per second", r.LatencyRatio(peer.Sesame, peer.Bare, P99), 1.4, 2),
		below("resident memory over bare's at 64 connections, MiB", r.ResidentOver(peer.Sesame, peer.Bare, 64), 15, 1),
	}
}

// followTargets are those of rows that serve until the binlog reports a change.
func (r *Results) followTargets() []Target {
	return []Target{
		r.overBare("follow over bare, requests per second at 8 connections", peer.Follow, 8, 0.96),
		r.overBare("follow over bare, requests per second at 64 connections", peer.Follow, 64, 0.98),
		r.overBare("follow over bare, requests per second at 256 connections", peer.Follow, 256, 0.98),
		r.overBare("follow with a session over bare, requests per second at 64 connections", peer.FollowSession, 64, 0.96),
		r.overBare("follow with groups over bare, requests per second at 64 connections", peer.FollowGroups, 64, 0.96),
		r.overBare("follow with an assertion over bare, requests per second at 64 connections", peer.FollowAssertion, 64, 0.96),
		atMost("instructions per request of follow over bare's", r.InstructionsRatio(peer.Follow, peer.Bare), 1.06, 3),
		atMost("queries per request with follow at 64 connections", r.QueriesPerRequest(peer.Follow, 64), 0.001, 4),
		atMost("p99 of follow over bare's, at half of bare's requests per second", r.LatencyRatio(peer.Follow, peer.Bare, P99), 1.15, 2),
		below("latency that follow adds with 1 connection, over that of a prepared SELECT", r.AddedPerSelect(OfFollow), 0.30, 2),
	}
}

// P99 is a percentile, for LatencyOf.
func P99(l Latency) time.Duration { return l.P99 }

func (r *Results) growthTitle(kind string) string {
	sizes := r.Sizes()
	if len(sizes) < 2 {
		return kind + ": growth of the time per request with the table, percent"
	}
	return fmt.Sprintf("%s: growth of the time per request from %s to %s rows, percent",
		kind, Thousands(sizes[0]), Thousands(sizes[len(sizes)-1]))
}

// overBare is the target of a peer's requests per second over bare's.
func (r *Results) overBare(what, name string, connections int, limit float64) Target {
	return atLeast(what, r.Ratio(name, peer.Bare, connections), limit, 2).byCPU(r.CPURatio(name, peer.Bare, connections), limit)
}

// overOther is that of two peers, each over bare, at 64 connections.
func (r *Results) overOther(what, name, other string, limit float64) Target {
	return atLeast(what, r.Quotient(name, other, peer.Bare, 64), limit, 2).byCPU(r.CPUQuotient(name, other, peer.Bare, 64), limit)
}

// byCPU adds the ratio by CPU time to a target of at least limit.
func (t Target) byCPU(measured stats.Spread, limit float64) Target {
	t.ByCPU, t.MetByCPU = measured, measured.N > 0 && round(measured.Median, t.Decimals) >= limit
	return t
}

// What is printed decides, so that a reader finds no 0.90 that is not 0.90.
func atLeast(what string, measured stats.Spread, limit float64, decimals int) Target {
	return Target{
		What: what, Want: fmt.Sprintf("≥ %.*f", decimals, limit), Measured: measured, Decimals: decimals,
		Met: round(measured.Median, decimals) >= limit,
	}
}

func atMost(what string, measured stats.Spread, limit float64, decimals int) Target {
	return Target{
		What: what, Want: fmt.Sprintf("≤ %.*f", decimals, limit), Measured: measured, Decimals: decimals,
		Met: round(measured.Median, decimals) <= limit,
	}
}

func below(what string, measured stats.Spread, limit float64, decimals int) Target {
	return Target{
		What: what, Want: fmt.Sprintf("< %.*f", decimals, limit), Measured: measured, Decimals: decimals,
		Met: round(measured.Median, decimals) < limit,
	}
}

// Thousands writes a number with commas.
func Thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
