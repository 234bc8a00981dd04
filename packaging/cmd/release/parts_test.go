package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnknownVariablesOfPackagesAreNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nfpm.yaml")
	if err := os.WriteFile(file, []byte("arch: ${ARCH}\nversion: ${VERSON}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := expand(file, map[string]string{"ARCH": "amd64", "VERSION": "1"})
	if err == nil || !strings.Contains(err.Error(), "the variable VERSON") {
		t.Errorf("the error is %v", err)
	}
}

func TestChecksumsAreOfAllFiles(t *testing.T) {
	t.Parallel()
	dist := t.TempDir()
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dist, name), []byte("abc"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // also beside a list from before
		if err := checksums(dist); err != nil {
			t.Fatal(err)
		}
	}
	const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	got, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if want := sum + "  a\n" + sum + "  b\n"; err != nil || string(got) != want {
		t.Errorf("the list is %q, %v; want %q", got, err, want)
	}
}

func TestNamesOfFilesSurviveBeingPublished(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ packager, arch, number, want string }{
		{"deb", "arm64", "1.2.3", "caddy-sesame_1.2.3-1_arm64.deb"},
		{"deb", "amd64", "1.2.3~rc.1", "caddy-sesame_1.2.3.rc.1-1_amd64.deb"},
		{"rpm", "arm64", "1.2.3", "caddy-sesame-1.2.3-1.aarch64.rpm"},
		{"rpm", "amd64", "1.2.3~rc.1", "caddy-sesame-1.2.3.rc.1-1.x86_64.rpm"},
	} {
		if got := fileName(test.packager, test.arch, test.number); got != test.want {
			t.Errorf("%s for %s is %s, want %s", test.packager, test.arch, got, test.want)
		}
	}
}
