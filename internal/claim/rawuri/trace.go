package rawuri

import "strings"

// mostEncodings is how often a text may be percent-encoded for HasTrace to see
// through it: once for each URL that it is nested in.
const mostEncodings = 5

// HasTrace reports whether a text has a parameter of the given name with a value,
// in any letter case, behind any separator and percent-encoded up to five times:
// what mail programs make of links, and URLs nested in parameters.
func HasTrace(text, name string) bool {
	want := strings.ToLower(name) + "="
	for range mostEncodings + 1 {
		if strings.Contains(strings.ToLower(text), want) {
			return true
		}
		if !strings.Contains(text, "%") {
			return false
		}
		text = decodeParameter(text)
	}
	return false
}
