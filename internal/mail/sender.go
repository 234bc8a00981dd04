package mail

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// A Sender has a queue of mails and sends them through one server. All handlers
// with the same settings share it, in this configuration and the next.
type Sender struct {
	settings settings
	key      [32]byte
	clock    clock
	limits   limits
	logger   atomic.Pointer[zap.Logger]
	ctx      context.Context // that of all tries
	cancel   context.CancelCauseFunc
	workers  sync.WaitGroup

	mu       sync.Mutex
	ready    []*letter               // to be sent as soon as a worker is free
	later    map[*letter]func() bool // waiting for another try; stops the wait
	idle     []chan *letter          // of workers that keep a connection open
	working  int                     // workers, idle ones included
	held     int                     // letters: ready, later, and being sent
	isClosed bool
	inHurry  bool // the process ends: nothing is tried again
	saidFull bool
	drained  chan struct{} // closed when isClosed and nothing is held
	health   health
}

// limits are the bounds of a Sender.
type limits struct {
	queue    int           // letters that are held
	workers  int           // connections at once
	try      time.Duration // how long a try may take, connecting included
	keepOpen time.Duration // how long a connection waits for another mail
	shutdown time.Duration // how long the end of the process may be delayed
}

var usualLimits = limits{queue: 256, workers: 2, try: 30 * time.Second, keepOpen: 10 * time.Second, shutdown: 8 * time.Second}

// Errors of Send, besides those of messages that can't be sent.
var (
	ErrFull   = errors.New("too many mails are waiting to be sent")
	ErrClosed = errors.New("no more mails are accepted, since the configuration with this mail server has ended")
)

// errShutdown is the cause of tries that end because the process does.
var errShutdown = errors.New("the process ends")

func newSender(s settings, log *zap.Logger) *Sender {
	sender := &Sender{
		settings: s, key: s.key(), clock: wall{}, limits: usualLimits,
		later: make(map[*letter]func() bool), drained: make(chan struct{}),
	}
	sender.logger.Store(log)
	sender.ctx, sender.cancel = context.WithCancelCause(context.Background())
	return sender
}

// Send queues a mail, and returns at once. Its error is ErrFull, ErrClosed, or
// says what is wrong with the message, without repeating it. What becomes of the
// mail is said by the log and the metrics alone.
func (s *Sender) Send(m Message) error {
	l, err := newLetter(m, s.clock.Now())
	if err != nil {
		return fmt.Errorf("sending a mail: %w", err)
	}
	isFirst, err := s.accept(l)
	if err != nil {
		mails.WithLabelValues(resultDropped).Inc()
		if isFirst {
			s.log().Error("the queue of mails is full: mails are dropped until the server accepts those that wait",
				zap.String("server", s.settings.address()), zap.Int("queued", s.limits.queue))
		}
		return err
	}
	mails.WithLabelValues(resultQueued).Inc()
	return nil
}

// accept adds a letter to the queue. isFirst reports that the queue is full for the
// first time since it was half empty, so that the log gets one line, not one a letter.
func (s *Sender) accept(l *letter) (isFirst bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isClosed:
		return false, ErrClosed
	case s.held >= s.limits.queue:
		isFirst, s.saidFull = !s.saidFull, true
		return isFirst, ErrFull
	}
	s.hold(1)
	s.enqueue(l)
	return false, nil
}

// hold changes the number of letters that are held. The caller holds the lock.
func (s *Sender) hold(change int) {
	s.held += change
	held.Add(int64(change))
	if s.held <= s.limits.queue/2 {
		s.saidFull = false
	}
	if s.isClosed && s.held == 0 && change != 0 {
		s.end()
	}
}

// end lets the connections go when the last letter has gone. The caller holds
// the lock.
func (s *Sender) end() {
	close(s.drained)
	for _, ch := range s.idle {
		close(ch)
		s.working--
	}
	s.idle = nil
}

// enqueue has a letter sent by a worker. The caller holds the lock.
func (s *Sender) enqueue(l *letter) {
	if last := len(s.idle) - 1; last >= 0 {
		s.idle[last] <- l
		s.idle = s.idle[:last]
		return
	}
	s.ready = append(s.ready, l)
	if s.working < s.limits.workers {
		s.working++
		s.workers.Go(s.work)
	}
}

// work sends letters until there are none. Then it keeps its connection open for
// a while.
func (s *Sender) work() {
	var c *connection
	for {
		l := s.next(c != nil)
		if l == nil {
			break
		}
		var failure *Failure
		c, failure = s.try(c, l)
		s.settle(l, failure)
	}
	if c != nil {
		c.quit()
	}
}

// next returns the next letter, or nil if the worker is to end. A worker with an
// open connection waits for one.
func (s *Sender) next(isOpen bool) *letter {
	s.mu.Lock()
	if len(s.ready) > 0 {
		l := s.ready[0]
		s.ready = slices.Delete(s.ready, 0, 1)
		s.mu.Unlock()
		return l
	}
	if !isOpen || s.isClosed {
		s.working--
		s.mu.Unlock()
		return nil
	}
	ch := make(chan *letter, 1)
	s.idle = append(s.idle, ch)
	s.mu.Unlock()
	stop := s.clock.AfterFunc(s.limits.keepOpen, func() { s.dismiss(ch) })
	defer stop()
	return <-ch
}

