// Package stats condenses measurements: medians with the range they come from,
// and percentiles.
package stats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Spread is the median of some measurements, and the least and the greatest of
// them. The zero Spread is of none.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// Of returns the spread of values.
func Of(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Spread{Median: Median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1], N: len(sorted)}
}

// Format writes the spread as "median (min..max)", with so many decimals.
func (s Spread) Format(decimals int) string {
	if s.N == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f (%.*f..%.*f)", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}

// Median returns the middle of sorted values, or the mean of the two in the
// middle, or NaN of none.
func Median(sorted []float64) float64 {
	n := len(sorted)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

// Ratios divides each value by the one at the same place in base: what was
// measured in the same round. Rounds that only one of them has are left out, as
// are those where the base is zero.
func Ratios(values, base []float64) []float64 {
	n := min(len(values), len(base))
	ratios := make([]float64, 0, n)
	for i := range n {
		if base[i] != 0 {
			ratios = append(ratios, values[i]/base[i])
		}
	}
	return ratios
}

// Differences subtracts from each value the one at the same place in base.
func Differences(values, base []float64) []float64 {
	differences := make([]float64, min(len(values), len(base)))
	for i := range differences {
		differences[i] = values[i] - base[i]
	}
	return differences
}

// Percentile returns the smallest of sorted durations that at least p percent
// of them don't exceed, or 0 of none.
func Percentile[T cmp.Ordered](sorted []T, p float64) T {
	var zero T
	if len(sorted) == 0 {
		return zero
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Milliseconds is a duration as a number, for tables and charts.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
