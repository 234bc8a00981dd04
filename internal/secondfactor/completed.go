package secondfactor

import (
	"sync"
	"time"
)

// completed are the logins that a code has completed. What a form has of them counts
// no more, so that a copy of it is worth nothing, even with another code. Each process
// knows its own.
type completed struct {
	mu    sync.Mutex
	until map[pendingID]time.Time // when the Pending ends anyway
}

// mostCompleted bounds the memory. Beyond it, the login of a copy still takes another
// code.
const mostCompleted = 1 << 16

// allCompleted are those of the process. They outlive a reload.
var allCompleted = completed{until: make(map[pendingID]time.Time)}

// add notes a login, and reports whether it wasn't completed before.
func (c *completed) add(p *Pending, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.until[p.id]; ok {
		return false
	}
	if len(c.until) >= mostCompleted {
		for id, until := range c.until {
			if !until.After(now) {
				delete(c.until, id)
			}
		}
	}
	if len(c.until) < mostCompleted {
		c.until[p.id] = p.until
	}
	return true
}

// has reports whether a login is completed.
func (c *completed) has(id pendingID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.until[id]
	return ok
}
