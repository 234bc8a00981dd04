package sesame_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// startListening runs a program until the test ends, which ends it by a signal,
// and waits until it listens on an address.
func startListening(t *testing.T, app *exec.Cmd, addr string, end os.Signal) {
	t.Helper()
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	app.Stdout, app.Stderr = output, output
	gone, err := child.StartTied(app)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = app.Process.Signal(end)
		<-gone
	})
	poll(t, app.Path, func() bool {
		select {
		case <-gone:
			text, _ := os.ReadFile(output.Name())
			t.Fatalf("%s ended: %s", app, text)
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}
