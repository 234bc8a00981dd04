package sesame_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/net/dns/dnsmessage"
)

// nameServer knows one name, or doesn't.
type nameServer struct {
	conn  net.PacketConn
	knows atomic.Bool
	asked atomic.Int64 // while it didn't know
}

// nameOfMySQL is what the server is called there. The dot keeps resolvers from
// looking for it elsewhere.
const nameOfMySQL = "mysql.sesame.test."

// startNameServer has this process ask a name server of its own, until the test
// ends.
func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn}
	s.knows.Store(true)
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(t)
	}()
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		<-done
	})
	return s
}

// serve answers questions until the socket is closed.
func (s *nameServer) serve(t *testing.T) {
	question := make([]byte, 1500)
	for {
		n, client, err := s.conn.ReadFrom(question)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(question[:n]); err != nil || len(m.Questions) != 1 {
			t.Errorf("the name server got what is no question: %v", err)
			continue
		}
		m.Response, m.Additionals = true, nil
		asked := m.Questions[0]
		switch {
		case !s.knows.Load():
			s.asked.Add(1)
			m.RCode = dnsmessage.RCodeNameError
		case asked.Type == dnsmessage.TypeA && asked.Name.String() == nameOfMySQL:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		answer, err := m.Pack()
		if err != nil {
			t.Error(err)
			continue
		}
		_, _ = s.conn.WriteTo(answer, client) // it asks again
	}
}

// TestNameStopsResolving takes the name of the MySQL server away. Connections
// that there are go on, and only what needs new ones gets 503; without any, all
// do, until the name is back.
func TestNameStopsResolving(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		names := startNameServer(t)
		behind, proxy := behindProxy(t, db)
		cfg, err := mysql.ParseDSN(behind.dsn)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Addr = net.JoinHostPort(nameOfMySQL, portOf(proxy.Addr()))
		behind.dsn = cfg.FormatDSN()
		g := startGateway(t, behind, nil, site{
			store: "query_timeout 5s", options: "session", logLevel: "INFO", after: `respond "user={http.auth.user.id}"`,
		})
		l := startLoad(t, g)

		names.knows.Store(false)
		l.await(t, "answers by connections that there are", &l.ok, 10*loadClients)
		if strings.Contains(string(g.log(t)), "MySQL doesn't answer") {
			t.Error("the server is given up while its connections answer")
		}
		proxy.Reset()
		l.await(t, "503 without connections", &l.unavailable, loadClients)
		proxy.Pass()
		poll(t, "questions for the name", func() bool { return names.asked.Load() > 0 })
		l.await(t, "503 without the name", &l.unavailable, 5*loadClients)

		names.knows.Store(true)
		l.await(t, "answers when the name is back", &l.ok, 10*loadClients)
		g.wantNoPassword(t)
	})
}
