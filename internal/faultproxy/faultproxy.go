// Package faultproxy is a TCP proxy for tests that simulates faults of
// networks and servers.
package faultproxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy passes connections on to a server, with simulated faults. A fault
// affects existing and new connections, until Pass or another fault. It is
// safe for concurrent use.
type Proxy struct {
	listener net.Listener
	tasks    sync.WaitGroup

	trickled atomic.Int64 // bytes

	mu     sync.Mutex
	target string
	fault  *fault
	conns  map[net.Conn]struct{}
	closed bool
}

// fault is the fault that is being simulated.
type fault struct {
	over chan struct{} // closed when another fault replaces it

	frozen bool
	reset  bool
	delay  time.Duration // delay of the server's data
	most   int           // how many bytes of the server each connection gets; -1 for all
	each   time.Duration // pause between two bytes of the server; 0 for none
}

// Start listens on a new loopback address and passes connections on to a
// server. The caller calls Close.
func Start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	p := &Proxy{listener: listener, target: target, fault: newFault(), conns: make(map[net.Conn]struct{})}
	p.tasks.Go(p.accept)
	return p, nil
}

func newFault() *fault { return &fault{over: make(chan struct{}), most: -1} }

// Addr returns the address that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Pass ends all faults. Held data is passed on.
func (p *Proxy) Pass() { p.become(newFault()) }

// Freeze holds all data in both directions. Connections are accepted, but get
// no data.
func (p *Proxy) Freeze() {
	f := newFault()
	f.frozen = true
	p.become(f)
}

// Delay delays each piece of the server's data.
func (p *Proxy) Delay(by time.Duration) {
	f := newFault()
	f.delay = by
	p.become(f)
}

// Trickle passes the server's data on byte by byte, with a pause before each.
func (p *Proxy) Trickle(pause time.Duration) {
	f := newFault()
	f.each = pause
	p.become(f)
}

// Trickled returns how many bytes were passed on with a pause since Start.
func (p *Proxy) Trickled() int64 { return p.trickled.Load() }

// Reset resets all connections, and new ones as soon as they are accepted.
func (p *Proxy) Reset() {
	f := newFault()
	f.reset = true
	p.become(f)
	p.ResetOnce()
}

// ResetAfter resets each connection after that many bytes of the server,
// counted from now.
func (p *Proxy) ResetAfter(n int) {
	f := newFault()
	f.most = n
	p.become(f)
}

// ResetOnce resets the existing connections, but no new ones.
func (p *Proxy) ResetOnce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		reset(conn)
	}
}

// Lead connects new connections to another server.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Connections returns how many clients are connected.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close ends all connections, and waits until their goroutines have ended.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Pass() // end what waits for the fault
	p.tasks.Wait()
}

func (p *Proxy) become(f *fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.fault.over)
	p.fault = f
}

func (p *Proxy) current() *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.tasks.Go(func() { p.connect(client) })
		}
	}
}

// connect passes a client's connection on until it ends.
func (p *Proxy) connect(client net.Conn) {
	p.mu.Lock()
	target, f := p.target, p.fault
	p.mu.Unlock()
	if f.reset {
		reset(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		reset(client) // as if the server's operating system had refused
		return
	}
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client, false) })
	both.Go(func() { p.pass(client, server, true) })
	both.Wait()
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		if p.closed || p.fault.reset {
			reset(conn)
			continue
		}
		p.conns[conn] = struct{}{}
	}
	return !p.closed && !p.fault.reset
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		delete(p.conns, conn)
	}
}

// pass copies one direction until either side ends.
func (p *Proxy) pass(to, from net.Conn, isAnswer bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	var at *fault // the server's data, whose bytes are counted
	var had int
	for {
		n, err := from.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			f := p.current()
			if f != at {
				at, had = f, 0
			}
			if f.frozen || isAnswer && f.delay > 0 {
				if p.hold(f) {
					continue
				}
			}
			if isAnswer && f.each > 0 {
				if p.hold(f) {
					continue
				}
				if _, err := to.Write(data[:1]); err != nil {
					return
				}
				p.trickled.Add(1)
				data = data[1:]
				continue
			}
			piece := data
			if isAnswer && f.most >= 0 {
				piece = data[:min(len(data), f.most-had)]
			}
			if _, err := to.Write(piece); err != nil {
				return
			}
			had += len(piece)
			if len(piece) < len(data) {
				reset(to)
				return
			}
			data = nil
		}
		if err != nil {
			return
		}
	}
}

// hold waits for the end of a fault or of a delay. It reports whether the
// fault ended.
func (p *Proxy) hold(f *fault) bool {
	if f.frozen {
		<-f.over
		return true
	}
	delay := time.NewTimer(max(f.delay, f.each))
	defer delay.Stop()
	select {
	case <-delay.C:
		return false
	case <-f.over:
		return true
	}
}

// reset ends a connection with a TCP reset.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
