package gateway

import (
	"net"
	"testing"

	"github.com/prometheus/procfs"
)

func TestConnectionsToCountsThisProcessesOwn(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	self, err := procfs.Self()
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	for want := range 3 {
		if n, err := connectionsTo(self, port); err != nil || n != want {
			t.Errorf("%d connections, %v; want %d", n, err, want)
		}
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
}
