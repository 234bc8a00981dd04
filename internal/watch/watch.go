// Package watch ends long responses when their user may no longer log in.
package watch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Reason is why a response was ended early. It is the cause of the request
// context's cancellation, and errors.Is reports that it is context.Canceled:
// the reverse proxy would count any other error as a failure of its upstream,
// and try the next one.
type Reason string

func (e Reason) Error() string { return string(e) }

// Is reports whether target is context.Canceled.
func (Reason) Is(target error) bool { return target == context.Canceled }

// The reasons for which responses are ended.
const (
	Unknown   Reason = "the user was deleted"
	Inactive  Reason = "the user was deactivated"
	Changed   Reason = "the user's credentials changed"
	Over      Reason = "the session is over"
	Forbidden Reason = "the user no longer meets what is required"
	LoggedOut Reason = "the user logged out"
	Ended     Reason = "the session or API token has ended"
)

// A Watcher ends WebSockets, event streams, downloads and other long responses
// when their user may no longer log in. It looks up the users of all of them
// together, once in an interval: a response ends within one interval after its
// user's row changed, or within two if it had just begun.
//
// Nearly all responses end within their first interval. They cost no lookup, and no
// lock that other requests take. Nor do they cost a timer each: one that still runs when
// its response is done serves the next one, see arm.
type Watcher struct {
	interval time.Duration
	lookup   func(context.Context, []userstore.Key) (map[userstore.Key]*userstore.User, error)
	logger   *zap.Logger
	ctx      context.Context // canceled by Stop
	cancel   context.CancelFunc
	spare    sync.Pool      // of *guarded, of short responses
	changing Changing       // nil if changes aren't known
	ended    *atomic.Uint64 // how many responses were ended
	nudged   chan struct{}

	mu      sync.Mutex
	long    []*guarded // the responses that have lasted longer than an interval
	running bool       // whether the goroutine runs
}

// New returns a watcher that looks up users once in an interval. lookup
// returns the rows of the users that exist; logger gets a line for each
// response that is ended.
func New(interval time.Duration, lookup func(context.Context, []userstore.Key) (map[userstore.Key]*userstore.User, error), logger *zap.Logger) *Watcher {
	w := &Watcher{interval: interval, lookup: lookup, logger: logger, ended: new(atomic.Uint64), nudged: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// CountIn has the responses that are ended counted. Call it before Guard.
func (w *Watcher) CountIn(ended *atomic.Uint64) { w.ended = ended }

// Changing are rows of users whose changes are known.
type Changing interface {
	// Kept returns the present row of a user, or nil if it isn't known.
	Kept(key userstore.Key) *userstore.User

	// IsCurrent reports whether changes are known now.
	IsCurrent() bool

	// Changes has an element after rows have changed.
	Changes() <-chan struct{}
}

// Follow has responses end as soon as their user's row changes, in addition to once in
// an interval. Users whose row isn't known are looked up, and lookup should have their
// rows be known. Call it before Guard.
func (w *Watcher) Follow(rows Changing) { w.changing = rows }

// youngest is how long a response lasts that isn't worth listing where changes are
// known.
const youngest = 50 * time.Millisecond

// The pause between two looks at all responses for changes of their users' rows, see
// pauseAfter.
const (
	leastPause       = 2 * time.Millisecond
	pausePerResponse = time.Millisecond // at most
)

// Stop ends the lookups. Responses continue while the servers of the former
// configuration drain; sessions still end when they expire.
func (w *Watcher) Stop() { w.cancel() }

// guarded is a response that can be ended.
type guarded struct {
	watcher *Watcher
	timer   *time.Timer // nil before the first response
	done    func()      // finish, bound once for all responses

	mu     sync.Mutex
	due    time.Time // when there is something to do: the end of the first interval, or until
	fires  time.Time // when the timer fires, which may be before due; zero if it doesn't
	writer *endingWriter
	key    userstore.Key
	until  time.Time
	why    func(*userstore.User) Reason
	cancel context.CancelCauseFunc
	index  int // index in watcher.long; guarded by the watcher's lock
	state  guardState

	// For a response of a session; guarded by the lock of the shard.
	session        Session
	shard          *shard
	next, previous *guarded
}

// guardState are flags that are set and never cleared.
type guardState struct{ listed, ended, finished bool }

// Guard returns the request with a context that is canceled when the user's
// access ends, and the writer for the response, which then rejects writes: the
// handlers for files and FastCGI ignore the context. The access ends at until,
// unless that is zero, or when the user is deleted or deactivated, or when
// why, which gets the current row, returns a reason that isn't empty.
//
// Call the returned function once, with defer, when the response is done. It
// panics with http.ErrAbortHandler if the response was cut off, as the reverse
// proxy does, so that no client mistakes a part for the whole.
func (w *Watcher) Guard(to http.ResponseWriter, r *http.Request, key userstore.Key, until time.Time, why func(*userstore.User) Reason) (http.ResponseWriter, *http.Request, func()) {
	g, writer, r := w.guard(to, r, key, until, why)
	return writer, r, g.done
}

func (w *Watcher) guard(to http.ResponseWriter, r *http.Request, key userstore.Key, until time.Time, why func(*userstore.User) Reason) (*guarded, http.ResponseWriter, *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	writer := &endingWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: to}}
	g, _ := w.spare.Get().(*guarded)
	if g == nil {
		g = &guarded{watcher: w}
		g.done = g.finish
	}
	now := time.Now()
	wait := w.interval
	if w.changing != nil {
		wait = min(wait, youngest)
	}
	if !until.IsZero() {
		wait = min(wait, until.Sub(now))
	}
	// The timer may fire before this function returns.
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writer, g.key, g.until, g.why, g.cancel, g.state = writer, key, until, why, cancel, guardState{}
	g.arm(now, wait)
	return g, writer, r.WithContext(ctx)
}

