package devsmtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// session is what a client does after it has introduced itself.
type session struct {
	server *Server
	conn   *smtp.Conn
	user   string
	from   string
	to     string
}

func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{server: s, conn: c}, nil
}

// raw is the connection below TLS.
func (s *session) raw() *faultConn {
	conn := s.conn.Conn()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return conn.(*faultConn)
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	if s.server.options.User == "" {
		return nil
	}
	return s.server.options.Mechanisms
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if !slices.Contains(s.AuthMechanisms(), mechanism) {
		return nil, smtp.ErrAuthUnknownMechanism
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return s.login(user, password) }), nil
	case sasl.Login:
		return &loginServer{login: s.login}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (s *session) login(user, password string) error {
	if user != s.server.options.User || password != s.server.options.Password {
		return smtp.ErrAuthFailed
	}
	s.user = user
	return nil
}

// loginServer is the mechanism LOGIN, which has no RFC.
type loginServer struct {
	login func(user, password string) error
	step  int
	user  string
}

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch {
	case l.step == 1 && response == nil:
		return []byte("Username:"), false, nil
	case l.step == 1:
		l.step++
		fallthrough
	case l.step == 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.login(l.user, string(response))
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.options.User != "" && s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return s.fail(AtMail)
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.fail(AtRcpt)
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.fail(AtContent); err != nil {
		return err
	}
	_, isTLS := s.conn.TLSConnectionState()
	s.server.keep(Mail{
		From: s.from, To: s.to, Content: string(content), Helo: s.conn.Hostname(), User: s.user, TLS: isTLS, Connection: s.raw().number,
	})
	return nil
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.from, s.to = "", "" }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// fail does what the next fault says, if it is for this place.
func (s *session) fail(at string) error {
	fault, ok := s.server.take(at, s.raw().number)
	if !ok {
		return nil
	}
	switch fault.Do {
	case Hang:
		s.raw().hang()
		return net.ErrClosed
	case Close:
		s.raw().Close()
		return net.ErrClosed
	}
	return reply(fault.Do)
}

// replyForm is the form of a reply: 451 4.7.1 try later.
var replyForm = regexp.MustCompile(`^([245]\d\d) (\d)\.(\d+)\.(\d+) (.+)$`)

func reply(text string) error {
	parts := replyForm.FindStringSubmatch(text)
	if parts == nil {
		return errors.New("no such fault: " + strconv.Quote(text))
	}
	numbers := make([]int, 4)
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.Atoi(parts[i+1]); err != nil {
			return fmt.Errorf("reading the fault %q: %w", text, err)
		}
	}
	return &smtp.SMTPError{Code: numbers[0], EnhancedCode: smtp.EnhancedCode{numbers[1], numbers[2], numbers[3]}, Message: parts[5]}
}
