//go:build unix && !linux

package child

import "syscall"

// attributes put the child into a process group of its own, so that Ctrl-C in
// the terminal reaches this program only.
func attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func keepThread() {}
