//go:build unix && !linux

package main

import "syscall"

// childAttributes let Caddy be ended by this program only, not by a Ctrl-C in
// the terminal, which would reach both.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func keepThread() {}
