package follow_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// floodOn passes connections on to a server, and answers a statement that contains a text
// with a packet that doesn't end before 256 MiB.
func floodOn(t *testing.T, server, text string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go floodOnce(client, server, []byte(text))
			}
		}
	}()
	return listener.Addr().String()
}

func floodOnce(client net.Conn, address string, text []byte) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		_, _ = io.Copy(client, server) // until either side ends
	}()
	defer server.Close()
	statement := make([]byte, 64<<10) // which comes at once
	for {
		n, err := client.Read(statement)
		if err != nil {
			return
		}
		if bytes.Contains(statement[:n], text) {
			break
		}
		if _, err := server.Write(statement[:n]); err != nil {
			return
		}
	}
	server.Close()
	<-answers
	const part, parts = 1<<24 - 1, 16
	for i := range byte(parts) {
		if _, err := client.Write(append([]byte{0xff, 0xff, 0xff, i + 1}, make([]byte, part)...)); err != nil {
			return
		}
	}
	_, _ = client.Read(statement) // until the client ends
}

// TestServerThatAnswersWithoutEnd has a server answer a question of the stream's connection
// with more than fits into memory.
func TestServerThatAnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	server := needsServer(t)
	source := sourceOf(t, server, database(t, server, "flood", usersTable), "users id")
	source.Server.Addr = floodOn(t, server.Addr(), "@master_heartbeat_period")
	if err := launch(t, source).end(t); err == nil || !strings.Contains(err.Error(), "more than any question takes") {
		t.Errorf("following ends with %v", err)
	}
}
