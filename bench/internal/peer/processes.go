package peer

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// Memory is what processes hold of the machine's memory, in bytes.
type Memory struct {
	Resident int64 // now
	Peak     int64 // the most so far, of each
}

// CPUTime is the time that the processes have spent on CPUs so far, together.
func CPUTime(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		process, err := procfs.NewProc(pid)
		if err != nil {
			return 0, fmt.Errorf("finding process %d: %w", pid, err)
		}
		stat, err := process.Stat()
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(stat.CPUTime() * float64(time.Second))
	}
	return sum, nil
}

// MemoryOf is the memory of the processes together.
func MemoryOf(pids []int) (Memory, error) {
	var sum Memory
	for _, pid := range pids {
		process, err := procfs.NewProc(pid)
		if err != nil {
			return Memory{}, fmt.Errorf("finding process %d: %w", pid, err)
		}
		status, err := process.NewStatus()
		if err != nil {
			return Memory{}, fmt.Errorf("reading the memory of process %d: %w", pid, err)
		}
		sum.Resident += int64(status.VmRSS) //nolint:gosec // no machine has so much memory
		sum.Peak += int64(status.VmHWM)     //nolint:gosec // no machine has so much memory
	}
	return sum, nil
}

// withChildren returns the process and those that it has started itself: a
// server's master and its workers.
func withChildren(pid int) ([]int, error) {
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, err
	}
	family := []int{pid}
	for _, process := range all {
		// A process may have ended since they were listed.
		if stat, err := process.Stat(); err == nil && stat.PPID == pid {
			family = append(family, process.PID)
		}
	}
	return family, nil
}
