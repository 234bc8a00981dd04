package follow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/follow"
	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// dialed counts connections that aren't closed.
type dialed struct{ open atomic.Int64 }

// countedConn is one of them.
type countedConn struct {
	net.Conn
	close func()
}

// Close implements net.Conn.
func (c countedConn) Close() error {
	c.close()
	return c.Conn.Close()
}

func (d *dialed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.open.Add(1)
	return countedConn{conn, sync.OnceFunc(func() { d.open.Add(-1) })}, nil
}

// goroutinesWith counts the goroutines with a label.
func goroutinesWith(t *testing.T, label string) (n int) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(profile.String(), "\n\n") {
		var here int
		if _, err := fmt.Sscanf(part, "%d @", &here); err == nil && strings.Contains(part, `"`+label+`"`) {
			n += here
		}
	}
	return n
}

// TestStreamsLeaveNothingBehind has streams end in many ways, each some times: neither a
// goroutine nor a connection may be left.
func TestStreamsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	name := database(t, server, "leaves", usersTable,
		"CREATE USER follower IDENTIFIED BY 's3cret'", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO follower", "GRANT REFERENCES ON `leaves`.* TO follower",
		"CREATE USER powerless IDENTIFIED BY 's3cret'", "GRANT REFERENCES ON `leaves`.* TO powerless",
		"CREATE USER blind IDENTIFIED BY 's3cret'", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO blind")
	proxy, err := faultproxy.Start(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	for _, test := range []struct {
		how, user, password string
		begin               func()                        // before it connects
		goes                func(stop context.CancelFunc) // once it goes on
		identify            func(userstore.ServerIdentity) error
	}{
		{how: "it is stopped", goes: func(stop context.CancelFunc) { stop() }},
		{how: "the connection is reset", goes: func(context.CancelFunc) { proxy.ResetOnce() }},
		{how: "the password is wrong", password: "wrong"},
		{how: "the account lacks a privilege", user: "powerless"},
		{how: "the account sees no table", user: "blind"},
		{how: "the server is another one", identify: func(userstore.ServerIdentity) error { return errors.New("it is another one") }},
		{how: "connections are refused", begin: proxy.Reset},
		{how: "the connection ends in the greeting", begin: func() { proxy.ResetAfter(20) }},
		{how: "the connection ends after the login", begin: func() { proxy.ResetAfter(130) }},
		{how: "the connection ends before the stream", begin: func() { proxy.ResetAfter(1000) }},
	} {
		for range 3 {
			var open dialed
			source := sourceOf(t, server, name, "users id")
			source.Logger = zap.NewNop()
			source.Server = account(t, server, orElse(test.user, "follower"), orElse(test.password, "s3cret"))
			source.Server.Addr, source.Server.DialFunc = proxy.Addr(), open.dial
			if test.identify != nil {
				source.Identify = test.identify
			}
			if test.begin != nil {
				test.begin()
			}
			ctx, stop := context.WithCancel(t.Context())
			feed := &followed{source: source}
			feed.changed = sync.NewCond(&feed.mu)
			feed.onReached = sync.OnceFunc(func() {
				if test.goes != nil {
					test.goes(stop)
				}
			})
			source.Server.Logger = new(mysql.NopLogger)
			pprof.Do(ctx, pprof.Labels("test", t.Name()), func(ctx context.Context) {
				if err := (follow.Follower{}).Follow(ctx, source, feed); err == nil || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%s: the stream ends with %v", test.how, err)
				}
			})
			stop()
			proxy.Pass()
			awaitSuccess(t, func() error {
				if n, of := open.open.Load(), goroutinesWith(t, t.Name()); n > 0 || of > 0 {
					return fmt.Errorf("%s: %d connections and %d goroutines are left", test.how, n, of)
				}
				return nil
			})
		}
	}
	// A server notices that the client of a stream is gone when it sends something.
	awaitSuccess(t, func() error {
		exec(t, server, name, "INSERT INTO users (name) VALUES (UUID())")
		var left int
		if err := openDSN(t, server.DSN("")).QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER IN ('follower', 'powerless', 'blind')").Scan(&left); err != nil || left > 0 {
			return fmt.Errorf("the server has %d connections, %v", left, err)
		}
		return nil
	})
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
