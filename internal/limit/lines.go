package limit

import (
	"sync"
	"time"
)

// lineLimit limits log lines that clients cause.
type lineLimit struct {
	mu      sync.Mutex
	began   time.Time
	written int
	omitted int
}

// The most lines that clients over the limit can cause, and in which time.
const (
	mostLines    = 20
	linesForTime = time.Minute
)

// take reports whether a line may be written, and how many were left out since the
// last one.
func (l *lineLimit) take() (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.began) >= linesForTime {
		l.began, l.written = now, 0
	}
	if l.written == mostLines {
		l.omitted++
		return 0, false
	}
	l.written++
	omitted, l.omitted = l.omitted, 0
	return omitted, true
}
