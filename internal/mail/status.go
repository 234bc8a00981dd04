package mail

import (
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Status is the state of a Sender.
type Status struct {
	Server string `json:"server"` // host and port
	Queued int    `json:"queued"`

	// Whether the last try reached a server that accepts mails. A recipient that
	// the server rejects says nothing about the server.
	Healthy bool `json:"healthy"`

	// Since when that isn't so, and why.
	Since *time.Time `json:"since,omitempty"`
	Error string     `json:"error,omitempty"`

	LastSent *time.Time `json:"last_sent,omitempty"`
}

// health is what the last try said of the server.
type health struct {
	failure  *Failure // or nil
	since    time.Time
	lastSent time.Time
}

// noteHealth notes the end of a try, and logs a change.
func (s *Sender) noteHealth(failure *Failure) {
	if failure != nil && (failure.step == stepLate || s.ctx.Err() != nil) {
		return // the server wasn't asked, or wasn't given the time
	}
	before, now := s.setHealth(failure)
	server := zap.String("server", s.settings.address())
	switch {
	case before.failure != nil && now.failure == nil:
		s.log().Info("the mail server accepts mails again", server, zap.Duration("after", s.clock.Now().Sub(before.since)))
	case before.failure == nil && now.failure != nil:
		s.log().Warn("the mail server can't be used", server, zap.Bool("permanent", failure.permanent), zap.Error(failure))
	}
}

// setHealth sets the health after a try, and returns it before and after.
func (s *Sender) setHealth(failure *Failure) (before, now health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.health
	switch {
	case failure == nil:
		s.health = health{lastSent: s.clock.Now()}
	case failure.isOfRecipient():
		s.health.failure = nil
	default:
		if before.failure == nil {
			s.health.since = s.clock.Now()
		}
		s.health.failure = failure
	}
	return before, s.health
}

// Status returns the state of the Sender.
func (s *Sender) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{Server: s.settings.address(), Queued: s.held, Healthy: s.health.failure == nil}
	if !status.Healthy {
		since := s.health.since
		status.Since, status.Error = &since, s.health.failure.Error()
	}
	if !s.health.lastSent.IsZero() {
		sent := s.health.lastSent
		status.LastSent = &sent
	}
	return status
}

// Statuses are the states of all Senders that the configuration uses.
func Statuses() []Status {
	var all []Status
	inUse.Range(func(_, value any) bool {
		all = append(all, value.(*Sender).Status())
		return true
	})
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Server, b.Server) })
	return all
}
