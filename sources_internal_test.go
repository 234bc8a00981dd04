package sesame

import "testing"

// TestCleanupForgetsTheApp: the sources that an app's handlers share would otherwise
// keep the whole configuration in memory.
func TestCleanupForgetsTheApp(t *testing.T) {
	t.Parallel()
	isForgotten := false
	h := &Handler{gate: &gate{forgetSources: func() { isForgotten = true }}}
	if err := h.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if !isForgotten {
		t.Error("Cleanup doesn't forget what the app's handlers share")
	}
}
