// Package testprogram runs the programs that tests need, each until its test
// ends: servers, PHP, and Pythons that answer line by line.
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

// startLimit is how long a program may take to listen. Only a broken or very busy
// machine gets near.
const startLimit = 60 * time.Second

// Listen runs a program until the test ends, which ends it by a signal, and waits
// until it listens on an address.
func Listen(t testing.TB, program *exec.Cmd, addr string, end os.Signal) {
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
		if conn, err := net.Dial("tcp", addr); err == nil {
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

// Dialog is a program that answers what is written to it, until the end of that.
type Dialog struct {
	In     io.WriteCloser
	Out    io.Reader
	Errors *bytes.Buffer // what it has written to stderr, once it has ended
}

// StartDialog runs a program until the test ends, which closes its input. It is
// a failure if the program fails.
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
		_ = d.In.Close() // it ends then
		if err := program.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", program, err, d.Errors)
		}
	})
	return d
}

// lacks ends a test that needs what isn't installed: it fails in CI and where
// SESAME_SRC asks for comparisons, and is skipped elsewhere.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("SESAME_SRC") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}
