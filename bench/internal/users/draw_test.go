package users_test

import (
	"slices"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
)

func TestZipfDrawsSomeUsersFarMoreOftenThanOthers(t *testing.T) {
	t.Parallel()
	const n, draws = 1000, 100_000
	counts := make([]int, n)
	for _, i := range users.Zipf(n, draws) {
		counts[i]++
	}
	slices.Sort(counts)
	slices.Reverse(counts)
	// The sum of 1/rank over 1,000 ranks is 7.5.
	if first := counts[0]; first < draws/9 || first > draws/6 {
		t.Errorf("the most frequent user makes %d of %d requests", first, draws)
	}
	if ratio := float64(counts[0]) / float64(counts[9]); ratio < 8 || ratio > 12 {
		t.Errorf("the first makes %.1f times as many requests as the tenth", ratio)
	}
	if !slices.Equal(users.Zipf(50, 500), users.Zipf(50, 500)) {
		t.Error("two runs draw differently")
	}
}

func TestZipfDrawsTheOnlyUser(t *testing.T) {
	t.Parallel()
	if got := users.Zipf(1, 3); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("drawn: %v", got)
	}
}
