package userstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// A server doesn't notice that a client has given a statement up. Where it waits
// for something that doesn't come, as for a replica that is to confirm a commit,
// for space on a full disk, or for a lock, each statement that is given up
// leaves a thread and a connection of the server behind, until it has none left
// for any client. So the statements that were given up are ended with KILL, and
// as long as the server hasn't ended too many of them, no others are begun: a
// write is refused while as many writes are stalled as connections of the pool
// may write at once, and a read likewise.

// stalled are the statements of one server that were given up and that it may
// still execute. All pools of this process that lead to the server share it, as
// do those of a configuration before and after a reload.
type stalled struct {
	mu       sync.Mutex
	all      map[uint64]abandoned // by the connection's id
	clearing bool                 // somebody is about to end them

	reads, writes atomic.Int32
}

// abandoned is a statement that was given up.
type abandoned struct {
	task      task
	statement string
	began     time.Time
}

// stalledOf has the statements of each server, by network and address.
var stalledOf sync.Map

func stalledOn(cfg *mysql.Config) *stalled {
	made, _ := stalledOf.LoadOrStore(cfg.Net+" "+cfg.Addr, &stalled{all: make(map[uint64]abandoned)})
	return made.(*stalled)
}

func (s *stalled) add(id uint64, statement abandoned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.all[id]; known {
		return // unreachable: a connection executes one statement, and is closed once
	}
	s.all[id] = statement
	s.counter(statement.task).Add(1)
}

func (s *stalled) remove(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if statement, ok := s.all[id]; ok {
		delete(s.all, id)
		s.counter(statement.task).Add(-1)
	}
}

func (s *stalled) counter(what task) *atomic.Int32 {
	if what == taskWrite {
		return &s.writes
	}
	return &s.reads
}

// number is how many there are.
func (s *stalled) number() int { return int(s.reads.Load() + s.writes.Load()) }

// list is a copy of them.
func (s *stalled) list() map[uint64]abandoned {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint64]abandoned, len(s.all))
	for id, statement := range s.all {
		all[id] = statement
	}
	return all
}

// mayClear reports whether the caller is the one to end them.
func (s *stalled) mayClear() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clearing || len(s.all) == 0 {
		return false
	}
	s.clearing = true
	return true
}

// cleared ends what mayClear began, if none is left or the caller can't go on.
func (s *stalled) cleared(anyway bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) > 0 && !anyway {
		return false
	}
	s.clearing = false
	return true
}

// How often it is looked whether the server has ended statements: the first
// time soon, since mostly it was about to, and then less and less often.
const (
	shortestClearing = 50 * time.Millisecond
	longestClearing  = time.Second
)

// unknownLife is how long a statement counts as stalled on a server that can't
// say which statements it executes.
const unknownLife = time.Minute

// mayWrite and mayRead are how many statements of a kind may be stalled on a
// server before no others are begun.
func (l poolLimits) mostWrites() int { return max(l.maxOpen/2, 1) }
func (l poolLimits) mostReads() int  { return max(l.maxOpen/2, 1) }

// errStalled says that no more statements are begun.
type errStalled struct {
	number int
	what   string
}

func (e errStalled) Error() string {
	return fmt.Sprintf("%d %s that MySQL hasn't answered within query_timeout are still executed there, so that no others are begun: "+
		"SHOW PROCESSLIST says what they wait for, as for a replica that is to confirm them, for space on a full disk, or for a lock",
		e.number, e.what)
}

// stalledReads is the error of reads while too many are stalled, and nil else.
func (p *pool) stalledReads() error {
	of := p.connector.current.Load().stalled
	n := int(of.reads.Load())
	if n == 0 {
		return nil
	}
	p.clear()
	if n < p.limits.mostReads() {
		return nil
	}
	return errStalled{n, "reads"}
}

