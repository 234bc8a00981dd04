// Package devsmtp is a mail server for tests and the demo. It keeps mails
// instead of delivering them, and can be told how to fail. It is in a separate
// module, so that Caddy doesn't depend on it.
package devsmtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"slices"
	"sync"

	"github.com/emersion/go-smtp"
)

// The kinds of TLS of Options.
const (
	ImplicitTLS = "implicit" // from the beginning
	STARTTLS    = "starttls"
	NoTLS       = ""
)

// Options say what server to run. Its zero value has neither TLS nor a login.
type Options struct {
	// Where to listen. Default: a free port of 127.0.0.1.
	Addr string `json:"addr,omitempty"`

	// ImplicitTLS, STARTTLS or NoTLS.
	TLS string `json:"tls,omitempty"`

	// The names and addresses in the certificate. Default: localhost and
	// 127.0.0.1.
	Hosts []string `json:"hosts,omitempty"`

	// The account, without which no mail is accepted. Default: none is needed.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`

	// The mechanisms for logging in. Default: PLAIN and LOGIN.
	Mechanisms []string `json:"mechanisms,omitempty"`

	// Whether SMTPUTF8 is offered.
	UTF8 bool `json:"utf8,omitempty"`

	// What goes wrong, one after the other, each once.
	Faults []Fault `json:"faults,omitempty"`
}

// The places of faults.
const (
	AtConnection = "connection" // before the greeting
	AtMail       = "mail"
	AtRcpt       = "rcpt"
	AtContent    = "content" // after DATA, when the content has come
)

// What faults do, besides a reply such as "451 4.7.1 try later".
const (
	Hang  = "hang"  // nothing, until the client goes
	Close = "close" // close the connection
	Drip  = "drip"  // at the connection: send one byte every 50 ms
	Flood = "flood" // at the connection: send lines of a greeting without end
)

// A Fault is what goes wrong when the server comes to a place the next time.
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
	User       string `json:"user,omitempty"` // that has logged in
	TLS        bool   `json:"tls,omitempty"`
	Connection int    `json:"connection"` // counted from 1
}

// The kinds of events.
const (
	EventConnected = "connected"
	EventFault     = "fault" // has begun
	EventGone      = "gone"  // the client has left a server that hangs or drips
	EventMail      = "mail"
)

// An Event is what has happened at the server.
type Event struct {
	Kind       string `json:"kind"`
	Connection int    `json:"connection"`
	Fault      *Fault `json:"fault,omitempty"`
	Mail       *Mail  `json:"mail,omitempty"`
}

// Server is a server that runs.
type Server struct {
	options  Options
	smtp     *smtp.Server
	listener net.Listener
	ca       string
	served   chan struct{}

	mu          sync.Mutex
	faults      []Fault
	mails       []Mail
	connections int
	apart       map[*faultConn]struct{} // that the server never sees
	closed      bool
	notify      func(Event)
}

// New starts a server. notify is called for each event, one after the other; it
// may be nil.
func New(options Options, notify func(Event)) (*Server, error) {
	if options.Addr == "" {
		options.Addr = "127.0.0.1:0"
	}
	if len(options.Hosts) == 0 {
		options.Hosts = []string{"localhost", "127.0.0.1"}
	}
	if len(options.Mechanisms) == 0 {
		options.Mechanisms = []string{"PLAIN", "LOGIN"}
	}
	s := &Server{options: options, faults: options.Faults, served: make(chan struct{}), apart: make(map[*faultConn]struct{}), notify: notify}
	listener, err := net.Listen("tcp", options.Addr)
	if err != nil {
		return nil, fmt.Errorf("listening for SMTP: %w", err)
	}
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.newSession))
	s.smtp.Domain = "mail.example.com"
	s.smtp.AllowInsecureAuth = true
	s.smtp.EnableSMTPUTF8 = options.UTF8
	s.smtp.ErrorLog = log.New(io.Discard, "", 0) // clients break off, as they are meant to
	s.listener = &faultListener{listener, s}
	if err := s.setTLS(); err != nil {
		listener.Close()
		return nil, err
	}
	go func() {
		defer close(s.served)
		_ = s.smtp.Serve(s.listener) // until Close
	}()
	return s, nil
}

func (s *Server) setTLS() error {
	if s.options.TLS == NoTLS {
		return nil
	}
	certificate, ca, err := newCertificate(s.options.Hosts)
	if err != nil {
		return fmt.Errorf("making the server's certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s.ca = ca
	switch s.options.TLS {
	case STARTTLS:
		s.smtp.TLSConfig = config
	case ImplicitTLS:
		s.listener = tls.NewListener(s.listener, config)
	default:
		return fmt.Errorf("there is no kind of TLS %q", s.options.TLS)
	}
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// CA is the authority of the server's certificate, in PEM.
func (s *Server) CA() string { return s.ca }

// URL is what the option smtp has for the server.
func (s *Server) URL() string {
	u := url.URL{Scheme: "smtp", Host: s.Addr()}
	if s.options.TLS == ImplicitTLS {
		u.Scheme = "smtps"
	}
	if s.options.User != "" {
		u.User = url.UserPassword(s.options.User, s.options.Password)
	}
	return u.String()
}

// Mails are the mails that the server has accepted, oldest first.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Fail adds faults to those that have yet to happen.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(slices.Clone(s.faults), faults...)
}

// Close ends the server and its connections.
func (s *Server) Close() error {
	// First of all, since Serve may not know it yet.
	s.listener.Close()
	s.mu.Lock()
	s.closed = true // for connections that are about to be set apart
	for c := range s.apart {
		c.Close()
	}
	s.mu.Unlock()
	err := s.smtp.Close()
	<-s.served
	if errors.Is(err, smtp.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// event tells of an event.
func (s *Server) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(e)
}

// tell is event for callers that hold the lock.
func (s *Server) tell(e Event) {
	if s.notify != nil {
		s.notify(e)
	}
}

// keep keeps a mail.
func (s *Server) keep(m Mail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	s.tell(Event{Kind: EventMail, Connection: m.Connection, Mail: &m})
}

// take takes the next fault if it is for this place.
func (s *Server) take(at string, connection int) (fault Fault, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 || s.faults[0].At != at {
		return Fault{}, false
	}
	fault = s.faults[0]
	s.faults = s.faults[1:]
	s.tell(Event{Kind: EventFault, Connection: connection, Fault: &fault})
	return fault, true
}
