// Package testsmtp runs the mail server of internal/devsmtp for tests. That is
// in a separate module, so that Caddy doesn't depend on it; this package builds
// and starts its program.
package testsmtp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// Options say what server to run: see devsmtp.Options.
type Options struct {
	Addr       string   `json:"addr,omitempty"`
	TLS        string   `json:"tls,omitempty"` // ImplicitTLS, STARTTLS or NoTLS
	Hosts      []string `json:"hosts,omitempty"`
	User       string   `json:"user,omitempty"`
	Password   string   `json:"password,omitempty"`
	Mechanisms []string `json:"mechanisms,omitempty"`
	UTF8       bool     `json:"utf8,omitempty"`
	Faults     []Fault  `json:"faults,omitempty"`
}

// The kinds of TLS of Options.
const (
	ImplicitTLS = "implicit"
	STARTTLS    = "starttls"
	NoTLS       = ""
)

// A Fault is what goes wrong when the server comes to a place the next time: At
// "connection", "mail", "rcpt" or "content", it does "hang", "close", "drip" or
// "flood" (these two at the connection), or replies with a text such as "451 4.7.1
// try later".
type Fault struct {
	At string `json:"at"`
	Do string `json:"do"`
}

// A Mail is a mail that the server has accepted.
type Mail struct {
	From       string `json:"from"`
	To         string `json:"to"`
	Content    string `json:"content"` // with its header
	Helo       string `json:"helo"`
	User       string `json:"user"` // that has logged in
	TLS        bool   `json:"tls"`
	Connection int    `json:"connection"` // counted from 1
}

// An Event is what has happened at the server: it was "connected", a "fault" has
// begun, the client is "gone" that was left hanging, or a "mail" was accepted.
type Event struct {
	Kind       string `json:"kind"`
	Connection int    `json:"connection"`
	Fault      *Fault `json:"fault"`
	Mail       *Mail  `json:"mail"`
}

// Program is the server's program.
type Program struct{ path string }

// Build builds the program of the module in moduleDir into dir.
func Build(moduleDir, dir string) (*Program, error) {
	p := &Program{filepath.Join(dir, "devsmtp")}
	build := exec.Command("go", "build", "-C", moduleDir, "-o", p.path, "./cmd/devsmtp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the mail server: %w\n%s", err, output)
	}
	return p, nil
}

// Server is a server that runs.
type Server struct {
	URL    string // for the option smtp
	CA     string // the authority of its certificate, in PEM
	CAFile string // the same as a file, for the option smtp_ca

	stdin io.WriteCloser
	ended <-chan struct{}

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed at the next event
	taken  map[string]int
}

// Start starts a server, which ends with the test.
func (p *Program) Start(t testing.TB, options Options) *Server {
	t.Helper()
	argument, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(p.path, string(argument))
	command.Stderr = os.Stderr
	s := &Server{more: make(chan struct{}), taken: make(map[string]int)}
	if s.stdin, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	// Not StdoutPipe, whose reader loses lines when the program ends.
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout = in
	s.ended, err = child.StartTied(command)
	_ = in.Close()
	if err != nil {
		_ = out.Close()
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		s.Stop()
		t.Fatalf("the mail server didn't start: %v", err)
	}
	if err := json.Unmarshal(first, s); err != nil {
		t.Fatalf("the mail server said %q: %v", first, err)
	}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		defer out.Close()
		s.read(lines)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-reading
	})
	s.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.CAFile, []byte(s.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// read reads events until the program ends.
func (s *Server) read(lines io.Reader) {
	decoder := json.NewDecoder(lines)
	for {
		var e Event
		if decoder.Decode(&e) != nil {
			return
		}
		s.mu.Lock()
		s.events = append(s.events, e)
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
	}
}

// Stop ends the server. Then no server listens at its address.
func (s *Server) Stop() {
	_ = s.stdin.Close() // the server then ends
	<-s.ended
}

// waitLimit is how long an event may be awaited. Only a broken or very busy
// machine takes nearly as long.
const waitLimit = 60 * time.Second

// Wait waits for the next event of a kind. Each is returned once.
func (s *Server) Wait(t testing.TB, kind string) Event {
	t.Helper()
	deadline := time.After(waitLimit)
	for {
		s.mu.Lock()
		for i := s.taken[kind]; i < len(s.events); i++ {
			if s.events[i].Kind == kind {
				s.taken[kind] = i + 1
				e := s.events[i]
				s.mu.Unlock()
				return e
			}
		}
		s.taken[kind] = len(s.events)
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("the mail server told of no event %q; it told of %+v", kind, s.Events())
		}
	}
}

// WaitMail waits for the next mail.
func (s *Server) WaitMail(t testing.TB) Mail {
	t.Helper()
	return *s.Wait(t, "mail").Mail
}

// Events are all events so far.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Mails are all mails that the server has accepted.
func (s *Server) Mails(t testing.TB) []Mail {
	t.Helper()
	s.Fail(t) // nothing, but the server answers after all events so far
	var mails []Mail
	for _, e := range s.Events() {
		if e.Mail != nil {
			mails = append(mails, *e.Mail)
		}
	}
	return mails
}

// Fail adds faults to those that have yet to happen.
func (s *Server) Fail(t testing.TB, faults ...Fault) {
	t.Helper()
	line, err := json.Marshal(faults)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	s.Wait(t, "added")
}
