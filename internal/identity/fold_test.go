package identity

import (
	"strings"
	"testing"
	"unicode"
)

// TestNamesAreFoldedToLettersAndDigits compares names as servers do that read
// them from CGI variables, or drop unknown characters.
func TestNamesAreFoldedToLettersAndDigits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ title, name, want string }{
		{"an empty name", "", ""},
		{"capital letters become small ones", "Remote-USER", "remoteuser"},
		{"hyphens, underscores and dots are dropped", "-X_Auth.User-", "xauthuser"},
		{"digits stay", "X-0123456789", "x0123456789"},
		{"both ends of the alphabets are letters", "AZaz", "azaz"},
		{"what is next to letters and digits is none", "@A[Z`a{z/0:9", "azaz09"},
		{"other characters of RFC 9110's tokens are dropped", "a!#$%&'*+-.^_`|~b", "ab"},
		{"letters beyond ASCII are dropped", "Ｒemote-Üser\xff", "emoteser"},
		{"control characters and spaces are dropped", "a \t\x00\x7fb", "ab"},
		{"nothing but what is dropped", "-_-", ""},
	} {
		t.Run(test.title, func(t *testing.T) {
			t.Parallel()
			if got := fold(test.name); got != test.want {
				t.Errorf("%q became %q, want %q", test.name, got, test.want)
			}
			if !foldsTo(test.name, test.want) {
				t.Errorf("%q isn't found as %q", test.name, test.want)
			}
			for _, other := range []string{test.want + "x", "x" + test.want, strings.ToUpper(test.want) + "X"} {
				if foldsTo(test.name, other) {
					t.Errorf("%q is found as %q", test.name, other)
				}
			}
			if n := len(test.want); n > 0 && (foldsTo(test.name, test.want[:n-1]) || foldsTo(test.name, test.want[1:])) {
				t.Errorf("%q is found as a part of %q", test.name, test.want)
			}
		})
	}
}

func TestEachByteIsFoldedAsALetterADigitOrNothing(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		folded, ok := foldByte(byte(c))
		r := rune(c)
		isKept := r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r))
		if ok != isKept || isKept && rune(folded) != unicode.ToLower(r) {
			t.Errorf("%q became %q, %t", r, folded, ok)
		}
	}
}
