package userstore_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// gate is an address that leads to the server while it is open, and refuses
// connections while it is closed.
type gate struct {
	addr string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
}

func newGate(t *testing.T) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: listener.Addr().String(), listener: listener}
	g.close()
	t.Cleanup(g.close)
	return g
}

func (g *gate) open(t *testing.T, server string) {
	t.Helper()
	listener, err := net.Listen("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	g.listener = listener
	g.mu.Unlock()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, client, upstream)
			g.mu.Unlock()
			go pipe(upstream, client)
			go pipe(client, upstream)
		}
	}()
}

func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // ends with either connection
	_ = to.Close()
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.listener.Close()
	for _, conn := range g.conns {
		_ = conn.Close()
	}
	g.conns = nil
}

func serverAddr(t *testing.T) string {
	t.Helper()
	var addr string
	serverConfig(t, func(cfg *mysql.Config) { addr = cfg.Addr })
	return addr
}

// briefly is a time limit for queries in tests where some exceed it. All others must
// stay within it, on a busy machine too, and MySQL gives up waiting for a lock later.
const briefly = 2500 * time.Millisecond

// eventually polls until there is no error.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}
