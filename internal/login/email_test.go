package login

import "testing"

// TestMaskedAddress: a link of another user's doesn't tell the address.
func TestMaskedAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"ann@example.com":   "a…@example.com",
		"a@example.com":     "a…@example.com",
		"ünï@exämple.com":   "ü…@exämple.com",
		"@example.com":      "…@example.com",
		"no address at all": "",
		"":                  "",
	} {
		if got := masked(address); got != want {
			t.Errorf("%q is shown as %q, want %q", address, got, want)
		}
	}
}
