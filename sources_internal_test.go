package sesame

import (
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestCleanupForgetsTheApp: what an app's handlers share would keep the whole
// configuration in memory after it is gone.
func TestCleanupForgetsTheApp(t *testing.T) {
	t.Parallel()
	app := new(caddyhttp.App)
	sources, err := newTokenSources("", nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{forgetSources: sources.register(app)}
	if _, ok := placesOf.Load(app); !ok {
		t.Fatal("the app isn't known")
	}
	if err := h.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if _, ok := placesOf.Load(app); ok {
		t.Error("the app is still known")
	}
}
