// Package machine describes what a run is made on.
package machine

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
)

// Describe says what the machine is. What the system doesn't tell stays empty:
// no run should fail for that.
func Describe() results.Machine {
	return results.Machine{
		Date:   time.Now().UTC().Truncate(time.Second),
		CPU:    cpuModel(read("/proc/cpuinfo")),
		CPUs:   runtime.NumCPU(),
		Memory: memory(read("/proc/meminfo")),
		Kernel: strings.TrimSpace(runtime.GOOS + " " + strings.TrimSpace(read("/proc/sys/kernel/osrelease"))),
		Go:     strings.TrimPrefix(runtime.Version(), "go"),
	}
}

func read(path string) string {
	text, err := os.ReadFile(path) //nolint:gosec // one of those named above
	if err != nil {
		return ""
	}
	return string(text)
}

// cpuModel is the name of the first CPU in /proc/cpuinfo.
func cpuModel(cpuinfo string) string {
	return value(cpuinfo, "model name")
}

// memory is the machine's memory in /proc/meminfo, in bytes.
func memory(meminfo string) int64 {
	kib, err := strconv.ParseInt(strings.TrimSuffix(value(meminfo, "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// value is what the first line of a name says after the colon.
func value(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
