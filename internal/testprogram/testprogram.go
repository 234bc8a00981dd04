// Package testprogram runs the programs that tests need, each until its test
// ends: servers, PHP, and Python programs that answer line by line.
package testprogram

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// startLimit is how long a program may take to listen. Only a broken or very
// busy machine takes nearly as long.
const startLimit = 3 * time.Minute

// Listen runs a program, and waits until it listens on an address. At the end
// of the test, it ends the program with a signal.
func Listen(t testing.TB, program *exec.Cmd, addr string, end os.Signal) {
	t.Helper()
	listen(t, program, "tcp", addr, end)
}

// listen is Listen in any network.
func listen(t testing.TB, program *exec.Cmd, network, addr string, end os.Signal) {
	t.Helper()
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	program.Stdout, program.Stderr = output, output
	gone, err := child.StartTied(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Signal(end) // it may have ended already
		<-gone
	})
	deadline := time.After(startLimit)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if conn, err := net.Dial(network, addr); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-poll.C:
		case <-gone:
			text, _ := os.ReadFile(output.Name())
			t.Fatalf("%s ended: %s", program, text)
		case <-deadline:
			t.Fatalf("%s doesn't listen on %s", program, addr)
		}
	}
}

// Dialog is a program that answers each line of its input until the input
// ends.
type Dialog struct {
	In     io.WriteCloser
	Out    io.Reader
	Errors *bytes.Buffer // its standard error, once it has ended
}

// StartDialog runs a program. At the end of the test, its input is closed. The
// test fails if the program fails.
func StartDialog(t testing.TB, program *exec.Cmd) *Dialog {
	t.Helper()
	d := &Dialog{Errors: new(bytes.Buffer)}
	program.Stderr = d.Errors
	var err error
	if d.In, err = program.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if d.Out, err = program.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.In.Close() // the program then ends
		if err := program.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, d.Errors)
		}
	})
	return d
}

// lacks ends a test that needs a program that isn't installed: the test fails
// in CI and where SESAME_SRC is set, and is skipped elsewhere.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("SESAME_SRC") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// await waits until a condition holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(startLimit)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
