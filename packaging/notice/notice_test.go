package notice

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// program is a binary: that of a test doesn't tell what is in it.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "release")
	if output, err := exec.Command("go", "build", "-o", file, "../cmd/release").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return file
}

// sources are those of the program.
func sources(t *testing.T) Sources {
	t.Helper()
	output, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, root, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	return Sources{ModuleCache: cache, GoRoot: root, Own: "github.com/caddy-sesame/caddy-sesame"}
}

func TestLicencesOfModulesAndOfGoAreCollected(t *testing.T) {
	t.Parallel()
	text, err := Collect(program(t), sources(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nGo's standard library, " + runtime.Version(), "\ngolang.org/x/mod v", "\nLICENSE:\n", "\nPATENTS:\n", "Copyright 2009 The Go Authors."} {
		if !strings.Contains(text, want) {
			t.Errorf("the licences lack %q", want)
		}
	}
}

// TestModuleWithoutLicenceIsNamed: its binary may not be given to others.
func TestModuleWithoutLicenceIsNamed(t *testing.T) {
	t.Parallel()
	from := sources(t)
	from.GoRoot = t.TempDir()
	_, err := Collect(program(t), from)
	if err == nil || !strings.Contains(err.Error(), "Go's standard library") || !strings.Contains(err.Error(), "has no licence") {
		t.Errorf("the error is %v", err)
	}
}

func TestNamesOfLicences(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"LICENSE": true, "LICENCE.txt": true, "License.md": true, "COPYING": true, "NOTICE": true, "LICENSE-APACHE": true, "UNLICENSE": true,
		"licenses.go": false, "README.md": false, "noticeboard.txt": false,
	} {
		if got := licence.MatchString(name); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}
