package machine

import (
	"runtime"
	"testing"
)

func TestParts(t *testing.T) {
	t.Parallel()
	const cpuinfo = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some CPU: 9000\n\nprocessor\t: 1\nmodel name\t: another\n"
	if got := cpuModel(cpuinfo); got != "Some CPU: 9000" {
		t.Errorf("the CPU is %q", got)
	}
	if got := memory("MemTotal:       24689256 kB\nMemFree:  1 kB\n"); got != 24689256<<10 {
		t.Errorf("the memory is %d", got)
	}
	// Not every system has these.
	if got := cpuModel(""); got != "" {
		t.Errorf("an unknown CPU is %q", got)
	}
	if got := memory("MemTotal: much\n"); got != 0 {
		t.Errorf("unknown memory is %d", got)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	m := Describe()
	if m.CPUs < 1 || m.Go == "" || m.Kernel == "" || m.Date.IsZero() {
		t.Errorf("got %+v", m)
	}
	if runtime.GOOS == "linux" && m.Memory == 0 {
		t.Error("Linux doesn't tell its memory")
	}
}
