package kept

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Position is a place in a log. The later of two is greater.
type Position struct{ File, Offset uint64 }

// Before reports whether p is earlier than q.
func (p Position) Before(q Position) bool {
	return p.File < q.File || p.File == q.File && p.Offset < q.Offset
}

// A Stream is what is known of a log while it is followed. Its changes are numbered
// in the order in which they are reported. Any number of Rows may follow it, from any
// time on.
//
// A change is reported before queries see it. Until it is settled, that is, known to
// be visible to queries that begin now, a query may still read the former row, which
// must not be kept.
type Stream struct {
	lease time.Duration
	now   func() time.Time

	reported atomic.Uint64             // number of the last change
	settled  atomic.Uint64             // number of the last change that is settled
	all      atomic.Uint64             // number of the last change that any row may have
	ofTags   [slots]atomic.Uint64      // number of the last change of a row, by its tag
	term     atomic.Pointer[time.Time] // when the lease began; nil for none
	lapsed   atomic.Bool               // a lease was renewed after it had ended
	noticed  atomic.Pointer[time.Time] // the last lease that HasLapsed has reported
	isOpen   atomic.Bool               // whether a lease is of use
	isEnded  atomic.Bool
	ended    chan struct{}

	following sync.Mutex // guards rows
	rows      []droppable

	mu        sync.Mutex
	reached   Position // all changes up to here are reported
	committed Position // all changes up to here are visible
	unsettled []change // in the order of the log
	waiting   []waiting
	toSettle  chan struct{} // has an element while unsettled has
}

// droppable are Rows, whatever they have beside texts.
type droppable interface {
	dropEach(tags []uint64)
	clear()
}

// slots is the number of places for numbers of changes. A change of one row also counts
// for the rows whose tags share its place. These are then read again, which is harmless.
const slots = 1 << 16

// change is a change, or several in a row, that aren't settled.
type change struct {
	at     Position // of the last
	number uint64   // of the last
}

// waiting is called when the stream has reached a position.
type waiting struct {
	until Position
	call  func()
}

// NewStream makes a stream of which nothing is known.
func NewStream(lease time.Duration, now func() time.Time) *Stream {
	return &Stream{lease: lease, now: now, toSettle: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Begin sets the position after which changes are reported. What was written before
// may not be visible yet.
func (s *Stream) Begin(at Position) {
	s.mu.Lock()
	s.reached = at
	s.mu.Unlock()
	s.all.Store(s.number(at))
}

// number numbers a change that is being reported.
func (s *Stream) number(at Position) uint64 {
	n := s.reported.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch last := len(s.unsettled) - 1; {
	case last < 0 && !s.committed.Before(at):
		s.settled.Store(n) // it was visible before it was reported
	case last >= 0 && (s.unsettled[last].at == at || len(s.unsettled) == mostUnsettled):
		s.unsettled[last] = change{at, n}
	default:
		s.unsettled = append(s.unsettled, change{at, n})
		select {
		case s.toSettle <- struct{}{}:
		default:
		}
	}
	return n
}

// mostUnsettled limits the memory for unsettled changes. Further ones are settled
// together.
const mostUnsettled = 4096

// Changed notes that a change at a position of the log concerns the rows with these tags
// or aliases, and drops them.
func (s *Stream) Changed(at Position, tags ...uint64) {
	n := s.number(at)
	for _, tag := range tags {
		s.ofTags[tag%slots].Store(n)
	}
	// After the change is noted: rows that begin to follow meanwhile see that.
	s.each(func(rows droppable) { rows.dropEach(tags) })
}

// ChangedAll notes that a change may concern any row, and drops all.
func (s *Stream) ChangedAll(at Position) {
	s.all.Store(s.number(at))
	s.each(droppable.clear)
}

// add has rows be dropped by changes from now on.
func (s *Stream) add(rows droppable) {
	s.following.Lock()
	defer s.following.Unlock()
	s.rows = append(s.rows, rows)
}

func (s *Stream) remove(rows droppable) {
	s.following.Lock()
	defer s.following.Unlock()
	s.rows = slices.DeleteFunc(s.rows, func(of droppable) bool { return of == rows })
}

func (s *Stream) each(do func(droppable)) {
	s.following.Lock()
	defer s.following.Unlock()
	for _, rows := range s.rows {
		do(rows)
	}
}

// Unsettled has an element if there may be changes to settle.
func (s *Stream) Unsettled() <-chan struct{} { return s.toSettle }

// IsSettled reports whether all reported changes are settled.
func (s *Stream) IsSettled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unsettled) == 0
}

