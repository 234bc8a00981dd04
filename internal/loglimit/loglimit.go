// Package loglimit keeps log lines that requests cause from filling a disk.
package loglimit

import (
	"sync"
	"time"
)

// A Limit lets a number of lines of each kind through in a time, and counts the lines
// that are left out. It must not be copied after its first use.
type Limit struct {
	Most int
	Per  time.Duration

	mu    sync.Mutex
	kinds map[string]*lines
}

// lines are those of a kind.
type lines struct {
	began            time.Time
	written, omitted int
}

// mostKinds is how many kinds are told apart at a time, since a kind may be an error's
// text, which can name a port. Further kinds count as one.
const mostKinds = 16

// Take reports whether a line may be written, and how many of its kind were left out
// since the last one.
func (l *Limit) Take(kind string) (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	of := l.of(kind, now)
	if now.Sub(of.began) >= l.Per {
		of.began, of.written = now, 0
	}
	if of.written == l.Most {
		of.omitted++
		return 0, false
	}
	of.written++
	omitted, of.omitted = of.omitted, 0
	return omitted, true
}

// of returns the lines of a kind. The caller holds the lock.
func (l *Limit) of(kind string, now time.Time) *lines {
	if of := l.kinds[kind]; of != nil {
		return of
	}
	if len(l.kinds) >= mostKinds {
		for other, of := range l.kinds {
			if now.Sub(of.began) >= l.Per {
				delete(l.kinds, other)
			}
		}
	}
	if len(l.kinds) >= mostKinds {
		kind = furtherKinds
		if of := l.kinds[kind]; of != nil {
			return of
		}
	}
	if l.kinds == nil {
		l.kinds = make(map[string]*lines)
	}
	of := &lines{began: now}
	l.kinds[kind] = of
	return of
}

// furtherKinds is the kind of lines whose own kind there is no room for.
const furtherKinds = "\x00"
