// Package testpeer runs Python programs in which the original of a format,
// Django or one of its libraries, does what a package under test does. The two
// talk in lines of JSON: one question, one answer.
package testpeer

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Checkouts returns the directories that the environment variable name lists,
// separated as in PATH. It skips the test if there are none, with a message
// that names the project with of.
func Checkouts(t testing.TB, name, of string) []string {
	t.Helper()
	list := filepath.SplitList(os.Getenv(name))
	if len(list) == 0 {
		t.Skipf("%s doesn't name a checkout of %s: not testing against it, only against vectors made by it", name, of)
	}
	for _, directory := range list {
		if info, err := os.Stat(directory); err != nil || !info.IsDir() { //nolint:gosec // the caller of the test names it
			t.Fatalf("%s: %q is no directory", name, directory)
		}
	}
	return list
}

// CheckoutsOrPackage is Checkouts where the variable is set. Otherwise it returns no
// directories if the interpreter has a package installed, as CI has Debian's, or else
// skips the test.
func CheckoutsOrPackage(t testing.TB, name, of, pkg string) []string {
	t.Helper()
	if os.Getenv(name) != "" {
		return Checkouts(t, name, of)
	}
	script := "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
	if exec.CommandContext(t.Context(), python(), "-c", script, pkg).Run() != nil { //nolint:gosec // the caller of the test names it
		return Checkouts(t, name, of)
	}
	return nil
}

// python is the interpreter: see Start.
func python() string { return cmp.Or(os.Getenv("PEER_PYTHON"), "/usr/bin/python3") }

// Process is a running Python program.
type Process struct {
	in     io.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
}

// Start runs a script until the test ends. The paths come first in the
// script's module search path, before what PYTHONPATH lists. PEER_PYTHON names
// the interpreter, and defaults to /usr/bin/python3: Debian's, which uses the
// packages python3-asgiref, python3-argon2 and python3-bcrypt.
func Start(t testing.TB, script string, paths ...string) *Process {
	t.Helper()
	if inherited := os.Getenv("PYTHONPATH"); inherited != "" {
		paths = append(paths, inherited)
	}
	p := &Process{stderr: new(bytes.Buffer)}
	cmd := exec.CommandContext(t.Context(), python(), script) //nolint:gosec // the test names both
	cmd.Env = append(os.Environ(),
		"PYTHONPATH="+strings.Join(paths, string(os.PathListSeparator)),
		"PYTHONDONTWRITEBYTECODE=1",
		"PYTHONIOENCODING=utf-8",
		"PYTHONWARNINGS=ignore",
	)
	cmd.Stderr = p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", python(), err)
	}
	t.Cleanup(func() {
		_ = in.Close() // the script then ends
		_ = cmd.Wait()
	})
	return p
}

// Ask sends a question and reads the answer.
func (p *Process) Ask(t testing.TB, question, answer any) {
	t.Helper()
	if err := json.NewEncoder(p.in).Encode(question); err != nil {
		t.Fatalf("asking the original: %v\n%s", err, p.stderr)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("asking the original: %v\n%s", err, p.stderr)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		t.Fatalf("asking the original: %v: %.500s", err, line)
	}
}

// Vector is a recorded question and the original's answer.
type Vector[Question, Answer any] struct {
	Question Question `json:"question"`
	Answer   Answer   `json:"answer"`
}

// Vectors reads a JSON file of vectors, of which there must be one at least.
func Vectors[Question, Answer any](t testing.TB, file string) (vectors []Vector[Question, Answer]) {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // the test names it
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(vectors) == 0 {
		t.Fatalf("%s has no vectors", file)
	}
	return vectors
}
