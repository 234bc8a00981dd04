package peer

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestProcessesAreFoundWithTheirChildrenAndMeasured(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if _, err := io.WriteString(in, "it runs\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	family, err := withChildren(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if family[0] != os.Getpid() || !slices.Contains(family, cmd.Process.Pid) {
		t.Errorf("the family is %v; it lacks %d or %d", family, os.Getpid(), cmd.Process.Pid)
	}
	memory, err := MemoryOf([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if memory.Resident < 1<<20 || memory.Peak < memory.Resident {
		t.Errorf("the memory is %+v", memory)
	}
	if _, err := CPUTime(os.Getpid(), cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	if _, err := CPUTime(-1); err == nil {
		t.Error("a process that isn't there has a CPU time")
	}
}
