//go:build unix && !linux

package child

import "syscall"

// attributes let the child be ended by this program only, not by a Ctrl-C in
// the terminal, which would reach both.
func attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func keepThread() {}
