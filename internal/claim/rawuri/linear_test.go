package rawuri

import (
	"strings"
	"testing"
	"time"
)

// TestScansAreLinear compares the cost of the worst text with that of a harmless
// one of the same length: a scan that starts again with each piece would take
// thousands of times as long.
func TestScansAreLinear(t *testing.T) {
	const size, most = 1 << 18, 100
	names := []string{"sesame"}
	scans := map[string]func(text string){
		"field":  func(text string) { Cut(text, Field, names); Redact(text, Field, names) },
		"query":  func(text string) { Cut(text, Query, names); Redact(text, Query, names) },
		"path":   func(text string) { Blank(text, Path, names) },
		"cookie": func(text string) { Cut(text, Cookie, names) },
		"exact": func(text string) {
			CutParameter(text, "sesame")
			CutFromURI("/?"+text, "sesame")
			RedactInURI("/?"+text, "sesame")
		},
		"damaged": func(text string) { DamagedParameter(text, "sesame") },
		"target":  func(text string) { OwnTarget(text, "/") },
	}
	// Other programs may take the processor: a text is scanned again until that takes less
	// than enough, which a scan that takes too long never does.
	fastest := func(scan func(string), text string, enough time.Duration) time.Duration {
		best := time.Hour
		for try := 0; (try < 3 || enough > 0 && try < 10) && best > enough; try++ {
			start := time.Now()
			scan(text)
			best = min(best, time.Since(start))
		}
		return best
	}
	for name, scan := range scans {
		control := max(fastest(scan, "?"+strings.Repeat("a=%41&", size/6), 0), time.Millisecond)
		for _, piece := range []string{
			"sesame&", "?sesame", "sesame=&", "&sesame=T", ";", "#", "%", "%25", "%2", "=", "]=", "[]=", "%00", "amp;", "?a", "sesame%3D", "%26amp;sesame=T", "[",
			"]= ", "sesame[]=", "sesame[[", "]]=", "= ", "sesame=\"", "\" =", "+=", "\\u003d", "%u00", "&#61;", "sesame&equals;", "\\", "; =T", "sesame=      ",
		} {
			if got := fastest(scan, "?"+strings.Repeat(piece, size/len(piece)), most*control); got > most*control {
				t.Errorf("%s of %q takes %v, a harmless text %v", name, piece, got, control)
			}
		}
	}
}
