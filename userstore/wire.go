package userstore

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// task is the current use of a connection.
type task int32

// The tasks. A server continues reads and writes after the client has gone; other
// tasks cost it little time.
const (
	taskOther task = iota
	taskRead
	taskWrite
)

// taskOf returns the task of a statement, by its text.
func taskOf(statement string) task {
	if statement != "" && (statement[0] == 'S' || statement[0] == '(') {
		return taskRead
	}
	return taskWrite
}

// wire is the network connection below a connection to MySQL. It enforces the
// deadline of the current statement, because the driver's own limit restarts
// with each piece of an answer: a server that sends a byte now and then would
// never exceed it. It also records whether it was closed before the answer to
// a statement began: then the server may still execute the statement.
type wire struct {
	net.Conn

	stalled  *stalled
	deadline time.Time // of the current task; accessed only by the goroutine that uses the connection

	// The driver closes the connection from another goroutine when a context ends.
	mu         sync.Mutex
	hasAdded   func() // called after a statement is added to stalled; may be nil
	id         uint64 // the connection's, once the server was asked for it
	unanswered task   // the statement without the beginning of an answer
	began      time.Time
	statement  string
}

// dialing passes data through the driver to dial, in a context.
type dialing struct {
	deadline time.Time // for the connection to be ready
	stalled  *stalled
	wire     *wire // is set
}

type dialingKey struct{}

// dial connects and returns a wire. The driver calls it with the context of
// Connect.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn}
	if made, ok := ctx.Value(dialingKey{}).(*dialing); ok {
		w.deadline, w.stalled, made.wire = made.deadline, made.stalled, w
	}
	return w, nil
}

// begin sets the next task and its deadline.
func (w *wire) begin(what task, statement string, deadline time.Time) {
	w.deadline = deadline
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unanswered, w.statement, w.began = what, statement, time.Now()
}

// quit records that the connection is about to be ended by the protocol's quit
// command.
func (w *wire) quit(deadline time.Time) {
	w.deadline = deadline
	w.answered()
}

// answered records that the server executes no statement of this connection.
func (w *wire) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unanswered = taskOther
}

// identify sets the ID with which other connections can end this connection's
// statement.
func (w *wire) identify(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.id = id
}

// notify sets a function that is called when the connection leaves a statement
// behind.
func (w *wire) notify(hasAdded func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hasAdded = hasAdded
}

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.answered()
	}
	return n, err
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.mu.Lock()
	left, id, hasAdded := abandoned{task: w.unanswered, statement: w.statement, began: w.began}, w.id, w.hasAdded
	w.unanswered = taskOther
	w.mu.Unlock()
	err := w.Conn.Close()
	if left.task != taskOther && id != 0 && w.stalled != nil {
		w.stalled.add(id, left)
		if hasAdded != nil {
			hasAdded()
		}
	}
	return err
}

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(t time.Time) error { return w.Conn.SetReadDeadline(w.earlier(t)) }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(t time.Time) error { return w.Conn.SetWriteDeadline(w.earlier(t)) }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetDeadline(w.earlier(t)) }

// earlier returns t or the deadline, whichever is earlier.
func (w *wire) earlier(t time.Time) time.Time {
	if !w.deadline.IsZero() && (t.IsZero() || w.deadline.Before(t)) {
		return w.deadline
	}
	return t
}

// SyscallConn implements syscall.Conn, which lets the driver see whether an unused
// connection was closed.
func (w *wire) SyscallConn() (syscall.RawConn, error) {
	conn, ok := w.Conn.(syscall.Conn)
	if !ok {
		return nil, syscall.EINVAL // unreachable: TCP and Unix sockets have it
	}
	return conn.SyscallConn()
}

// deadlined is a context whose deadline the connection enforces. It never ends
// by itself, so that no goroutine has to watch it, which would cost two
// goroutines per query.
type deadlined struct {
	context.Context
	at time.Time
}

type deadlinedKey struct{}

func (*deadlined) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*deadlined) Done() <-chan struct{}       { return nil }
func (*deadlined) Err() error                  { return nil }

func (d *deadlined) Value(key any) any {
	if key == (deadlinedKey{}) {
		return d
	}
	return d.Context.Value(key)
}

// deadlineOf returns the deadline of a task: the context's, or the limit from
// now if the context has none.
func deadlineOf(ctx context.Context, limit time.Duration) time.Time {
	deadline := time.Now().Add(limit)
	if of, ok := ctx.Deadline(); ok && of.Before(deadline) {
		deadline = of
	}
	if of, ok := ctx.Value(deadlinedKey{}).(*deadlined); ok && of.at.Before(deadline) {
		deadline = of.at
	}
	return deadline
}

// Interface guards
var (
	_ net.Conn     = (*wire)(nil)
	_ syscall.Conn = (*wire)(nil)
)
