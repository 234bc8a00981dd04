package mail

import "time"

// clock is what the queue knows of time. Tests set it.
type clock interface {
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own after some time, unless stop
	// is called before. stop reports whether it prevented the call.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// wall is the clock of the system.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func (wall) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
