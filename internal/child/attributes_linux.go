package child

import (
	"runtime"
	"syscall"
)

// attributes put the child into a process group of its own, so that Ctrl-C in
// the terminal reaches this program only, and have the kernel send it a signal
// when this program is killed.
func attributes(atEnd syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: atEnd}
}

// keepThread is called by the goroutine that starts the child: Pdeathsig comes
// when the thread ends, not the process.
func keepThread() { runtime.LockOSThread() }
