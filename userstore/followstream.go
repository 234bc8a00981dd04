package userstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/kept"
)

// How long to wait between two attempts to follow, and while a server can't be
// followed until its settings change.
const (
	soonestFollow   = 100 * time.Millisecond
	latestFollow    = 5 * time.Second
	unfollowableFor = 30 * time.Second
)

// How often a server is asked up to where its changes are visible, while that matters.
const (
	soonestSettle = 2 * time.Millisecond
	latestSettle  = 50 * time.Millisecond
)

// leaseQuestions is how often a lease is renewed during its time.
const leaseQuestions = 4

// leastSilence is the shortest time without any event after which a stream counts as
// interrupted.
const leastSilence = 3 * time.Second

// The reasons for which this side ends a stream.
var (
	errBackwards     = errors.New("the positions of the log have gone back: the log was reset, or the server has another history now")
	errStructure     = errors.New("a table's definition has changed")
	errOtherServer   = errors.New("lookups are answered by another server now")
	errOtherTables   = errors.New("tables or foreign keys have changed since they were looked at")
	errFollowingOver = errors.New("it is no longer needed")
)

// run follows the server until ctx ends.
func (l *sharedLog) run(ctx context.Context) {
	wait := soonestFollow
	for {
		began := time.Now()
		err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > latestFollow {
			wait = soonestFollow
		}
		pause := atRandom(wait)
		if isUnfollowable(err) {
			pause = unfollowableFor
		}
		l.state.tell(l.logger, err)
		wait = min(2*wait, latestFollow)
		select {
		case <-time.After(pause):
		case <-l.hasJoined: // the configuration may have been loaded because it was impossible before
		case <-ctx.Done():
			return
		}
	}
}

// atRandom is a pause of a length, or up to half as long, so that gateways don't ask all
// at once.
func atRandom(wait time.Duration) time.Duration {
	return wait/2 + rand.N(wait/2) //nolint:gosec // it is no secret
}

// once follows the server until the stream is interrupted.
func (l *sharedLog) once(ctx context.Context) error {
	l.state.connecting()
	server, err := l.cfg.server(l.pool.servers.current(), l.isOneOfSeveral)
	if err != nil {
		return &Unfollowable{err}
	}
	look := func(ctx context.Context) ([]keyedTable, error) {
		return lookAtFollowed(ctx, l.tables, server, l.timeout)
	}
	tables, err := look(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errFollowingOver)
	s := &followedStream{log: l, stream: kept.NewStream(l.cfg.lease(), time.Now), tables: tables, ctx: ctx, cancel: cancel, look: look}
	defer l.ended(s)
	defer l.pool.leadsTo.onChange(l, func() {
		s.stream.End()
		cancel(errOtherServer)
	})()
	err = l.follower.Follow(ctx, FollowSource{
		Server: server, Identify: s.identify, IsReplica: l.isReplica,
		Timeout: l.timeout, Silence: max(2*l.cfg.lease(), leastSilence),
		Tables: followedTables(tables), Logger: l.logger,
	}, s)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(err)
	s.tasks.Wait()
	return err
}

// followedTables are the tables as a Follower needs them.
func followedTables(tables []keyedTable) []FollowedTable {
	followed := make([]FollowedTable, len(tables))
	for i, t := range tables {
		followed[i] = FollowedTable{Schema: t.schema, Name: t.table}
		for _, key := range t.keys {
			followed[i].Keys = append(followed[i].Keys, key.column)
		}
	}
	return followed
}

// followedStream is a stream of changes while it lasts.
type followedStream struct {
	log    *sharedLog
	stream *kept.Stream
	tables []keyedTable
	look   func(context.Context) ([]keyedTable, error)

	ctx    context.Context
	cancel context.CancelCauseFunc // ends the stream
	tasks  sync.WaitGroup
	is     ServerIdentity
	tags   []uint64 // memory for Changed

	positions Positions
	questions questions
	told      LogPosition // up to where settle has had Changes have an element
}

// identify makes sure that the stream comes from the server that answers lookups.
func (s *followedStream) identify(is ServerIdentity) error {
	s.is = is
	answers, isKnown := s.log.pool.leadsTo.current()
	if isKnown && answers.Is(is) {
		return nil
	}
	return fmt.Errorf("the log is of the server %s, but lookups are answered by %s: the dsn of follow must lead to the server of the dsn of userstore, "+
		"and neither to a proxy that spreads connections over servers", is, answers)
}

// Began implements Feed.
func (s *followedStream) Began(at LogPosition, positions Positions) {
	s.positions = positions
	s.stream.Begin(kept.Position(at))
	s.log.begun(s)
	s.tasks.Go(func() { s.settle(positions) })
	s.tasks.Go(func() { s.renew(positions) })
}

// Changed implements Feed.
func (s *followedStream) Changed(at LogPosition, table int, keys [][]*string) {
	count(&s.log.state.events, &totals.followed.events)
	t := &s.tables[table]
	tags := s.tags[:0]
	for _, values := range keys {
		if len(values) != len(t.keys) || len(t.keys) == 0 {
			s.all(at)
			return
		}
		for i, value := range values {
			if value == nil {
				continue // no user has it
			}
			key, err := t.keys[i].read(*value)
			if err != nil {
				s.all(at)
				return
			}
			tags = append(tags, tagOf(t.keys[i].of, key))
		}
	}
	s.tags = tags
	s.stream.Changed(kept.Position(at), tags...)
	s.tellSettled()
}

