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

// A server doesn't notice that a client has abandoned a statement. If the
// statement waits, as for a replica that must confirm a commit, for space on a
// full disk, or for a lock, it keeps a thread and a connection of the server,
// until the server has none left for any client. So abandoned statements are
// ended with KILL, and while too many of them are still executed, no others
// are begun: a write is rejected while as many writes are stalled as
// connections of the pool may write at once, and likewise a read.

// stalled has the abandoned statements that one server may still execute. All
// pools of this process for the server share it, also across reloads.
type stalled struct {
	mu       sync.Mutex
	all      map[uint64]abandoned // by the connection's ID
	clearing bool                 // a goroutine is ending them

	reads, writes atomic.Int32
}

// abandoned is a statement whose client no longer waits.
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

// number returns the number of stalled statements.
func (s *stalled) number() int { return int(s.reads.Load() + s.writes.Load()) }

// list returns a copy of the stalled statements.
func (s *stalled) list() map[uint64]abandoned {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint64]abandoned, len(s.all))
	for id, statement := range s.all {
		all[id] = statement
	}
	return all
}

// mayClear reports whether the caller must end the statements, since no other
// goroutine does.
func (s *stalled) mayClear() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clearing || len(s.all) == 0 {
		return false
	}
	s.clearing = true
	return true
}

// cleared undoes mayClear if no statement is left, or anyway. It reports
// whether it did.
func (s *stalled) cleared(anyway bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) > 0 && !anyway {
		return false
	}
	s.clearing = false
	return true
}

// How often it is checked whether the server has ended statements: the first
// time soon, since most end soon, and then less and less often.
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

// errStalled is the error of statements that aren't begun.
type errStalled struct {
	number int
	what   string
}

func (e errStalled) Error() string {
	return fmt.Sprintf("%d %s that MySQL hasn't answered within query_timeout are still executed there, so that no others are begun: "+
		"SHOW PROCESSLIST says what they wait for, as for a replica that is to confirm them, for space on a full disk, or for a lock",
		e.number, e.what)
}

// stalledReads returns the error of reads while too many are stalled, or nil.
func (p *pool) stalledReads() error {
	server := p.servers.current()
	n := int(server.current.Load().stalled.reads.Load())
	if n == 0 {
		return nil
	}
	p.clear(server)
	if n < p.limits.mostReads() {
		return nil
	}
	return errStalled{n, "reads"}
}

// beginWrite waits until one more connection may write. The caller calls end.
// Not all connections may write at once, so that stalled writes leave some for
// lookups.
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
	if err := p.stalledWrites(); err != nil { // a write may have stalled meanwhile
		end()
		return nil, err
	}
	return end, nil
}

func (p *pool) stalledWrites() error {
	server := p.servers.current()
	n := int(server.current.Load().stalled.writes.Load())
	if n == 0 {
		return nil
	}
	p.clear(server)
	if n < p.limits.mostWrites() {
		return nil
	}
	return errStalled{n, "writes"}
}

// clear begins to end the stalled statements of a server, unless that is
// under way.
func (p *pool) clear(server *connector) {
	of := server.current.Load()
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

// clearAll ends the stalled statements of a server, and returns when none is
// left or the pool is closed.
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
		// The breaker waits for a server that doesn't answer.
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

// clearOnce ends the statements that the server still executes, and forgets
// the others. It uses one connection in addition to those of the pool.
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
// After a restart, or if the name now leads to another server, the IDs may
// belong to other connections: their statements began later.
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

// is reports whether the server's text of a statement is that of this
// statement. The server's text may have values in place of parameters.
func (a abandoned) is(text string) bool {
	head, _, _ := strings.Cut(a.statement, "?")
	return strings.HasPrefix(text, head)
}

// textOf returns a value of a result in the text protocol.
func textOf(value driver.Value) string {
	switch v := value.(type) {
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}
