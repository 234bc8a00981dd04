package devsmtp

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// faultListener counts connections, and has faults happen at them.
type faultListener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *faultListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		s := l.server
		s.mu.Lock()
		s.connections++
		c := &faultConn{Conn: conn, server: s, number: s.connections}
		s.tell(Event{Kind: EventConnected, Connection: c.number})
		s.mu.Unlock()
		fault, ok := s.take(AtConnection, c.number)
		switch {
		case !ok:
			return c, nil
		case fault.Do == Drip:
			c.drips = true
			return c, nil
		case fault.Do == Hang:
			go c.alone(c.hang)
		case fault.Do == Flood:
			go c.alone(c.flood)
		default:
			c.Close()
		}
	}
}

// faultConn is a connection from a client.
type faultConn struct {
	net.Conn
	server *Server
	number int
	drips  bool
	gone   sync.Once
}

// hang waits until the client goes, which sends nothing any more.
func (c *faultConn) hang() {
	_, _ = io.Copy(io.Discard, c.Conn) // whatever ends it, the client is gone
	c.tellGone()
}

// flood sends lines of a greeting until the client goes.
func (c *faultConn) flood() {
	lines := bytes.Repeat([]byte("220-welcome to mail.example.com\r\n"), 1000)
	for {
		if _, err := c.Conn.Write(lines); err != nil {
			c.tellGone()
			return
		}
	}
}

// alone does what a fault says with a connection that the server never sees, and
// closes it.
func (c *faultConn) alone(do func()) {
	s := c.server
	defer c.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.apart[c] = struct{}{}
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apart, c)
}

func (c *faultConn) tellGone() {
	c.gone.Do(func() { c.server.event(Event{Kind: EventGone, Connection: c.number}) })
}

// Read implements net.Conn.
func (c *faultConn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	if err != nil && c.drips {
		c.tellGone()
	}
	return n, err
}

// dripEvery is the time between two bytes of a server that drips.
const dripEvery = 50 * time.Millisecond

// Write implements net.Conn.
func (c *faultConn) Write(p []byte) (n int, err error) {
	if !c.drips {
		return c.Conn.Write(p)
	}
	for i := range p {
		time.Sleep(dripEvery)
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			c.tellGone()
			return i, err
		}
	}
	return len(p), nil
}
