package stats_test

import (
	"math"
	"slices"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

func TestOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		values []float64
		want   stats.Spread
		text   string
	}{
		{"none", nil, stats.Spread{}, "–"},
		{"one", []float64{0.5}, stats.Spread{0.5, 0.5, 0.5, 1}, "0.50 (0.50..0.50)"},
		{"odd", []float64{3, 1, 2}, stats.Spread{2, 1, 3, 3}, "2.00 (1.00..3.00)"},
		{"even", []float64{4, 1, 3, 2}, stats.Spread{2.5, 1, 4, 4}, "2.50 (1.00..4.00)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before := slices.Clone(test.values)
			got := stats.Of(test.values)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if !slices.Equal(test.values, before) {
				t.Errorf("the values were changed to %v", test.values)
			}
			if text := got.Format(2); text != test.text {
				t.Errorf("formatted as %q, want %q", text, test.text)
			}
		})
	}
	if !math.IsNaN(stats.Median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	t.Parallel()
	got := stats.Ratios([]float64{90, 40, 7, 5}, []float64{100, 50, 0})
	if want := []float64{0.9, 0.8}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got = stats.Differences([]float64{9, 4, 7}, []float64{5, 5})
	if want := []float64{4, -1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	tests := []struct {
		sorted []int
		p      float64
		want   int
	}{
		{nil, 50, 0},
		{[]int{7}, 99.9, 7},
		{[]int{1, 2}, 50, 1},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.9, 100},
		{hundred, 100, 100},
	}
	for _, test := range tests {
		if got := stats.Percentile(test.sorted, test.p); got != test.want {
			t.Errorf("p%v of %d values is %d, want %d", test.p, len(test.sorted), got, test.want)
		}
	}
}
