package child

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestFreePortIsReservedAndOfNoConnection(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("ports are reserved on Linux only")
	}
	said, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	ofConnections, err := strconv.Atoi(strings.Fields(string(said))[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if port >= ofConnections && ofConnections > highestPort {
			t.Errorf("the system may give port %d to a connection", port)
		}
		if reserve(port) { // an abstract socket has one name on the whole machine
			t.Errorf("port %d can be given to another program", port)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatalf("port %d isn't free: %v", port, err)
		}
		defer listener.Close()
	}
}

func TestAddressIsOfTheLoopbackInterface(t *testing.T) {
	t.Parallel()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		t.Errorf("the address is %s, %v", address, err)
	}
}
