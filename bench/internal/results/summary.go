package results

import (
	"math"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// throughput returns a value of each round, for a peer and a number of
// connections, in the order of rounds.
func (r *Results) throughput(peer string, connections int, value func(Throughput) float64) []float64 {
	var values []float64
	for _, t := range r.Throughput {
		if t.Peer == peer && t.Connections == connections {
			values = append(values, value(t))
		}
	}
	return values
}

// Add adds what an earlier measurement of the same counted.
func (t *Throughput) Add(earlier Throughput) {
	t.Requests += earlier.Requests
	t.Duration += earlier.Duration
	t.GatewayCPU += earlier.GatewayCPU
	t.DatabaseCPU += earlier.DatabaseCPU
	t.BackendCPU += earlier.BackendCPU
	t.ApplicationCPU += earlier.ApplicationCPU
	t.LoadCPU += earlier.LoadCPU
	t.Questions += earlier.Questions
	t.Executed += earlier.Executed
	t.PagesRead += earlier.PagesRead
	t.Hits += earlier.Hits
	t.Peak = max(t.Peak, earlier.Peak)
}

// beside returns a value of each round of what a peer is compared with: what
// was measured beside it, or else all there is.
func (r *Results) beside(peer, base string, connections int, value func(Throughput) float64) []float64 {
	var values []float64
	for _, t := range r.Throughput {
		if t.Peer == base && t.Connections == connections && t.Beside == peer && peer != base {
			values = append(values, value(t))
		}
	}
	if values == nil {
		return r.throughput(base, connections, value)
	}
	return values
}

// PerSecond is the spread of a peer's requests per second.
func (r *Results) PerSecond(peer string, connections int) stats.Spread {
	return stats.Of(r.throughput(peer, connections, Throughput.PerSecond))
}

// Ratio is the spread of a peer's requests per second over another's of the
// same round.
func (r *Results) Ratio(peer, base string, connections int) stats.Spread {
	return stats.Of(r.ratios(peer, base, connections))
}

// Quotient is the spread of a peer's Ratio to bare over that of another peer of
// the same round.
func (r *Results) Quotient(peer, other, bare string, connections int) stats.Spread {
	return stats.Of(stats.Ratios(r.ratios(peer, bare, connections), r.ratios(other, bare, connections)))
}

func (r *Results) ratios(peer, base string, connections int) []float64 {
	return stats.Ratios(
		r.throughput(peer, connections, Throughput.PerSecond),
		r.beside(peer, base, connections, Throughput.PerSecond))
}

// CPU is the spread of CPU seconds for 10,000 requests.
func (r *Results) CPU(peer string, connections int, of func(Throughput) time.Duration) stats.Spread {
	return stats.Of(r.throughput(peer, connections, func(t Throughput) float64 {
		return of(t).Seconds() / float64(t.Requests) * 10_000
	}))
}

// mebibytes is what a number of bytes is in MiB.
func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// Resident is the spread of a gateway's memory after measurements with a number
// of connections, in MiB.
func (r *Results) Resident(peer string, connections int) stats.Spread {
	return stats.Of(r.throughput(peer, connections, resident))
}

// ResidentOver is by how much that is more than another's of the same round.
func (r *Results) ResidentOver(peer, base string, connections int) stats.Spread {
	return stats.Of(stats.Differences(
		r.throughput(peer, connections, resident), r.beside(peer, base, connections, resident)))
}

func resident(t Throughput) float64 { return mebibytes(t.Resident) }

// Peak is the most memory that a gateway has had, in MiB.
func (r *Results) Peak(peer string) float64 {
	var most int64
	for _, t := range r.Throughput {
		if t.Peer == peer {
			most = max(most, t.Peak)
		}
	}
	return mebibytes(most)
}

// QueriesPerRequest is how many statements the database got for a request.
func (r *Results) QueriesPerRequest(peer string, connections int) stats.Spread {
	return stats.Of(r.throughput(peer, connections, func(t Throughput) float64 {
		return float64(t.Questions) / float64(t.Requests)
	}))
}

// HitsPerRequest is the part of requests that kept rows answered.
func (r *Results) HitsPerRequest(peer string, connections int) stats.Spread {
	return stats.Of(r.throughput(peer, connections, func(t Throughput) float64 {
		return float64(t.Hits) / float64(t.Requests)
	}))
}

// CPURatio is how many requests a second of CPU time is enough for, over that with
// another peer in the same round. The time is that of all processes, the load generator
// included. So the ratio is that of requests per second where all CPUs are busy, and
// other work on the machine changes it less.
func (r *Results) CPURatio(peer, base string, connections int) stats.Spread {
	return stats.Of(r.cpuRatios(peer, base, connections))
}

// CPUQuotient is what Quotient is, of CPURatio.
func (r *Results) CPUQuotient(peer, other, bare string, connections int) stats.Spread {
	return stats.Of(stats.Ratios(r.cpuRatios(peer, bare, connections), r.cpuRatios(other, bare, connections)))
}

func (r *Results) cpuRatios(peer, base string, connections int) []float64 {
	perSecond := func(t Throughput) float64 { return float64(t.Requests) / t.CPU().Seconds() }
	return stats.Ratios(r.throughput(peer, connections, perSecond), r.beside(peer, base, connections, perSecond))
}

// perInstruction has the instructions per request of each round.
func (r *Results) perInstruction(peer string) []float64 {
	var values []float64
	for _, i := range r.Instructions {
		if i.Peer == peer {
			values = append(values, float64(i.Count)/float64(i.Requests))
		}
	}
	return values
}

// InstructionsOf is the spread of a peer's instructions per request.
func (r *Results) InstructionsOf(peer string) stats.Spread { return stats.Of(r.perInstruction(peer)) }

// InstructionsRatio is that over another peer's.
func (r *Results) InstructionsRatio(peer, base string) stats.Spread {
	return stats.Of(stats.Ratios(r.perInstruction(peer), r.perInstruction(base)))
}

// OfGateways is the spread of a value of measurements of several gateways, behind a
// balancer with a policy or without one.
func (r *Results) OfGateways(peer, policy string, gateways int, value func(Gateways) float64) stats.Spread {
	var values []float64
	for _, g := range r.Gateways {
		if g.Peer == peer && g.Policy == policy && g.Gateways == gateways {
			values = append(values, value(g))
		}
	}
	return stats.Of(values)
}

// latency returns a percentile of each round, in milliseconds.
func (r *Results) latency(peer string, percentile func(Latency) time.Duration) []float64 {
	return r.latencies(func(l Latency) bool { return l.Peer == peer }, percentile)
}

func (r *Results) latencies(isMeant func(Latency) bool, percentile func(Latency) time.Duration) []float64 {
	var values []float64
	for _, l := range r.Latency {
		if isMeant(l) {
			values = append(values, stats.Milliseconds(percentile(l)))
		}
	}
	return values
}

// LatencyOf is the spread of a percentile, in milliseconds.
func (r *Results) LatencyOf(peer string, percentile func(Latency) time.Duration) stats.Spread {
	return stats.Of(r.latency(peer, percentile))
}

// LatencyRatio is that over another peer's of the same round: what was measured beside
// it, or else all there is.
func (r *Results) LatencyRatio(peer, base string, percentile func(Latency) time.Duration) stats.Spread {
	beside := r.latencies(func(l Latency) bool { return l.Peer == base && l.Beside == peer }, percentile)
	if beside == nil {
		beside = r.latency(base, percentile)
	}
	return stats.Of(stats.Ratios(r.latency(peer, percentile), beside))
}

// AddedPerSelect is the latency that authentication adds to a request, over
// that of a prepared SELECT.
func (r *Results) AddedPerSelect(of func(Single) time.Duration) stats.Spread {
	var ratios []float64
	for _, s := range r.Single {
		if of(s) > 0 {
			ratios = append(ratios, float64(of(s)-s.Bare)/float64(s.Select))
		}
	}
	return stats.Of(ratios)
}

// OfSesame and OfFollow are latencies, for AddedPerSelect and SingleOf.
func OfSesame(s Single) time.Duration { return s.Sesame }

// OfFollow is 0 if it wasn't measured.
func OfFollow(s Single) time.Duration { return s.Follow }

// SingleOf is the spread of what was measured over one connection, in
// milliseconds.
func (r *Results) SingleOf(value func(Single) time.Duration) stats.Spread {
	var values []float64
	for _, s := range r.Single {
		values = append(values, stats.Milliseconds(value(s)))
	}
	return stats.Of(values)
}

// Sizes are the numbers of rows that growth was measured with, ascending.
func (r *Results) Sizes() []int {
	var sizes []int
	for _, g := range r.Growth {
		if !slices.Contains(sizes, g.Rows) {
			sizes = append(sizes, g.Rows)
		}
	}
	slices.Sort(sizes)
	return sizes
}

// atSize returns a value of each round of gateways of a kind with a table of a size.
func (r *Results) atSize(kind string, rows int, value func(Throughput) float64) []float64 {
	var values []float64
	for _, g := range r.Growth {
		if g.Kind == kind && g.Rows == rows {
			values = append(values, value(g.Throughput))
		}
	}
	return values
}

// AtSize is the spread of a value of measurements of gateways of a kind with a table of a
// size.
func (r *Results) AtSize(kind string, rows int, value func(Throughput) float64) stats.Spread {
	return stats.Of(r.atSize(kind, rows, value))
}

// GrowthPercent is by how much longer a request to a gateway of a kind takes with the
// largest table than with the smallest.
func (r *Results) GrowthPercent(kind string) stats.Spread {
	sizes := r.Sizes()
	if len(sizes) < 2 {
		return stats.Spread{}
	}
	// Time is what requests per second are the inverse of.
	growth := stats.Ratios(
		r.atSize(kind, sizes[0], Throughput.PerSecond), r.atSize(kind, sizes[len(sizes)-1], Throughput.PerSecond))
	for i := range growth {
		growth[i] = (growth[i] - 1) * 100
	}
	return stats.Of(growth)
}

// round is a number with so many decimals.
func round(x float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(x*scale) / scale
}
