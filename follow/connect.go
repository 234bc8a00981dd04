package follow

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// link is a connection for the stream. go-mysql opens it, since go-sql-driver can't
// send the command that asks for the binlog.
type link struct {
	*client.Conn
	wire    net.Conn // below TLS
	answers *bounded // what is read, in TLS or not
	timeout time.Duration
}

// bounded is a connection from which a limited number of bytes is read.
type bounded struct {
	net.Conn
	left atomic.Int64
}

// mostAnswered is more than a server sends before the stream, in bytes. The library reads
// whatever a server sends, however much that is.
const mostAnswered = 1 << 20

var errAnswersTooMuch = errors.New("the server has answered with more than any question takes: it isn't MySQL, or is out of order")

// Read implements net.Conn.
func (b *bounded) Read(into []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errAnswersTooMuch
	}
	n, err := b.Conn.Read(into[:min(int64(len(into)), left)])
	b.left.Add(-int64(n))
	return n, err
}

// unbound has the stream begin, which doesn't end.
func (b *bounded) unbound() { b.left.Store(math.MaxInt64) }

// connect opens a connection for the stream, as go-sql-driver would with the same
// configuration.
func connect(ctx context.Context, source userstore.FollowSource) (*link, error) {
	cfg := source.Server
	made, err := connectWith(ctx, source, serverTLS(cfg))
	if err != nil && cfg.AllowFallbackToPlaintext && strings.Contains(err.Error(), "does not support TLS") {
		return connectWith(ctx, source, nil)
	}
	return made, err
}

// serverTLS is the TLS configuration, with the name to check.
func serverTLS(cfg *mysql.Config) *tls.Config {
	if cfg.TLS == nil || cfg.TLS.ServerName != "" || cfg.TLS.InsecureSkipVerify {
		return cfg.TLS
	}
	named := cfg.TLS.Clone()
	if host, _, err := net.SplitHostPort(cfg.Addr); err == nil {
		named.ServerName = host
	}
	return named
}

func connectWith(ctx context.Context, source userstore.FollowSource, secure *tls.Config) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, source.Timeout)
	defer cancel()
	cfg, made := source.Server, &link{answers: new(bounded), timeout: source.Timeout}
	made.answers.left.Store(mostAnswered)
	login := new(guarded)
	var dialed atomic.Pointer[net.Conn]
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer(cfg)(ctx, network, address)
		if err != nil {
			return nil, err
		}
		made.wire, made.answers.Conn = conn, conn
		dialed.Store(&conn)
		if secure == nil && !cfg.AllowCleartextPasswords {
			login = &guarded{Conn: made.answers}
			return login, nil
		}
		return made.answers, nil
	}
	// The library's reads have no context.
	stop := context.AfterFunc(ctx, func() {
		if conn := dialed.Load(); conn != nil {
			(*conn).Close()
		}
	})
	defer stop()
	var err error
	made.Conn, err = client.ConnectWithDialer(ctx, cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, "", dial, func(c *client.Conn) error {
		c.SetTLSConfig(secure)
		c.ReadTimeout, c.WriteTimeout = source.Timeout, source.Timeout
		c.SetAttributes(map[string]string{"program_name": "caddy-sesame", "_client_name": "caddy-sesame follow"})
		return nil
	})
	if err != nil {
		return nil, refusal(fmt.Errorf("connecting to the server at %s: %w", cfg.Addr, plain(err)))
	}
	login.isLoggedIn = true
	return made, nil
}

// dialer is how the configuration has connections opened.
func dialer(cfg *mysql.Config) client.Dialer {
	if cfg.DialFunc != nil {
		return cfg.DialFunc
	}
	return (&net.Dialer{Timeout: cfg.Timeout}).DialContext
}

// guarded is a connection without TLS. It ends the login if the server asks for the
// password in clear text, which the library would send.
type guarded struct {
	net.Conn
	isLoggedIn bool
	said       []byte // the end of what the server has said
}

var errCleartext = errors.New("the server asks for the password in clear text, on a connection without TLS: write tls=true in the dsn")

// Read implements net.Conn.
func (g *guarded) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if g.isLoggedIn {
		return n, err
	}
	const plugin = "mysql_clear_password"
	g.said = append(g.said, b[:n]...)
	if bytes.Contains(g.said, []byte(plugin)) {
		return 0, errCleartext
	}
	g.said = g.said[max(0, len(g.said)-len(plugin)):]
	return n, err
}

// query runs a statement, and returns the rows as text. NULL is empty.
func (l *link) query(_ context.Context, statement string) ([]map[string]string, error) {
	// The library's limits are for each read, and the server may send byte by byte.
	limit := time.AfterFunc(l.timeout, func() { l.wire.Close() })
	defer limit.Stop()
	result, err := l.Execute(statement)
	if err != nil {
		return nil, plain(err)
	}
	defer result.Close()
	if result.Resultset == nil {
		return nil, nil
	}
	var rows []map[string]string
	for i := range result.Values {
		row := make(map[string]string, len(result.Fields))
		for j, field := range result.Fields {
			text, err := result.GetString(i, j)
			if err != nil {
				return nil, plain(err)
			}
			row[strings.ToLower(string(field.Name))] = strings.Clone(text) // it is in the result's memory
		}
		rows = append(rows, row)
	}
	return rows, nil
}

var errNoAnswer = errors.New("the server hasn't answered in time")

// plain removes from an error of the library where in its code it was made.
func plain(err error) error {
	var answer *gomysql.MyError
	if errors.As(err, &answer) {
		return &mysql.MySQLError{Number: answer.Code, Message: answer.Message}
	}
	switch {
	case errors.Is(err, errCleartext):
		return errCleartext
	case errors.Is(err, errAnswersTooMuch):
		return errAnswersTooMuch
	case errors.Is(err, net.ErrClosed):
		return errNoAnswer
	case errors.Is(err, io.EOF):
		return errors.New("the server has closed the connection")
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return errNoAnswer
	}
	return err
}

// The server's errors that need another configuration.
const (
	erAccessDenied        = 1045
	erDatabaseDenied      = 1044
	erPrivilegeMissing    = 1227
	erTableDenied         = 1142
	erColumnDenied        = 1143
	erNoBinlog            = 1381
	erFatalReading        = 1236
	erAccessDeniedNoLogin = 1698
)

// refusal makes an error an *userstore.Unfollowable if it remains until the account or
// the configuration changes.
func refusal(err error) error {
	var answer *mysql.MySQLError
	if errors.Is(err, errCleartext) {
		return &userstore.Unfollowable{Err: err}
	}
	if errors.As(err, &answer) {
		switch answer.Number {
		case erAccessDenied, erAccessDeniedNoLogin, erDatabaseDenied, erPrivilegeMissing, erTableDenied, erColumnDenied, erNoBinlog:
			return &userstore.Unfollowable{Err: err}
		}
	}
	return err
}
