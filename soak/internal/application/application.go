// Package application is what stands behind the gateways. It keeps count of
// what reaches it, and looks for what must not.
package application

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sesame/caddy-sesame/soak/internal/ledger"
	"github.com/caddy-sesame/caddy-sesame/soak/internal/people"
)

// SeenUser is a header field of the answer with the user that the gateway
// named.
const SeenUser = "Seen-User"

// PathLong ends the paths of responses that continue until the gateway or the
// client ends them.
const PathLong = "long"

// Tick is what a long response consists of, and Interval how often it comes.
const (
	Tick     = "tick\n"
	Interval = 200 * time.Millisecond
)

// Application is a running one.
type Application struct {
	Address string // host and port

	books  *ledger.Ledger
	server *http.Server

	mu       sync.Mutex
	arrivals map[string]int // requests by path, of those that are watched
}

// Start serves on a free port.
func Start(books *ledger.Ledger) (*Application, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the application: %w", err)
	}
	a := &Application{Address: listener.Addr().String(), books: books, arrivals: make(map[string]int)}
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = a.server.Serve(listener) }()
	return a, nil
}

// Stop ends it.
func (a *Application) Stop() { _ = a.server.Close() }

// Watch counts the requests for a path from now on, until Arrived.
func (a *Application) Watch(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.arrivals[path] = 0
}

// Arrived is how many requests for a watched path there were.
func (a *Application) Arrived(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.arrivals[path]
	delete(a.arrivals, path)
	return n
}

// ServeHTTP implements http.Handler.
func (a *Application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.lookForTokens(r)
	a.mu.Lock()
	if _, watched := a.arrivals[r.URL.Path]; watched {
		a.arrivals[r.URL.Path]++
	}
	a.mu.Unlock()
	w.Header().Set(SeenUser, r.Header.Get("Remote-User"))
	switch {
	case !strings.HasSuffix(r.URL.Path, PathLong):
		_, _ = io.WriteString(w, "a page\n") // the gateway may be gone
	case r.Header.Get("Upgrade") != "":
		serveUpgraded(w, r)
	default:
		serveLong(r.Context(), w, http.NewResponseController(w).Flush)
	}
}

// lookForTokens looks for tokens and sessions in what arrived.
func (a *Application) lookForTokens(r *http.Request) {
	if strings.Contains(r.RequestURI, people.TokenPrefix) {
		a.books.Violation("the application got a token in its URI: %s", r.RequestURI)
	}
	for name, values := range r.Header {
		for _, value := range values {
			if strings.Contains(value, people.TokenPrefix) || name == "Cookie" {
				a.books.Violation("the application got a token or a session: %s: %s", name, value)
			}
		}
	}
}

func serveUpgraded(w http.ResponseWriter, r *http.Request) {
	user := r.Header.Get("Remote-User")
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		defer cancel() // when the gateway is gone
		_, _ = io.Copy(io.Discard, conn)
	}()
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		SeenUser+": "+user+"\r\n\r\n"); err != nil {
		return
	}
	serveLong(ctx, conn, func() error { return nil })
}

// serveLong writes until the connection is closed.
func serveLong(ctx context.Context, w io.Writer, flush func() error) {
	next := time.NewTicker(Interval)
	defer next.Stop()
	for {
		if _, err := io.WriteString(w, Tick); err != nil {
			return
		}
		if err := flush(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
	}
}
