package identity

import (
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// Limits of the log lines about values of users' rows that can't be passed on.
// Such a user may send many requests.
const (
	warnedFor  = time.Hour // the least time between two equal warnings
	mostWarned = 1000      // different warnings in that time
)

// warnings remembers recent warnings.
type warnings struct {
	mu   sync.Mutex
	last map[warning]time.Time
	tidy time.Time // when old warnings were last forgotten
	now  func() time.Time
}

// warning is a problem with a user's row.
type warning struct {
	about string // the header field, the claim or the column
	user  token.PrimaryKey
}

// isDue reports whether a warning is to be logged: once in a while for each
// user, and not if there were too many others. It is called only if something
// is wrong.
func (w *warnings) isDue(about string, user token.PrimaryKey) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.now != nil {
		now = w.now()
	}
	this := warning{about, user}
	if last, known := w.last[this]; known && now.Sub(last) < warnedFor {
		return false
	}
	if len(w.last) >= mostWarned && now.Sub(w.tidy) >= time.Minute {
		w.tidy = now
		for other, last := range w.last {
			if now.Sub(last) >= warnedFor {
				delete(w.last, other)
			}
		}
	}
	if len(w.last) >= mostWarned {
		return false
	}
	if w.last == nil {
		w.last = make(map[warning]time.Time)
	}
	w.last[this] = now
	return true
}
