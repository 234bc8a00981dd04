package child

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
)

// Ports of servers are below those that the system gives to connections, so that no
// connection takes one before a server listens there, or while a server restarts.
const (
	lowestPort  = 20_000
	highestPort = 32_000
)

// reserved holds the sockets that reserve ports, until the program ends.
var reserved struct {
	mu      sync.Mutex
	sockets []net.Listener
}

// FreePort returns a port of the loopback interface that no program listens on, and
// that no other call returns, here or in another program, while this one runs.
func FreePort() (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort) //nolint:gosec // no secret
		if !reserve(port) {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue // a program listens there
		}
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("looking for a free port: %w", err)
		}
		return port, nil
	}
	return 0, errors.New("looking for a free port: none of 1000 is free")
}

// FreeAddress is FreePort with the address of the loopback interface.
func FreeAddress() (string, error) {
	port, err := FreePort()
	return "127.0.0.1:" + strconv.Itoa(port), err
}

// reserve reports whether no program had reserved a port, and reserves it. The name of
// an abstract socket is no file, and free again when the program ends, however it does.
func reserve(port int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	socket, err := net.Listen("unix", "@caddy-sesame/port/"+strconv.Itoa(os.Getuid())+"/"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	reserved.mu.Lock()
	defer reserved.mu.Unlock()
	reserved.sockets = append(reserved.sockets, socket)
	return true
}