// arm has wake be called after a time. If the timer fires before then anyway, it stays:
// wake arms it again. Nearly all responses are done by then, and changing a timer twice
// for each of them would cost more than a few calls of wake for nothing. g.mu is held.
func (g *guarded) arm(now time.Time, wait time.Duration) {
	g.due = now.Add(wait)
	if !g.fires.IsZero() && !g.fires.After(g.due) {
		return
	}
	g.fires = g.due
	if g.timer == nil {
		g.timer = time.AfterFunc(wait, g.wake)
	} else {
		g.timer.Reset(wait)
	}
}

// wake is called when the timer fires, be it for the response that there is now or for
// an earlier one.
func (g *guarded) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fires = time.Time{}
	now := time.Now()
	switch {
	case g.state.finished || g.state.ended:
		return
	case now.Before(g.due):
		g.arm(now, g.due.Sub(now))
		return
	case g.isOver():
		g.end(Over)
		return
	case !g.state.listed:
		g.state.listed = true
		g.watcher.add(g)
	}
	if !g.until.IsZero() {
		g.arm(now, g.until.Sub(now))
	}
}

// isOver reports whether until has passed, by the wall clock: timers use a
// monotonic clock, which doesn't notice that the host's clock is set or that
// its processes are suspended.
func (g *guarded) isOver() bool {
	return !g.until.IsZero() && !time.Now().Before(g.until)
}

// end ends the response. g.mu is held.
func (g *guarded) end(why Reason) {
	if g.state.ended || g.state.finished {
		return
	}
	g.state.ended = true
	level := zap.InfoLevel
	if why == Over || why == LoggedOut || why == Ended {
		level = zap.DebugLevel // as expected
	}
	if c := g.watcher.logger.Check(level, "a response was ended before its time"); c != nil {
		c.Write(zap.Error(why), userField(g.key))
	}
	g.watcher.ended.Add(1)
	g.writer.ended.Store(true)
	g.cancel(why)
}

// finish is called when the response is done, normally or not.
func (g *guarded) finish() {
	g.mu.Lock()
	if g.state.finished {
		g.mu.Unlock()
		return
	}
	g.state.finished = true
	if g.state.listed {
		g.watcher.remove(g)
	}
	cancel, writer, spare := g.cancel, g.writer, !g.state.listed
	if !spare {
		g.timer.Stop() // it may be due in days
	}
	g.writer, g.why, g.cancel = nil, nil, nil
	g.mu.Unlock()
	g.unlink()
	cancel(nil)
	if spare {
		g.watcher.spare.Put(g)
	}
	if writer.refused.Load() {
		panic(http.ErrAbortHandler)
	}
}

// endingWriter is a response writer that rejects writes after the response was
// ended. A write that blocks on a slow client is ended by Caddy's own write
// timeouts, which would replace a deadline set here.
type endingWriter struct {
	caddyhttp.ResponseWriterWrapper
	ended, refused atomic.Bool
}

// allows reports whether more may be written.
func (w *endingWriter) allows() bool {
	if !w.ended.Load() {
		return true
	}
	w.refused.Store(true)
	return false
}

// errEnded returns the error of writes after the end.
var errEnded = fmt.Errorf("the response was ended: %w", context.Canceled)

func (w *endingWriter) Write(p []byte) (int, error) {
	if !w.allows() {
		return 0, errEnded
	}
	return w.ResponseWriterWrapper.Write(p)
}

// pieceSize is how many bytes of a file are sent before the next check.
const pieceSize = 1 << 20

// ReadFrom implements io.ReaderFrom, by which files are sent.
func (w *endingWriter) ReadFrom(r io.Reader) (written int64, err error) {
	// With nested limits, the kernel couldn't send the file (sendfile).
	limited, isLimited := r.(*io.LimitedReader)
	for {
		if isLimited && limited.N <= 0 {
			return written, nil
		}
		if !w.allows() {
			return written, errEnded
		}
		piece := &io.LimitedReader{R: r, N: pieceSize}
		if isLimited {
			piece.R, piece.N = limited.R, min(limited.N, pieceSize)
		}
		size := piece.N
		n, err := w.ResponseWriterWrapper.ReadFrom(piece)
		written += n
		if isLimited {
			limited.N -= n
		}
		if err != nil || n < size {
			return written, err
		}
	}
}

