package devmysql

import (
	"net"
	"sync"
)

// listener remembers the connections it accepted, because go-mysql-server
// leaves them open when it is closed.
type listener struct {
	net.Listener
	conns sync.WaitGroup // those not closed yet

	mu     sync.Mutex
	open   map[*conn]struct{}
	closed bool
}

func newListener(l net.Listener) *listener {
	return &listener{Listener: l, open: make(map[*conn]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		accepted.Close()
		return nil, net.ErrClosed
	}
	c := &conn{Conn: accepted, listener: l}
	l.open[c] = struct{}{}
	l.conns.Add(1)
	return c, nil
}

// closeAll ends listening and all connections.
func (l *listener) closeAll() {
	l.Close()
	l.mu.Lock()
	l.closed = true
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		c.Conn.Close() // the connection's goroutine notices, and closes it for good
	}
}

type conn struct {
	net.Conn
	listener *listener
	once     sync.Once
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.listener.mu.Lock()
		delete(c.listener.open, c)
		c.listener.mu.Unlock()
		c.listener.conns.Done()
	})
	return err
}
