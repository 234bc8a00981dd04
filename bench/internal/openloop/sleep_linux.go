package openloop

import (
	"syscall"
	"time"
)

// sleep has this thread sleep. It may wake up early.
func sleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // what a signal cuts short is of no importance
}
