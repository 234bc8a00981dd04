package python

import (
	"strings"
	"unicode"
)

// Int reads a text like Python's int: in decimal, with any script's digits,
// white space around them and underscores between them. A number beyond what a
// float64 holds is infinite.
func Int(text string) (value float64, ok bool) {
	text = strings.TrimFunc(text, unicode.IsSpace)
	unsigned, isNegative := strings.CutPrefix(text, "-")
	if !isNegative {
		unsigned = strings.TrimPrefix(text, "+")
	}
	digits := 0
	for i, part := range strings.Split(unsigned, "_") {
		if part == "" || i > 0 && digits == 0 {
			return 0, false
		}
		for _, r := range part {
			digit, isDigit := digitOf(r)
			if digits++; !isDigit || digits > maxDigits {
				return 0, false
			}
			value = 10*value + float64(digit)
		}
	}
	if isNegative {
		value = -value
	}
	return value, true
}

// digitOf returns what a decimal digit stands for. Unicode has those of each
// script in order, from zero.
func digitOf(r rune) (int, bool) {
	if r >= '0' && r <= '9' {
		return int(r - '0'), true
	}
	if !unicode.Is(unicode.Nd, r) {
		return 0, false
	}
	for _, of := range unicode.Nd.R16 {
		if rune(of.Lo) <= r && r <= rune(of.Hi) {
			return int(r-rune(of.Lo)) % 10, true
		}
	}
	for _, of := range unicode.Nd.R32 {
		if rune(of.Lo) <= r && r <= rune(of.Hi) {
			return int(r-rune(of.Lo)) % 10, true
		}
	}
	return 0, false
}