// dismiss ends a worker that is idle.
func (s *Sender) dismiss(ch chan *letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.idle, ch); i >= 0 {
		s.idle = slices.Delete(s.idle, i, i+1)
		s.working--
		close(ch)
	}
}

// try tries to send a letter, by the connection if there is one. It returns the
// connection for the next letter, or nil.
func (s *Sender) try(c *connection, l *letter) (*connection, *Failure) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	stop := s.clock.AfterFunc(s.limits.try, func() { cancel(errTimeout) })
	defer func() {
		stop()
		cancel(nil)
	}()
	if !s.clock.Now().Before(l.Until) {
		return c, s.settings.tooLate()
	}
	l.tries++
	if err := l.compose(s.settings, s.clock.Now()); err != nil {
		return c, &Failure{step: stepContent, server: s.settings.address(), permanent: true, text: s.settings.redact(err.Error()), cause: err}
	}
	if c != nil {
		failure := c.transmit(ctx, l)
		if failure == nil || !c.wasGone(failure) {
			return c.kept(failure), failure
		}
		c.raw.Close()
	}
	c, failure := s.settings.connect(ctx)
	if failure != nil {
		return nil, failure
	}
	failure = c.transmit(ctx, l)
	return c.kept(failure), failure
}

// settle ends a letter after a try, or has it tried again. Nothing is logged under
// the lock, which Send takes: a log may be slow.
func (s *Sender) settle(l *letter, failure *Failure) {
	s.noteHealth(failure)
	fields := s.fields(l)
	if failure != nil {
		fields = append(fields, zap.Error(failure))
	}
	wait := backoff(l.tries)
	switch {
	case failure == nil:
		mails.WithLabelValues(resultSent).Inc()
		s.log().Info("sent a mail", fields...)
	case errors.Is(failure, errShutdown):
		s.drop(l, failure)
	case failure.IsTemporary() && s.clock.Now().Add(wait).Before(l.Until):
		s.log().Debug("a mail will be tried again", append(fields, zap.Duration("wait", wait))...)
		if s.postpone(l, wait) {
			return
		}
		s.drop(l, failure)
	default:
		mails.WithLabelValues(resultFailed).Inc()
		s.log().Error("a mail was not sent", fields...)
	}
	s.release(1)
}

// postpone has a letter tried again after a wait, unless the process ends.
func (s *Sender) postpone(l *letter, wait time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inHurry {
		s.later[l] = s.clock.AfterFunc(wait, func() { s.again(l) })
	}
	return !s.inHurry
}

// release forgets a number of letters that have been dealt with.
func (s *Sender) release(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold(-n)
}

// drop says that a letter is given up because the process ends.
func (s *Sender) drop(l *letter, why error) {
	mails.WithLabelValues(resultDropped).Inc()
	s.log().Error("a mail was dropped at shutdown", append(s.fields(l), zap.Error(why))...)
}

// again has a letter sent whose wait is over.
func (s *Sender) again(l *letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waits := s.later[l]; waits {
		delete(s.later, l)
		s.enqueue(l)
	}
}

// The waits between tries. They double, and are up to a half shorter by chance,
// so that not all mails are tried at once when a server is back. Servers that
// greylist accept a mail after a minute or a few.
const (
	firstWait   = 2 * time.Second
	longestWait = time.Minute
)

// backoff returns how long to wait after a number of tries.
func backoff(tries int) time.Duration {
	wait := min(firstWait<<min(max(tries-1, 0), 10), longestWait)
	return wait - rand.N(wait/2) //nolint:gosec // nothing depends on its secrecy
}

// close ends Send. What is queued is still sent, as long as it is of use.
func (s *Sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return
	}
	s.isClosed = true
	if s.held == 0 {
		s.end()
	}
}

// isDrained reports whether a closed Sender has nothing left to send.
func (s *Sender) isDrained() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

// drain is for the end of the process. It has everything that is queued tried
// for the last time, waits for that up to limits.shutdown, and drops the rest.
func (s *Sender) drain() {
	s.close()
	s.mu.Lock()
	s.inHurry = true
	for l, stop := range s.later {
		stop()
		delete(s.later, l)
		s.enqueue(l)
	}
	s.mu.Unlock()
	over := make(chan struct{})
	stop := s.clock.AfterFunc(s.limits.shutdown, func() { close(over) })
	defer stop()
	select {
	case <-s.drained:
	case <-over:
		s.dropReady()
	}
	s.cancel(errShutdown) // the tries then end at once
	s.workers.Wait()
}

// dropReady gives up the letters that no worker has begun to send.
func (s *Sender) dropReady() {
	s.mu.Lock()
	ready := s.ready
	s.ready = nil
	s.mu.Unlock()
	for _, l := range ready {
		s.drop(l, errShutdown)
	}
	s.release(len(ready))
}

// log returns the logger of the newest configuration.
func (s *Sender) log() *zap.Logger { return s.logger.Load() }

// fields are what the log says of a letter.
func (s *Sender) fields(l *letter) []zap.Field {
	return []zap.Field{
		zap.String("mail", l.ID), zap.String("recipient_domain", l.domain()),
		zap.String("server", s.settings.address()), zap.Int("tries", l.tries),
	}
}
