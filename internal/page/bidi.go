package page

import (
	"strings"

	"golang.org/x/text/unicode/bidi"
)

// Characters around a text whose direction is that of its own first letter (UAX #9,
// section 2.4).
const (
	firstStrongIsolate = "\u2068"
	popIsolate         = "\u2069"
)

// withoutBidiControl drops characters that change the direction of what follows
// them (UAX #9, section 2), for strings.Map: a user's name could show a page's text
// backwards.
func withoutBidiControl(c rune) rune {
	switch {
	case c >= '\u202a' && c <= '\u202e', c >= '\u2066' && c <= '\u2069', c == '\u200e', c == '\u200f', c == '\u061c':
		return -1
	}
	return c
}

// isRightToLeft reports whether a text has letters of a script that is written from
// right to left.
func isRightToLeft(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool {
		properties, _ := bidi.LookupRune(c)
		class := properties.Class()
		return class == bidi.R || class == bidi.AL
	})
}
