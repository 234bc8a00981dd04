package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSameCommitGivesTheSameFiles makes a release twice, in other directories: of a
// program that is smaller than caddy, with the real nfpm.
func TestSameCommitGivesTheSameFiles(t *testing.T) {
	t.Chdir("../../..") // the root of the checkout, where the files of packages are
	programs := t.TempDir()
	nfpm, program := filepath.Join(programs, "nfpm"), filepath.Join(programs, "program")
	goRun(t, "-C", "tools/nfpm", "build", "-o", nfpm, "github.com/goreleaser/nfpm/v2/cmd/nfpm")
	goRun(t, "-C", "packaging", "build", "-o", program, "./cmd/release")
	first, second := makeOnce(t, nfpm, program), makeOnce(t, nfpm, program)
	if !maps.Equal(first, second) {
		t.Errorf("the checksums are\n%v\nand\n%v", first, second)
	}
	var kinds []string
	for name := range first {
		kinds = append(kinds, strings.TrimLeft(name[strings.LastIndexAny(name, "._"):], "._"))
	}
	slices.Sort(kinds)
	if want := []string{"deb", "deb", "gz", "gz", "rpm", "rpm", "tar"}; !slices.Equal(kinds, want) {
		t.Errorf("the files are %q", kinds)
	}
}

func goRun(t *testing.T, arguments ...string) string {
	t.Helper()
	cmd := exec.Command("go", arguments...)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(arguments, " "), err)
	}
	return strings.TrimSpace(string(output))
}

// makeOnce returns the checksums by files.
func makeOnce(t *testing.T, nfpm, program string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	// A binary that was built at another time.
	copied := filepath.Join(dir, "caddy")
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(dir, "dist")
	if err := os.Mkdir(dist, 0o700); err != nil {
		t.Fatal(err)
	}
	r := release{
		version: "v1.2.3", time: time.Unix(1795672932, 0).UTC(), dist: dist, stage: filepath.Join(dir, "stage"), nfpm: nfpm,
		moduleCache: goRun(t, "env", "GOMODCACHE"), goRoot: goRun(t, "env", "GOROOT"),
	}
	if err := r.parseBinaries([]string{"amd64=" + copied, "arm64=" + copied}); err != nil {
		t.Fatal(err)
	}
	if err := r.make(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	return sums
}
