package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// connection is a connection to the server, logged in.
type connection struct {
	settings  *settings
	raw       net.Conn
	client    *smtp.Client
	mechanism string // of the login, or ""
	mails     int    // that were sent or tried
}

// connect connects to the server, and logs in. It ends with the context.
func (s *settings) connect(ctx context.Context) (*connection, *Failure) {
	dialed, err := new(net.Dialer).DialContext(ctx, "tcp", s.address())
	if err != nil {
		return nil, s.failed(ctx, stepConnect, err)
	}
	raw := &boundedConn{dialed, mostReceived}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	c := &connection{settings: s, raw: raw}
	if at, err := c.open(ctx); err != nil {
		raw.Close()
		return nil, s.failed(ctx, at, err)
	}
	return c, nil
}

// open does what comes before the first mail. The error is that of a step.
func (c *connection) open(ctx context.Context) (step, error) {
	s := c.settings
	conn := c.raw
	if s.implicit {
		secure := tls.Client(c.raw, s.tls())
		if err := secure.HandshakeContext(ctx); err != nil {
			return stepTLS, err
		}
		conn = secure
	}
	var err error
	if c.client, err = smtp.NewClient(conn, s.host); err != nil {
		return stepGreeting, err
	}
	if err := c.client.Hello(s.helo); err != nil {
		return stepGreeting, err
	}
	if !s.implicit && !s.plaintext {
		if offered, _ := c.client.Extension("STARTTLS"); !offered {
			return stepTLS, errNoSTARTTLS
		}
		if err := c.client.StartTLS(s.tls()); err != nil {
			return stepTLS, err
		}
	}
	if s.user == "" {
		return "", nil
	}
	offered, mechanisms := c.client.Extension("AUTH")
	if !offered {
		return stepLogin, errNoLogin
	}
	var auth smtp.Auth
	if c.mechanism, auth = s.auth(strings.Fields(strings.ToUpper(mechanisms))); auth == nil {
		return stepLogin, errNoMechanism
	}
	return stepLogin, c.client.Auth(auth)
}

// mostReceived bounds what a server may send by a connection, handshakes included:
// before TLS, the server can be anyone, and replies have no bound of their own.
const mostReceived = 1 << 20

// errTalksTooMuch is the error of a server that sends more than mostReceived.
var errTalksTooMuch = errors.New("the server sends more than a mail server has to say")

// boundedConn is a connection from which a bounded number of bytes is read.
type boundedConn struct {
	net.Conn
	left int
}

// Read implements net.Conn. It isn't called by two goroutines at once.
func (c *boundedConn) Read(p []byte) (n int, err error) {
	if c.left == 0 {
		return 0, errTalksTooMuch
	}
	n, err = c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (s *settings) tls() *tls.Config {
	config := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	if s.authorities != "" {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(s.authorities))
	}
	return config
}

// auth returns how to log in to a server that offers some mechanisms, or nil.
// The first ones are those that all servers support. The connection is encrypted
// or doesn't leave this machine: see settings.checkPlaintext.
func (s *settings) auth(offered []string) (mechanism string, auth smtp.Auth) {
	for _, known := range []struct {
		mechanism string
		auth      smtp.Auth
	}{
		{"PLAIN", smtp.PlainAuth("", s.user, s.password, s.host, s.plaintext)},
		{"LOGIN", smtp.LoginAuth(s.user, s.password, s.host, s.plaintext)},
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(s.user, s.password)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(s.user, s.password)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(s.user, s.password)},
	} {
		if slices.Contains(offered, known.mechanism) {
			return known.mechanism, known.auth
		}
	}
	return "", nil
}

// transmit sends a mail. It ends with the context.
func (c *connection) transmit(ctx context.Context, l *letter) *Failure {
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	defer stop()
	c.mails++
	if at, err := c.transact(l); err != nil {
		return c.settings.failed(ctx, at, err)
	}
	return nil
}

// tryFrom asks the server whether it accepts mails of the sender, and sends none.
func (c *connection) tryFrom(ctx context.Context) *Failure {
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	defer stop()
	err := c.client.Mail("<" + c.settings.fromAddress + ">")
	if err == nil {
		err = c.client.Reset()
	}
	if err != nil {
		return c.settings.failed(ctx, stepMail, err)
	}
	return nil
}

// transact is one mail transaction (RFC 5321, 3.3). The error is that of a step.
func (c *connection) transact(l *letter) (step, error) {
	needsUTF8 := !isASCII(l.recipient) || !isASCII(c.settings.fromAddress)
	if supported, _ := c.client.Extension("SMTPUTF8"); needsUTF8 && !supported {
		return stepRcpt, errNoUTF8
	}
	c.client.SkipSMTPUTF8(!needsUTF8)
	if err := c.client.Mail("<" + c.settings.fromAddress + ">"); err != nil {
		return stepMail, err
	}
	if err := c.client.Rcpt("<" + l.recipient + ">"); err != nil {
		return stepRcpt, err
	}
	content, err := c.client.Data()
	if err != nil {
		return stepData, err
	}
	if _, err := content.Write(l.content); err != nil {
		return stepContent, err
	}
	return stepContent, content.Close()
}

// The limits of a connection that is used for several mails.
const (
	mailsPerConnection = 50
	// quitLimit is how long a server may take to say goodbye.
	quitLimit = 2 * time.Second
)

// canStay reports whether a connection can be used for another mail after one
// that ended with a failure, or with nil.
func (c *connection) canStay(after *Failure) bool {
	if after == nil {
		return c.mails < mailsPerConnection
	}
	if after.code == 0 || after.code == replyClosing {
		return false
	}
	return c.raw.SetDeadline(time.Now().Add(quitLimit)) == nil && c.client.Reset() == nil &&
		c.raw.SetDeadline(time.Time{}) == nil
}

// wasGone reports whether a mail failed because the server had closed the
// connection since the mail before. Then nothing of this one was sent.
func (c *connection) wasGone(f *Failure) bool {
	if c.mails == 1 || f.step != stepMail || errors.Is(f.cause, errTimeout) {
		return false
	}
	_, isReply := errors.AsType[*textproto.Error](f.cause)
	return !isReply || f.code == replyClosing
}

// kept returns the connection if it can be used for another mail, and else
// closes it and returns nil.
func (c *connection) kept(after *Failure) *connection {
	switch {
	case c.canStay(after):
		return c
	case after == nil:
		c.quit()
	default:
		c.raw.Close()
	}
	return nil
}

// quit closes the connection.
func (c *connection) quit() {
	if c.raw.SetDeadline(time.Now().Add(quitLimit)) == nil {
		_ = c.client.Quit() // the server may be gone
	}
	c.raw.Close()
}
