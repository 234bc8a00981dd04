package userstore

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
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

// FollowStats are the figures of a Following. Followings of one log have the same
// figures about the log. Followings with the same rows differ in hits and misses alone.
type FollowStats struct {
	State  string
	Since  time.Time // of the state
	Server string    // that is followed, or was last
	Error  string    // why it isn't followed

	IsCurrent bool // kept rows are used now

	RowsID        [32]byte // tells Followings apart that don't share their rows
	Rows          int      // that are kept
	Size          int64    // estimated, in bytes
	Hits, Misses  uint64   // of this Following alone
	Events        uint64   // changes that were reported
	Drops         uint64   // changes that may have concerned all rows
	Dropped       uint64   // rows, by changes and interruptions
	Evicted       uint64   // rows, to make room
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
type followCounts struct {
	lookupCounts
	logCounts
}

// lookupCounts are those of lookups.
type lookupCounts struct{ hits, misses atomic.Uint64 }

// logCounts are those of a log.
type logCounts struct{ events, drops, interruptions, lapses atomic.Uint64 }

// followState is what FollowStats tells of a log.
type followState struct {
	logCounts

	mu     sync.Mutex
	state  string // empty until the first attempt
	since  time.Time
	server string
	err    string
	told   string    // the error that was last logged
	lapsed time.Time // when the end of a lease was last logged
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

// tell notes why following has ended, and logs it, unless the last attempt ended for the
// same reason.
func (s *followState) tell(logger *zap.Logger, err error) {
	if !s.end(err) {
		return
	}
	if isUnfollowable(err) {
		logger.Error("the server's binlog can't be followed: each request takes a lookup", zap.Error(err))
		return
	}
	logger.Warn("following the server's binlog was interrupted: each request takes a lookup until it goes on", zap.Error(err))
}

// stats are the figures up to now, without those of rows.
func (s *followState) stats() FollowStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return FollowStats{
		State: s.state, Since: s.since, Server: s.server, Error: s.err,
		Events: s.events.Load(), Drops: s.drops.Load(), Interruptions: s.interruptions.Load(), Lapses: s.lapses.Load(),
	}
}

// stats are the figures of the rows and their log.
func (r *sharedRows) stats() FollowStats {
	stats, rows := r.log.state.stats(), r.Stats()
	stats.Rows, stats.Size, stats.Dropped, stats.Evicted = rows.Rows, rows.Size, rows.Dropped, rows.Evicted
	stats.IsCurrent, stats.LeaseAge = r.IsCurrent(), r.LeaseAge()
	return stats
}

// betweenLapses is the least time between two messages about leases that have ended.
const betweenLapses = time.Minute

// lapse notes that a lease has ended. isNew is false if one has ended shortly before.
func (s *followState) lapse() (isNew bool) {
	count(&s.lapses, &totals.followed.lapses)
	s.mu.Lock()
	defer s.mu.Unlock()
	if isNew = time.Since(s.lapsed) > betweenLapses; isNew {
		s.lapsed = time.Now()
	}
	return isNew
}

// Stats returns the figures up to now.
func (f *Following) Stats() FollowStats {
	stats := f.waits.stats()
	if j := f.joined.Load(); j != nil {
		stats = j.rows.stats()
		stats.RowsID = j.key
	}
	stats.Hits, stats.Misses = f.counts.hits.Load(), f.counts.misses.Load()
	return stats
}

// isUnfollowable reports whether an error says that a server can't be followed with
// its settings and this configuration.
func isUnfollowable(err error) bool {
	_, is := errors.AsType[*Unfollowable](err)
	return is
}
