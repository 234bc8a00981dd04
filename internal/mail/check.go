package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"
)

// A Report is what Check has found out about a server.
type Report struct {
	Server    string    // host and port
	TLS       string    // the version, or "" without TLS
	Expires   time.Time // when the server's certificate does
	Mechanism string    // of the login, or "" without one
}

// Check connects to the server, logs in, and asks whether it accepts mails of the
// sender. It sends the message, unless that is nil. There is no queue, and no second
// try. An error has neither the password nor an address.
func (c *Config) Check(ctx context.Context, m *Message) (*Report, error) {
	s, err := c.provisioned()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, usualLimits.try, errTimeout)
	defer cancel()
	var l *letter
	if m != nil {
		if l, err = newLetter(*m, time.Now()); err != nil {
			return nil, fmt.Errorf("checking a mail server: %w", err)
		}
		if err := l.compose(s, time.Now()); err != nil {
			return nil, err
		}
	}
	conn, failure := s.connect(ctx)
	if failure != nil {
		return nil, failure
	}
	defer conn.quit()
	if failure := conn.tryFrom(ctx); failure != nil {
		return nil, failure
	}
	if l != nil {
		if failure := conn.transmit(ctx, l); failure != nil {
			return nil, failure
		}
	}
	return conn.report(), nil
}

func (c *connection) report() *Report {
	r := &Report{Server: c.settings.address(), Mechanism: c.mechanism}
	if state, err := c.client.GetTLSConnectionState(); err == nil {
		r.TLS = tls.VersionName(state.Version)
		if len(state.PeerCertificates) > 0 {
			r.Expires = state.PeerCertificates[0].NotAfter
		}
	}
	return r
}
