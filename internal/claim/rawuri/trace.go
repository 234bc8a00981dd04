package rawuri

import "strings"

// mostEncodings is how many percent-encodings HasTrace undoes: a text is encoded
// once for each URL that it is nested in.
const mostEncodings = 5

// HasTrace reports whether a text has a parameter of the given name, in any case,
// behind any separator and percent-encoded up to five times. Mail programs, and URLs
// in parameters, bring tokens into such a form.
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
