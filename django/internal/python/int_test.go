package python

import (
	"math"
	"strings"
	"testing"
)

func TestIntReadsWhatPythonReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{
		"0": 0, "42": 42, "-5": -5, "+5": 5, "007": 7, "1_000": 1000, " 5\n": 5, "\u00a05\u2003": 5, "-0": 0,
		"٤٢": 42, "𝟗𝟘": 90, "１_２": 12, strings.Repeat("0", 4300): 0, strings.Repeat("9", 4300): math.Inf(1),
	} {
		if got, ok := Int(text); !ok || got != want {
			t.Errorf("%.20q: %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", " ", "-", "+", "--5", "+-5", "- 5", "5 5", "_5", "5_", "5__5", "-_5", "1.0", "1e3", "0x5", "x", "²", "५x", "\u200b5", "\x1c5", "\x1c٥", "\xff", strings.Repeat("9", 4301),
	} {
		if got, ok := Int(text); ok {
			t.Errorf("%.20q: %v, which Python refuses", text, got)
		}
	}
}
