package identity

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
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

// warnOfValue logs that a field is left out for a value that it can't carry.
func (id *Fields) warnOfValue(field *field, user *userstore.User, logger *zap.Logger) {
	if !id.warnings.isDue(field.name, user.PrimaryKey) {
		return
	}
	header, of := zap.String("header", field.name), zap.Stringer("user", user.PrimaryKey)
	if field.encoding != plain {
		logger.Warn("identity header left out: its value isn't UTF-8, and would not be the same once it is decoded", header, of)
		return
	}
	logger.Warn("identity header left out: its value has a control character, or a space at an end, which a header can't carry", header, of)
}

// warnOfSize logs that a field is left out for a value over max_size.
func (id *Fields) warnOfSize(field *field, size int, user *userstore.User, logger *zap.Logger) {
	if !id.warnings.isDue(field.name+" size", user.PrimaryKey) {
		return
	}
	logger.Warn("identity header left out: its value is over max_size, and the application's server might reject the request",
		zap.String("header", field.name), zap.Stringer("user", user.PrimaryKey), zap.Int("size", size), zap.Int("max_size", field.maxSize))
}
