package claim

import (
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The sources that an app's handlers share must not keep the app's whole
// configuration in memory after the app has ended.
func TestUnregisterForgetsTheApp(t *testing.T) {
	t.Parallel()
	app := new(caddyhttp.App)
	sources, err := New("", nil)
	if err != nil {
		t.Fatal(err)
	}
	unregister := sources.Register(app)
	if _, ok := sharedOf.Load(app); !ok {
		t.Fatal("the app isn't known")
	}
	unregister()
	if _, ok := sharedOf.Load(app); ok {
		t.Error("the app is still known")
	}
}