// add lists a response that has lasted an interval, and starts the goroutine
// that checks the list, unless it runs.
func (w *Watcher) add(g *guarded) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g.index = len(w.long)
	w.long = append(w.long, g)
	if !w.running && w.ctx.Err() == nil {
		w.running = true
		go w.run()
	}
	if w.changing != nil {
		select {
		case w.nudged <- struct{}{}: // the row may have changed since the response began
		default:
		}
	}
}

func (w *Watcher) remove(g *guarded) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.long) - 1
	moved := w.long[last]
	w.long[g.index], moved.index = moved, g.index
	w.long[last] = nil
	w.long = w.long[:last]
	if last == 0 {
		w.long = nil // free memory that a peak has allocated
	}
}

// run looks up the users while there are responses to watch.
func (w *Watcher) run() {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	var changes <-chan struct{}
	if w.changing != nil {
		changes = w.changing.Changes()
	}
	// At once, because the first user's row is an interval old.
	for isLeft := w.check(); isLeft; {
		select {
		case <-ticker.C:
			isLeft = w.check()
		case <-changes:
			isLeft = w.checkChanged()
		case <-w.nudged:
			isLeft = w.checkChanged()
		case <-w.ctx.Done():
			return
		}
	}
}

// checkChanged is check for responses whose user's present row isn't known, or no
// longer lets them go on.
func (w *Watcher) checkChanged() bool {
	began := time.Now()
	responses := w.listed()
	isLeft := w.checkThose(func(g *guarded) bool { return !g.acceptsKept(w.changing) })
	pause := time.NewTimer(pauseAfter(time.Since(began), responses))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-w.ctx.Done():
	}
	return isLeft
}

// pauseAfter is how long to wait after a look at some responses. Changes may come faster
// than all responses can be looked at, so that the pause is nine times as long as the look.
// But a look at a few that takes long has waited for the database, and changes that came
// meanwhile are not to wait nine times as long again.
func pauseAfter(look time.Duration, responses int) time.Duration {
	return max(leastPause, min(9*look, time.Duration(responses)*pausePerResponse))
}

// acceptsKept reports whether the response may go on by the user's present row, or for
// now, because changes aren't known.
func (g *guarded) acceptsKept(rows Changing) bool {
	if !rows.IsCurrent() {
		return true
	}
	user := rows.Kept(g.key)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state.finished || user != nil && user.IsActive && g.why(user) == ""
}

// listed is how many responses there are to check. Unlike open, it doesn't end the
// goroutine where there are none: that is decided once for each look.
func (w *Watcher) listed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.long)
}

// open returns the responses to check, or none if the goroutine must end.
func (w *Watcher) open() []*guarded {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = len(w.long) > 0
	return append([]*guarded(nil), w.long...)
}

// check ends the responses whose users' access has ended. It reports whether
// there are responses left to check.
func (w *Watcher) check() bool { return w.checkThose(func(*guarded) bool { return true }) }

// checkThose is check for some of the responses.
func (w *Watcher) checkThose(which func(*guarded) bool) bool {
	open := w.open()
	if len(open) == 0 {
		return false
	}
	if open = slices.DeleteFunc(open, func(g *guarded) bool { return !which(g) }); len(open) == 0 {
		return true
	}
	seen := make(map[userstore.Key]struct{})
	var keys []userstore.Key
	for _, g := range open {
		g.endOver()
		if _, again := seen[g.key]; !again {
			seen[g.key] = struct{}{}
			keys = append(keys, g.key)
		}
	}
	users, err := w.lookup(w.ctx, keys)
	if err != nil {
		// It isn't known whether a user's access has ended.
		w.logger.Debug("the users of long responses can't be looked up", zap.Int("users", len(keys)), zap.Error(err))
		return true
	}
	for _, g := range open {
		g.endUnlessFor(users[g.key])
	}
	return true
}

// userField says in a line of the log whose response it is, or by what the user
// was found.
func userField(key userstore.Key) zap.Field {
	if via, _ := key.Via(); via != nil {
		return zap.String("via", via.Name)
	}
	pk, _ := key.PrimaryKey()
	return zap.Stringer("user", pk)
}

// isVia reports whether a user is found by a session or an API token.
func isVia(key userstore.Key) bool {
	via, _ := key.Via()
	return via != nil
}

// endOver ends the response if the session is over.
func (g *guarded) endOver() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isOver() {
		g.end(Over)
	}
}

// endUnlessFor ends the response unless it may continue for the user's current
// row; nil means that there is no row.
func (g *guarded) endUnlessFor(user *userstore.User) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.state.finished:
	case user == nil && isVia(g.key):
		g.end(Ended) // or its user was deleted
	case user == nil:
		g.end(Unknown)
	case !user.IsActive:
		g.end(Inactive)
	default:
		if why := g.why(user); why != "" {
			g.end(why)
		}
	}
}

// Interface guards
var (
	_ http.ResponseWriter = (*endingWriter)(nil)
	_ io.ReaderFrom       = (*endingWriter)(nil)
)
