package ledger

import (
	"sync"
	"time"
)

// Spans are the times during which something was so, of one kind: MySQL was
// away, or a gateway was. They may overlap.
type Spans struct {
	mu   sync.Mutex
	list []*span
}

// span is open as long as end is zero.
type span struct{ begin, end time.Time }

// Begin begins a span now. The function that it returns ends it, once.
func (s *Spans) Begin() (end func()) { return s.BeginAt(time.Now()) }

// BeginAt begins a span at a time that is over already.
func (s *Spans) BeginAt(at time.Time) (end func()) {
	begun := &span{begin: at}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, begun)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		begun.end = time.Now()
	}
}

// Touch reports whether any span has to do with what lasted from one time to
// another, or with what came so soon after it that it may be its consequence.
func (s *Spans) Touch(from, to time.Time, after time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.list {
		isOver := !one.end.IsZero() && one.end.Add(after).Before(from)
		if !isOver && !one.begin.After(to) {
			return true
		}
	}
	return false
}

// Last is when the last span ended, which is the zero time if there was none.
// open: one hasn't ended.
func (s *Spans) Last() (end time.Time, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.list {
		if one.end.IsZero() {
			open = true
		}
		if one.end.After(end) {
			end = one.end
		}
	}
	return end, open
}
