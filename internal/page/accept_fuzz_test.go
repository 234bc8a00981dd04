package page

import (
	"strings"
	"testing"
)

// FuzzPreferred reads any Accept.
func FuzzPreferred(f *testing.F) {
	for _, accept := range []string{
		"", "*/*", "text/html", "text/html;q=0.1, application/json", "application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"TEXT/HTML; Q=0.5 , application/problem+json;q=0.500", "text/html;q=NaN,application/json;q=-1", "text/html;level=1;q=0", ",,;;q=1e400,",
	} {
		f.Add(accept, "application/json")
	}
	f.Fuzz(func(t *testing.T, accept, more string) {
		got := Preferred([]string{accept, more})
		if together := Preferred([]string{accept + "," + more}); together != got {
			t.Errorf("%q and %q: %v, as one field %v", accept, more, got, together)
		}
		lower := strings.ToLower(accept + "," + more)
		switch {
		case got == HTML && !strings.Contains(lower, "text/html") && !strings.Contains(lower, "application/xhtml+xml"),
			got == JSON && !strings.Contains(lower, "json"):
			t.Errorf("%q: %v, which isn't named", lower, got)
		}
		if unacceptable := Preferred([]string{accept, more, "text/html;q=0", "application/json;q=0"}); unacceptable != got {
			t.Errorf("%q: %v, and %v with types that are refused", lower, got, unacceptable)
		}
	})
}
