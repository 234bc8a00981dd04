// Package procfs reads what Linux tells of a process: the CPU time that it has
// used, its memory, its children.
package procfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every Linux
// that Go runs on, whatever the kernel's own clock does.
const tick = time.Second / 100

// stat is the part of /proc/PID/stat that is of use here.
type stat struct {
	parent int
	cpu    time.Duration // user and system
}

// parseStat reads /proc/PID/stat. The second field is the program's name in
// parentheses, which may itself hold spaces and parentheses.
func parseStat(text string) (stat, error) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, errors.New("it has no name in parentheses")
	}
	// Numbered as in proc(5), where the field after the name is the third.
	fields := strings.Fields(text[end+1:])
	field := func(n int) (int64, error) {
		if len(fields) <= n-3 {
			return 0, fmt.Errorf("it has no field %d", n)
		}
		return strconv.ParseInt(fields[n-3], 10, 64)
	}
	parent, parentErr := field(4)
	user, userErr := field(14)
	system, systemErr := field(15)
	if err := errors.Join(parentErr, userErr, systemErr); err != nil {
		return stat{}, err
	}
	return stat{parent: int(parent), cpu: time.Duration(user+system) * tick}, nil
}

func readStat(pid int) (stat, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	text, err := os.ReadFile(path) //nolint:gosec // it is below /proc
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(string(text))
	if err != nil {
		return stat{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return s, nil
}

// CPUTime is the time that the processes have spent on CPUs so far, together.
func CPUTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		s, err := readStat(pid)
		if err != nil {
			return 0, err
		}
		sum += s.cpu
	}
	return sum, nil
}

// Memory is what a process holds of the machine's memory, in bytes.
type Memory struct {
	Resident int64 // now
	Peak     int64 // the most so far
}

// parseStatus reads the memory out of /proc/PID/status.
func parseStatus(text string) (Memory, error) {
	var m Memory
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "VmRSS":
			to = &m.Resident
		case "VmHWM":
			to = &m.Peak
		default:
			continue
		}
		number, isKiB := strings.CutSuffix(strings.TrimSpace(value), " kB")
		kib, err := strconv.ParseInt(number, 10, 64)
		if err != nil || !isKiB {
			return Memory{}, fmt.Errorf("%s is %q, not a number of kB", name, strings.TrimSpace(value))
		}
		*to = kib << 10
	}
	if m.Resident == 0 || m.Peak == 0 {
		return Memory{}, errors.New("VmRSS or VmHWM is missing")
	}
	return m, nil
}

// MemoryOf is the memory of the processes together.
func MemoryOf(pids []int) (Memory, error) {
	var sum Memory
	for _, pid := range pids {
		path := filepath.Join("/proc", strconv.Itoa(pid), "status")
		text, err := os.ReadFile(path) //nolint:gosec // it is below /proc
		if err != nil {
			return Memory{}, err
		}
		m, err := parseStatus(string(text))
		if err != nil {
			return Memory{}, fmt.Errorf("reading %s: %w", path, err)
		}
		sum.Resident += m.Resident
		sum.Peak += m.Peak
	}
	return sum, nil
}

// WithChildren returns the process and those that it has started itself: a
// server's master and its workers.
func WithChildren(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	family := []int{pid}
	for _, entry := range entries {
		other, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue // not a process
		}
		if s, err := readStat(other); err == nil && s.parent == pid {
			family = append(family, other)
		}
	}
	return family, nil
}

// Descriptors is how many files a process has open, sockets included.
func Descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	return len(entries), err
}

// ConnectionsTo is how many TCP connections a process has to a port over IPv4,
// those that are being made included.
func ConnectionsTo(pid, port int) (int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	text, err := os.ReadFile(filepath.Join(dir, "net/tcp")) //nolint:gosec // it is below /proc
	if err != nil {
		return 0, err
	}
	sockets, err := parseTCP(string(text), port)
	if err != nil {
		return 0, fmt.Errorf("reading %s/net/tcp: %w", dir, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, entry := range entries {
		// What is closed since the directory was read leads nowhere.
		target, _ := os.Readlink(filepath.Join(dir, "fd", entry.Name()))
		if sockets[target] {
			n++
		}
	}
	return n, nil
}

// parseTCP finds the sockets in /proc/net/tcp whose other end is a port, as the
// links in /proc/PID/fd name them. That file has the sockets of all processes
// (proc(5)); ports are hexadecimal, and the tenth field is the inode.
func parseTCP(text string, port int) (map[string]bool, error) {
	sockets := make(map[string]bool)
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		fields := strings.Fields(line)
		if i == 0 { // the heading
			continue
		}
		if len(fields) < 10 {
			return nil, fmt.Errorf("line %d has %d fields", i+1, len(fields))
		}
		if strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", port)) {
			sockets["socket:["+fields[9]+"]"] = true
		}
	}
	return sockets, nil
}
