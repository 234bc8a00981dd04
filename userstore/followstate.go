package userstore

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// The states of following.
const (
	FollowConnecting  = "connecting"  // to the server, or anew
	FollowFollowing   = "following"   // rows are kept
	FollowImpossible  = "impossible"  // until settings, privileges or the configuration change
	FollowInterrupted = "interrupted" // it goes on soon
)

// FollowStates are all of them.
func FollowStates() []string {
	return []string{FollowConnecting, FollowFollowing, FollowInterrupted, FollowImpossible}
}

// FollowStats are the figures of a Following.
type FollowStats struct {
	State  string
	Since  time.Time // of the state
	Server string    // that is followed, or was last
	Error  string    // why it isn't followed

	IsCurrent bool // kept rows are used now

	Rows          int   // that are kept
	Size          int64 // estimated, in bytes
	Hits, Misses  uint64
	Events        uint64 // changes that were reported
	Drops         uint64 // changes that may have concerned all rows
	Dropped       uint64 // rows, by changes and interruptions
	Evicted       uint64 // rows, to make room
	Interruptions uint64
	Lapses        uint64 // leases that ended before they were renewed

	LeaseAge time.Duration // since the question by which rows are used now; 0 if they aren't
}

// FollowTotals are the counters of all Followings since the process began.
type FollowTotals struct{ Hits, Misses, Events, Drops, Interruptions, Lapses uint64 }

// count counts for one Following and for all.
func count(one, all *atomic.Uint64) {
	one.Add(1)
	all.Add(1)
}

// followCounts are the counters in FollowStats.
type followCounts struct{ hits, misses, events, drops, interruptions, lapses atomic.Uint64 }

// followState is what FollowStats tells.
type followState struct {
	followCounts

	mu     sync.Mutex
	state  string // empty until the first attempt
	since  time.Time
	server string
	err    string
	told   string // the error that was last logged
}

func (s *followState) set(state, err string) {
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
	s.err = err
}

// connecting notes an attempt to follow.
func (s *followState) connecting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == "" {
		s.set(FollowConnecting, "")
	}
}

// follows notes that rows are kept.
func (s *followState) follows(of *followedStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.told = of.is.String(), ""
	s.set(FollowFollowing, "")
}

// end notes why following has ended. isNew is false if the last attempt ended so, too.
func (s *followState) end(err error) (isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == FollowFollowing {
		count(&s.interruptions, &totals.followed.interruptions)
	}
	state := FollowInterrupted
	if isUnfollowable(err) {
		state = FollowImpossible
	}
	s.set(state, err.Error())
	isNew = s.told != err.Error()
	s.told = err.Error()
	return isNew
}

// Stats returns the figures up to now.
func (f *Following) Stats() FollowStats {
	rows, s := f.rows.Stats(), &f.state
	s.mu.Lock()
	defer s.mu.Unlock()
	return FollowStats{
		State: s.state, Since: s.since, Server: s.server, Error: s.err, IsCurrent: f.rows.IsCurrent(),
		Rows: rows.Rows, Size: rows.Size, Dropped: rows.Dropped, Evicted: rows.Evicted,
		Hits: s.hits.Load(), Misses: s.misses.Load(), Events: s.events.Load(), Drops: s.drops.Load(), Interruptions: s.interruptions.Load(),
		Lapses: s.lapses.Load(), LeaseAge: f.rows.LeaseAge(),
	}
}

// isUnfollowable reports whether an error says that a server can't be followed with
// its settings and this configuration.
func isUnfollowable(err error) bool {
	_, is := errors.AsType[*Unfollowable](err)
	return is
}
