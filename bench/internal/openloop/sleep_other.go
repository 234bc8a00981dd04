//go:build !linux

package openloop

import "time"

// sleep waits.
func sleep(d time.Duration) { time.Sleep(d) }
