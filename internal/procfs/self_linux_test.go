package procfs_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/procfs"
)

// TestThisProcess reads the real files.
func TestThisProcess(t *testing.T) {
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

	family, err := procfs.WithChildren(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if family[0] != os.Getpid() || !slices.Contains(family, cmd.Process.Pid) {
		t.Errorf("the family is %v; it lacks %d or %d", family, os.Getpid(), cmd.Process.Pid)
	}
	memory, err := procfs.MemoryOf([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if memory.Resident < 1<<20 || memory.Peak < memory.Resident {
		t.Errorf("the memory is %+v", memory)
	}
	if _, err := procfs.CPUTime([]int{os.Getpid(), cmd.Process.Pid}); err != nil {
		t.Error(err)
	}
	if _, err := procfs.CPUTime([]int{-1}); err == nil {
		t.Error("a process that isn't there has a CPU time")
	}
}

// TestOpen counts this process's descriptors, and its connections to a port.
func TestOpen(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	for want := range 3 {
		n, err := procfs.ConnectionsTo(os.Getpid(), port)
		if err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Errorf("%d connections, want %d", n, want)
		}
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if n, err := procfs.Descriptors(os.Getpid()); err != nil || n < 4 {
		t.Errorf("%d descriptors, %v", n, err)
	}
	if _, err := procfs.Descriptors(-1); err == nil {
		t.Error("a process that isn't there has descriptors")
	}
}
