package ledger

import "slices"

// Growth compares what was read in the first third of a time with what was in
// the last, by their medians.
func Growth(readings []int64) (first, last int64) {
	if len(readings) < 3 {
		return 0, 0
	}
	third := len(readings) / 3
	return median(readings[:third]), median(readings[len(readings)-third:])
}

func median(of []int64) int64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
