package child_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

func TestTempDirRemovesThoseOfProgramsThatHaveEnded(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		kept bool
	}{
		{fmt.Sprintf("tests-%d-1", ended.Process.Pid), false},
		{fmt.Sprintf("tests-%d-1", os.Getpid()), true},
		{fmt.Sprintf("other-%d-1", ended.Process.Pid), true},
		{"tests-x-1", true},
		{"tests-0-1", true},
	} {
		dir := filepath.Join(os.TempDir(), test.name)
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		made, err := child.TempDir("tests")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); (err == nil) != test.kept {
			t.Errorf("%s: %v; kept: want %t", test.name, err, test.kept)
		}
		if _, err := os.Stat(made); err != nil {
			t.Error(err)
		}
	}
}
