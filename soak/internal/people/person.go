// Package people keeps a table of users, and what their rows said at which
// time: by that every answer of a gateway is judged.
package people

import (
	"sync"
	"time"
)

// Person is a user whose password changes, and who is deactivated at times.
// Only this program changes them.
type Person struct {
	ID   int64
	Name string

	changing sync.Mutex // one change at a time

	mu     sync.Mutex
	states []state
}

// state is what a row says. It may have been in force from when the change was
// sent, and was for certain when MySQL had confirmed it.
type state struct {
	password string
	active   bool
	sent     time.Time
	certain  time.Time // zero until it is
}

// lets reports whether a state lets a token in that was made with a password.
func (s *state) lets(password string) bool { return s.active && s.password == password }

// newPerson returns a person with a row in the table.
func newPerson(id int64, name, password string) *Person {
	long := time.Unix(0, 0)
	return &Person{ID: id, Name: name, states: []state{{password, true, long, long}}}
}

// Now is what the row says, or will as soon as MySQL has confirmed it.
func (p *Person) Now() (password string, active bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := &p.states[len(p.states)-1]
	return last.password, last.active
}

// Former is a password that the row had before. ok: there was one.
func (p *Person) Former() (password string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.states[len(p.states)-1].password
	for i := range p.states {
		if p.states[i].password != now {
			password, ok = p.states[i].password, true
		}
	}
	return password, ok
}

// Verdict is what may become of a request.
type Verdict struct{ MayPass, MayBeRefused bool }

// Verdict says what may become of a request with a token that was made with a
// password: it rests on a row that was read after the request was sent, and
// before it was answered. A state counts if it may have been in force at any
// time between.
func (p *Person) Verdict(password string, sent, answered time.Time) Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	var v Verdict
	for i := range p.states {
		s := &p.states[i]
		if s.sent.After(answered) {
			break
		}
		if i+1 < len(p.states) {
			if next := p.states[i+1].certain; !next.IsZero() && next.Before(sent) {
				continue // it was over
			}
		}
		if s.lets(password) {
			v.MayPass = true
		} else {
			v.MayBeRefused = true
		}
	}
	return v
}

// RefusedSince says since when the row has refused a password for certain, and
// without a break. ok: it does now.
func (p *Person) RefusedSince(password string) (since time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.states) - 1; i >= 0 && !p.states[i].lets(password); i-- {
		if !p.states[i].certain.IsZero() {
			since, ok = p.states[i].certain, true
		}
	}
	return since, ok
}

// keep is how many states are kept: more than can be of interest to a request
// that is on its way.
const keep = 200

// begin notes that a change is about to be sent.
func (p *Person) begin(password string, active bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.states) > keep {
		p.states = append([]state(nil), p.states[len(p.states)-keep/2:]...)
	}
	p.states = append(p.states, state{password: password, active: active, sent: time.Now()})
}

// confirm notes that MySQL has confirmed the last change.
func (p *Person) confirm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states[len(p.states)-1].certain = time.Now()
}