// ChangedTable implements Feed.
func (s *followedStream) ChangedTable(at LogPosition, _ int) {
	count(&s.log.state.events, &totals.followed.events)
	s.all(at)
}

// ChangedAll implements Feed.
func (s *followedStream) ChangedAll(at LogPosition, isStructure bool, why string) {
	count(&s.log.state.events, &totals.followed.events)
	s.log.logger.Debug("all kept rows are dropped, since any may have changed", zap.String("why", why))
	s.all(at)
	if isStructure {
		s.cancel(fmt.Errorf("%w: %s", errStructure, why))
	}
}

// all drops all rows.
func (s *followedStream) all(at LogPosition) {
	count(&s.log.state.drops, &totals.followed.drops)
	s.stream.ChangedAll(kept.Position(at))
	s.tellSettled()
}

// tellSettled tells that rows have changed if queries see all changes by now.
// Otherwise settle does, once they do.
func (s *followedStream) tellSettled() {
	if s.stream.IsSettled() {
		s.log.tellChanged()
	}
}

// Reached implements Feed.
func (s *followedStream) Reached(at LogPosition) {
	if !s.stream.Reached(kept.Position(at)) {
		s.stream.End()
		s.cancel(errBackwards)
	}
}

// settle asks up to where changes are visible, while some may not be.
func (s *followedStream) settle(positions Positions) {
	for {
		select {
		case <-s.stream.Unsettled():
		case <-s.ctx.Done():
			return
		}
		for wait := soonestSettle; !s.stream.IsSettled(); wait = min(2*wait, latestSettle) {
			before := s.told
			if !s.settleOnce(positions) {
				return
			}
			if s.stream.IsSettled() {
				break
			}
			if before.Before(s.told) {
				wait = soonestSettle // the rest are others, where changes come all the time
			}
			select {
			case <-time.After(wait):
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// settleOnce returns false if it has ended the stream.
func (s *followedStream) settleOnce(positions Positions) bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.log.timeout)
	defer cancel()
	at, ok, err := positions.Committed(ctx)
	switch {
	case err != nil:
		s.cancel(fmt.Errorf("asking up to where changes are visible: %w", err))
		return false
	case !ok:
		s.cancel(&Unfollowable{errUnsettled})
		return false
	}
	hadBegun := s.stream.HasBegun()
	if !s.stream.Committed(kept.Position(at)) {
		s.cancel(errBackwards)
		return false
	}
	if !hadBegun && s.stream.HasBegun() && !s.open() {
		return false
	}
	if s.told.Before(at) {
		// Changes up to there, if there are any, are seen by queries now.
		s.told = at
		s.log.tellChanged()
	}
	return true
}

// open has rows be kept, if the tables are still as they were before the stream began:
// later changes of them are reported.
func (s *followedStream) open() bool {
	tables, err := s.look(s.ctx)
	switch {
	case err != nil:
		s.cancel(err)
		return false
	case !reflect.DeepEqual(followedTables(tables), followedTables(s.tables)):
		s.cancel(errOtherTables)
		return false
	}
	s.stream.Open()
	s.log.state.follows(s)
	s.log.logger.Info("following the server's binlog: rows are used until they change",
		zap.Stringer("server", s.is), zap.Int("tables", len(s.tables)))
	return true
}

// renew renews the lease.
func (s *followedStream) renew(positions Positions) {
	interval := time.NewTicker(s.log.cfg.lease() / leaseQuestions)
	defer interval.Stop()
	for {
		if err := s.prove(positions); err != nil {
			s.cancel(err)
			return
		}
		if s.stream.HasLapsed() && s.log.state.lapse() {
			s.log.logger.Warn("the end of the server's binlog isn't reached in time: each request takes a lookup until it is",
				zap.Stringer("server", s.is), zap.Duration("lease", s.log.cfg.lease()))
		}
		select {
		case <-interval.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// prove asks for the end of the log. The lease is renewed when the stream has come so
// far, and counts from before the question.
func (s *followedStream) prove(positions Positions) error {
	began := time.Now()
	end, err := s.askEnd(positions)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.log.timeout)
	defer cancel()
	// Afterwards, so that the end is that of the same log.
	if err := positions.SameLog(ctx); err != nil {
		return fmt.Errorf("asking whether the log is the same: %w", err)
	}
	s.stream.WhenReached(end, func() { s.stream.Grant(began) })
	return nil
}

// askEnd asks for the end of the log.
func (s *followedStream) askEnd(positions Positions) (kept.Position, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.log.timeout)
	defer cancel()
	before := s.stream.Position()
	written, err := positions.Written(ctx)
	end := kept.Position(written)
	switch {
	case err != nil:
		return end, fmt.Errorf("asking for the end of the log: %w", err)
	case end.Before(before):
		return end, errBackwards
	}
	return end, nil
}
