package authn

import (
	"errors"
	"testing"
)

// TestOnlyTheRightCredentialOfAnInactiveUserIsStale: the answer to a wrong
// credential is the same, but it counts as a guess.
func TestOnlyTheRightCredentialOfAnInactiveUserIsStale(t *testing.T) {
	t.Parallel()
	for pin, want := range map[string]bool{"gone gggg": true, "gone guess": false, "nobody nnnn": false} {
		var told tried
		_, err := told.authenticator().Explicit(request(), take(t, pins{}, pin), At{}, notCarol)
		if !IsRejection(err) {
			t.Fatalf("%s: %v is no rejection", pin, err)
		}
		if _, got := errors.AsType[Stale](err); got != want {
			t.Errorf("%s: %v; stale: %t, want %t", pin, err, got, want)
		}
	}
}