// beginWrite waits until one more connection may write. The caller calls end.
// Connections that may write are fewer than all, so that writes which stall
// leave some for lookups.
func (p *pool) beginWrite(ctx context.Context) (end func(), err error) {
	if err := p.stalledWrites(); err != nil {
		return nil, err
	}
	select {
	case p.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	end = func() { <-p.writing }
	if err := p.stalledWrites(); err != nil { // those that it waited for
		end()
		return nil, err
	}
	return end, nil
}

func (p *pool) stalledWrites() error {
	n := int(p.connector.current.Load().stalled.writes.Load())
	if n == 0 {
		return nil
	}
	p.clear()
	if n < p.limits.mostWrites() {
		return nil
	}
	return errStalled{n, "writes"}
}

// clear begins to end what is stalled on the server, unless that is under way.
func (p *pool) clear() {
	of := p.connector.current.Load()
	if of.stalled.number() == 0 || !of.stalled.mayClear() {
		return
	}
	p.closing.Lock()
	defer p.closing.Unlock()
	if p.ctx.Err() != nil {
		of.stalled.cleared(true)
		return
	}
	p.tasks.Go(func() { p.clearAll(of) })
}

// clearAll ends what is stalled on a server, and returns when nothing is left or
// the pool is closed.
func (p *pool) clearAll(of *target) {
	pause := shortestClearing
	wait := time.NewTimer(pause)
	defer wait.Stop()
	killed := make(map[uint64]bool)
	for {
		select {
		case <-wait.C:
		case <-p.ctx.Done():
			of.stalled.cleared(true)
			return
		}
		// A server that doesn't answer is asked by the breaker.
		if p.breaker.refusal() == nil {
			err := p.clearOnce(of, killed)
			if err != nil && p.ctx.Err() == nil {
				p.log.Print("ending statements that were given up: ", err)
			}
			pause = min(2*pause, longestClearing)
		} else {
			pause = shortestClearing
		}
		if of.stalled.cleared(false) {
			return
		}
		wait.Reset(pause)
	}
}

// clearOnce ends the statements that the server still executes, and forgets the
// others. It takes one connection besides those of the pool.
func (p *pool) clearOnce(of *target, killed map[uint64]bool) error {
	all := of.stalled.list()
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.limits.query)
	defer cancel()
	conn, err := of.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing can be done about it
	running, err := executed(ctx, conn, all)
	if err != nil {
		for id, statement := range all {
			if numberOf(err) != 0 && time.Since(statement.began) > unknownLife {
				of.stalled.remove(id)
			}
		}
		return err
	}
	var kills []uint64
	for id, statement := range all {
		text, isRunning := running[id]
		switch {
		case !isRunning:
			of.stalled.remove(id)
		case !killed[id] && statement.is(text):
			kills = append(kills, id)
		}
	}
	if len(kills) == 0 {
		return nil
	}
	for _, id := range kills {
		killed[id] = true
		if _, err := conn.ExecContext(ctx, "KILL CONNECTION "+strconv.FormatUint(id, 10), nil); err != nil && numberOf(err) == 0 {
			return err
		}
	}
	p.log.current().Warn("MySQL was told to end statements that it hasn't answered within query_timeout",
		zap.String("server", of.cfg.Addr), zap.Int("statements", len(kills)))
	return nil
}

// executed returns the texts of those statements that a server still executes.
// After a restart, or on another server to which the name leads by now, the ids
// are other connections': their statements began later.
func executed(ctx context.Context, conn fullConn, all map[uint64]abandoned) (map[uint64]string, error) {
	ids := make([]string, 0, len(all))
	for id := range all {
		ids = append(ids, strconv.FormatUint(id, 10))
	}
	rows, err := conn.QueryContext(ctx, "SELECT ID, COALESCE(TIME, 0), COALESCE(INFO, '') FROM information_schema.PROCESSLIST"+
		" WHERE COMMAND <> 'Sleep' AND USER = SUBSTRING_INDEX(USER(), '@', 1) AND ID IN ("+strings.Join(ids, ", ")+")", nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	running := make(map[uint64]string)
	values := make([]driver.Value, 3)
	for {
		err := rows.Next(values)
		if errors.Is(err, io.EOF) {
			return running, nil
		}
		if err != nil {
			return nil, err
		}
		id, err := strconv.ParseUint(textOf(values[0]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the process list: %w", err)
		}
		seconds, err := strconv.ParseFloat(textOf(values[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("reading the process list: %w", err)
		}
		if seconds+2 >= time.Since(all[id].began).Seconds() {
			running[id] = textOf(values[2])
		}
	}
}

// is reports whether the server's text of a statement is this one's. The server
// may have values in the place of parameters.
func (a abandoned) is(text string) bool {
	head, _, _ := strings.Cut(a.statement, "?")
	return strings.HasPrefix(text, head)
}

// textOf is a value of a result that came as text.
func textOf(value driver.Value) string {
	switch v := value.(type) {
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}
