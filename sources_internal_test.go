package sesame

import "testing"

// TestCleanupForgetsTheApp: what an app's handlers share would keep the whole
// configuration in memory after it is gone.
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
