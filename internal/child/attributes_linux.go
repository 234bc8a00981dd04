package child

import (
	"runtime"
	"syscall"
)

// attributes let the child be ended by this program only, not by a Ctrl-C in
// the terminal, which would reach both; and send it a signal if this program is
// killed.
func attributes(atEnd syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: atEnd}
}

// keepThread is called by the goroutine that starts the child: Pdeathsig comes
// when the thread ends, not the process.
func keepThread() { runtime.LockOSThread() }