// Committed notes that all changes up to a position are visible to queries that
// begin from now on. It returns false if the position is before that of an earlier
// call, which no log has that goes on.
func (s *Stream) Committed(at Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.Before(s.committed) {
		return false
	}
	s.committed = at
	i := 0
	for ; i < len(s.unsettled) && !at.Before(s.unsettled[i].at); i++ {
		s.settled.Store(s.unsettled[i].number)
	}
	if s.unsettled = s.unsettled[i:]; len(s.unsettled) == 0 {
		s.unsettled = nil
	}
	return true
}

// Reached notes that all changes up to a position were reported. It returns false if
// the stream was further already.
func (s *Stream) Reached(at Position) bool {
	s.mu.Lock()
	if at.Before(s.reached) {
		s.mu.Unlock()
		return false
	}
	s.reached = at
	var due []waiting
	left := s.waiting[:0]
	for _, w := range s.waiting {
		if at.Before(w.until) {
			left = append(left, w)
		} else {
			due = append(due, w)
		}
	}
	s.waiting = left
	s.mu.Unlock()
	for _, w := range due {
		w.call()
	}
	return true
}

// Position is how far the stream has come.
func (s *Stream) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached
}

// WhenReached calls a function, which must return quickly, once the stream has
// reached a position.
func (s *Stream) WhenReached(at Position, call func()) {
	s.mu.Lock()
	if s.reached.Before(at) {
		s.waiting = append(s.waiting, waiting{at, call})
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	call()
}

// Open has leases count from now on.
func (s *Stream) Open() { s.isOpen.Store(true) }

// HasBegun reports whether what was written before the stream began is settled, so
// that rows can be kept.
func (s *Stream) HasBegun() bool { return s.settled.Load() > 0 }

// Grant grants a lease that began at a time: all that was written then has been
// reported. An earlier lease is not replaced by one that began before it.
func (s *Stream) Grant(began time.Time) {
	for {
		before := s.term.Load()
		if before != nil && !began.After(*before) {
			return
		}
		hasLapsed := before != nil && s.isOpen.Load() && !s.isTerm(before) && s.noticed.Load() != before
		if s.term.CompareAndSwap(before, &began) {
			if hasLapsed {
				s.lapsed.Store(true)
			}
			return
		}
	}
}

// HasLapsed reports whether a lease has ended without being renewed in time, since the
// last call that has reported it. One goroutine may ask.
func (s *Stream) HasLapsed() bool {
	if s.lapsed.Swap(false) {
		return true
	}
	began := s.term.Load()
	if began == nil || !s.isOpen.Load() || s.isTerm(began) {
		return false
	}
	return s.noticed.Swap(began) != began
}

// IsCurrent reports whether there is a lease now.
func (s *Stream) IsCurrent() bool {
	began := s.term.Load()
	return began != nil && s.isOpen.Load() && !s.isEnded.Load() && s.isTerm(began)
}

// isTerm reports whether a lease that began at a time hasn't ended.
func (s *Stream) isTerm(began *time.Time) bool {
	now := s.now()
	if elapsed := now.Sub(*began); elapsed >= s.lease {
		return false
	}
	// While a host sleeps, its monotonic clock, which the difference above is by, may
	// stand still. Its wall clock goes on, or is set.
	elapsed := now.Round(0).Sub(began.Round(0))
	return -s.lease < elapsed && elapsed < s.lease
}

// leaseAge is how long ago the lease began; 0 if there is none now.
func (s *Stream) leaseAge() time.Duration {
	if !s.IsCurrent() {
		return 0
	}
	return s.now().Sub(*s.term.Load())
}

// End ends the stream for good, and drops all rows.
func (s *Stream) End() {
	if !s.isEnded.Swap(true) {
		close(s.ended)
	}
	s.each(droppable.clear)
}

// Ended is closed when the stream has ended.
func (s *Stream) Ended() <-chan struct{} { return s.ended }

// holds reports whether a row with these tags, read by a query that began when
// changes up to a number were settled, is the present one as far as is reported.
func (s *Stream) holds(settled uint64, tags ...uint64) bool {
	if s.all.Load() > settled {
		return false
	}
	for _, tag := range tags {
		if s.ofTags[tag%slots].Load() > settled {
			return false
		}
	}
	return s.IsCurrent()
}
