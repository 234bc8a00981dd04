package measure

import (
	"os"
	"path/filepath"
	"testing"
)

// dump is the end of a file of callgrind.
const dump = `# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 7
events: Ir
summary: 248334466

fn=(4) main.main
0 12

totals: 248334466
`

func TestCallgrindsDumpHasTheNumberOfInstructions(t *testing.T) {
	t.Parallel()
	c := &Callgrind{dir: t.TempDir()}
	for name, text := range map[string]string{"callgrind.7.1": dump, "callgrind.7.2": dump[:100]} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.read(7, 1); err != nil || got != 248334466 {
		t.Errorf("read %d, %v", got, err)
	}
	for _, number := range []int{2, 3} {
		if got, err := c.read(7, number); err == nil {
			t.Errorf("a dump without totals, or none, was read as %d", got)
		}
	}
}
