package login

import "testing"

// TestNamesAreReadAsByDjangosForm: as UsernameField and CharField do.
func TestNamesAreReadAsByDjangosForm(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"alice":                "alice",
		" \talice\u00a0\r\n":   "alice",
		"\x1calice\x1f":        "alice",
		"\ufb01ona":            "fiona", // the ligature fi
		"Zoe\u0308":            "Zo\u00eb",
		"\uff21lice":           "Alice", // a full-width letter
		"a b":                  "a b",
		" ":                    "",
		"\u200balice":          "\u200balice", // no white space for Python either
		"ALICE@EXAMPLE.COM \n": "ALICE@EXAMPLE.COM",
	} {
		if got := identifierOf(typed); got != want {
			t.Errorf("%q is read as %q, want %q", typed, got, want)
		}
	}
	for text, want := range map[string]bool{"p\u00e4ss": true, " ": true, "a\x00": false, "\xff": false} {
		if isText(text) != want {
			t.Errorf("%q is a text: %t", text, !want)
		}
	}
}
