package sesame_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startServer runs a server with a handler of the test's own behind the
// gateway.
func startServer(t *testing.T, handler http.HandlerFunc) *upstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return &upstream{addr: listener.Addr().String()}
}

// startEcho runs an upstream that upgrades every request, and sends back what
// it gets then. The requests are sent to the channel.
func startEcho(t *testing.T) (*upstream, <-chan *recordedRequest) {
	t.Helper()
	requests := make(chan *recordedRequest, 10)
	up := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		requests <- &recordedRequest{method: r.Method, uri: r.RequestURI, header: r.Header.Clone()}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	})
	return up, requests
}

// dial opens a connection to the gateway that no test waits on for ever.
func (g *gateway) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestWebSocketPassesMessagesBothWays(t *testing.T) {
	up, requests := startEcho(t)
	g := startGateway(t, anyDatabase(t), up, site{options: "token_from query bearer header X-Token"})
	valid := tokenFor(t, alice)
	wrong := tokenFor(t, alice, withKey("x"))

	for i, test := range []struct {
		name   string
		uri    string
		header string
		logged string
	}{
		{"token in the query", "/ws?room=1&sesame=" + valid, "Connection: Upgrade\n", "/ws?room=1&sesame=REDACTED"},
		{"bearer", "/ws?room=1", "Connection: Upgrade\nAuthorization: Bearer " + valid + "\n", "/ws?room=1"},
		{"header", "/ws?room=1", "Connection: Upgrade\nX-Token: " + valid + "\n", "/ws?room=1"},
		{"our name in Connection", "/ws?room=1&sesame=" + valid, "Connection: Upgrade, Remote-User\n", "/ws?room=1&sesame=REDACTED"},
		{"our names around Upgrade", "/ws?room=1&sesame=" + valid, "Connection: Remote-User , keep-alive,upgrade,remote_email\n", "/ws?room=1&sesame=REDACTED"},
		{"Connection in two lines", "/ws?room=1&sesame=" + valid, "Connection: Remote-User\nConnection: Upgrade\n", "/ws?room=1&sesame=REDACTED"},
		{"spoofed", "/ws?room=1&sesame=" + valid, "Connection: Upgrade\nRemote-User: admin\nRemote_User: admin\nREMOTE-USER-ID: 0\n", "/ws?room=1&sesame=REDACTED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := g.dial(t)
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
				test.uri, g.addr, strings.ReplaceAll(test.header, "\n", "\r\n"))
			from := bufio.NewReader(conn)
			answer, err := http.ReadResponse(from, nil)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("status %d, want 101", answer.StatusCode)
			}
			wantHeader(t, answer.Header, "Upgrade", "websocket")

			got := <-requests
			if got.uri != "/ws?room=1" {
				t.Errorf("the upstream got %s", got.uri)
			}
			wantHeader(t, got.header, "Upgrade", "websocket")
			wantHeader(t, got.header, "Connection", "Upgrade")
			wantHeader(t, got.header, "Remote-User", "alice")
			wantHeader(t, got.header, "Remote-User-Id", "1")
			wantHeader(t, got.header, "Authorization", "")
			wantHeader(t, got.header, "X-Token", "")
			if strings.Contains(fmt.Sprint(got.header), "admin") {
				t.Errorf("the upstream got %v", got.header)
			}

			// Each message is answered before the next is sent.
			for _, message := range []string{"hello", strings.Repeat("x", 100_000), "\x00\xff", "bye"} {
				if _, err := io.WriteString(conn, message); err != nil {
					t.Fatal(err)
				}
				back := make([]byte, len(message))
				if _, err := io.ReadFull(from, back); err != nil {
					t.Fatal(err)
				}
				if string(back) != message {
					t.Fatalf("%.20q came back as %.20q", message, back)
				}
			}
			_ = conn.Close()

			line := g.awaitLines(t, "http.log.access", i+1)[i]
			if uri := line["request"].(map[string]any)["uri"]; uri != test.logged {
				t.Errorf("logged %v, want %s", uri, test.logged)
			}
			if line["status"] != float64(http.StatusSwitchingProtocols) || line["user_id"] != "1" {
				t.Errorf("logged %v", line)
			}
			if size := line["size"].(float64); size < 100_010 {
				t.Errorf("logged a size of %v", size)
			}
		})
	}
	for _, uri := range []string{"/ws", "/ws?sesame=" + wrong, "/ws?sesame="} {
		t.Run("refused "+strings.ReplaceAll(uri, wrong, "wrong"), func(t *testing.T) {
			status := g.raw(t, "GET "+uri+" HTTP/1.1\nHost: "+g.addr+"\nUpgrade: websocket\nConnection: Upgrade, close\nRemote-User: admin\n\n")
			if status != "HTTP/1.1 401 Unauthorized" {
				t.Errorf("%s, want 401", status)
			}
			if len(requests) > 0 {
				t.Errorf("the upstream got %v", <-requests)
			}
		})
	}
	g.awaitLines(t, "http.log.access", 10)
	g.wantNoToken(t, valid, wrong)
}

// TestUploadsReachTheUpstreamPieceByPiece sends a body that comes in pieces: the
// first must arrive before the second is sent.
func TestUploadsReachTheUpstreamPieceByPiece(t *testing.T) {
	arrived := make(chan int)
	up := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		first := make([]byte, 5)
		n, _ := io.ReadFull(r.Body, first)
		hash.Write(first)
		arrived <- n
		size, _ := io.Copy(hash, r.Body)
		fmt.Fprintf(w, "%d %x %s", size+int64(n), hash.Sum(nil), r.Header.Get("Remote-User"))
	})
	g := startGateway(t, anyDatabase(t), up, site{})
	valid := tokenFor(t, alice)

	const size = 20 << 20
	for _, test := range []struct {
		name  string
		known int64 // Content-Length
	}{
		{"of a known length", size},
		{"in chunks", -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			body, pipe := io.Pipe()
			request, err := http.NewRequest(http.MethodPost, "http://"+g.addr+"/upload?name=a.iso&sesame="+valid, body)
			if err != nil {
				t.Fatal(err)
			}
			request.ContentLength = test.known
			hash := sha256.New()
			sent := make(chan error, 1)
			go func() {
				to := io.MultiWriter(pipe, hash)
				_, err := io.WriteString(to, "first")
				<-arrived
				piece := make([]byte, 1<<16)
				for left := size - 5; err == nil && left > 0; {
					n := min(left, len(piece))
					piece[0]++
					_, err = to.Write(piece[:n])
					left -= n
				}
				_ = pipe.Close()
				sent <- err
			}()
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			got, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%d %x alice", size, hash.Sum(nil)); string(got) != want {
				t.Errorf("the upstream got %s, want %s", got, want)
			}
		})
	}
	for _, line := range g.awaitLines(t, "http.log.access", 2) {
		if line["bytes_read"] != float64(size) {
			t.Errorf("logged %v bytes, want %d", line["bytes_read"], size)
		}
	}
	g.wantNoToken(t, valid)
}

// TestStreamsReachTheClientPieceByPiece has an upstream that sends the next piece
// only when the client has got the one before.
func TestStreamsReachTheClientPieceByPiece(t *testing.T) {
	for _, test := range []struct {
		name        string
		contentType string
		after       string
		early       int // an informational response before, if any
	}{
		{"server-sent events", "text/event-stream", "", 0},
		{"chunks", "application/octet-stream", "flush_interval -1", 0},
		{"after early hints", "text/event-stream", "", http.StatusEarlyHints},
	} {
		t.Run(test.name, func(t *testing.T) {
			next := make(chan struct{})
			up := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				if test.early != 0 {
					w.Header().Set("Link", "</a.css>; rel=preload")
					w.WriteHeader(test.early)
				}
				w.Header().Set("Content-Type", test.contentType)
				w.Header().Set("Cache-Control", "public, max-age=60")
				w.Header().Set("Trailer", "X-Sum")
				w.WriteHeader(http.StatusOK)
				controller := http.NewResponseController(w)
				_ = controller.Flush()
				for i := range 5 {
					fmt.Fprintf(w, "data: %d %s\n\n", i, r.Header.Get("Remote-User"))
					_ = controller.Flush()
					<-next
				}
				w.Header().Set("X-Sum", "5")
			})
			g := startGateway(t, anyDatabase(t), up, site{after: fmt.Sprintf("reverse_proxy %s {\n%s\n}", up.addr, test.after)})
			valid := tokenFor(t, alice)
			conn := g.dial(t)
			fmt.Fprintf(conn, "GET /events?sesame=%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", valid, g.addr)
			from := bufio.NewReader(conn)
			answer, err := http.ReadResponse(from, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.early != 0 {
				if answer.StatusCode != test.early {
					t.Errorf("status %d, want %d first", answer.StatusCode, test.early)
				}
				if answer, err = http.ReadResponse(from, nil); err != nil {
					t.Fatal(err)
				}
			}
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("status %d", answer.StatusCode)
			}
			// The page behind a URL with a token isn't kept or linked.
			wantHeader(t, answer.Header, "Cache-Control", "no-store")
			wantHeader(t, answer.Header, "Referrer-Policy", "no-referrer")
			body := bufio.NewReader(answer.Body)
			for i := range 5 {
				line, err := body.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprintf("data: %d alice\n", i); line != want {
					t.Errorf("got %q, want %q", line, want)
				}
				if line, err := body.ReadString('\n'); err != nil || line != "\n" {
					t.Fatalf("%q, %v", line, err)
				}
				next <- struct{}{}
			}
			if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
				t.Errorf("%q, %v at the end", rest, err)
			}
			if sum := answer.Trailer.Get("X-Sum"); sum != "5" {
				t.Errorf("the trailer is %q", sum)
			}
			line := g.awaitLines(t, "http.log.access", 1)[0]
			if line["size"] != float64(75) || line["status"] != float64(http.StatusOK) {
				t.Errorf("logged %v", line)
			}
			g.wantNoToken(t, valid)
		})
	}
}

// TestClientSeesThatAnUpstreamEndsMidway has an upstream that ends in the middle of
// its answer: the client must see that, and the log a line.
func TestClientSeesThatAnUpstreamEndsMidway(t *testing.T) {
	up := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	g := startGateway(t, anyDatabase(t), up, site{})
	valid := tokenFor(t, alice)
	conn := g.dial(t)
	fmt.Fprintf(conn, "GET /a?sesame=%s HTTP/1.1\r\nHost: %s\r\n\r\n", valid, g.addr)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err == nil || string(body) != "part" {
		t.Errorf("read %q, %v, want an answer that is cut off", body, err)
	}
	line := g.awaitLines(t, "http.log.access", 1)[0]
	if line["status"] != float64(http.StatusOK) || line["size"] != float64(4) {
		t.Errorf("logged %v", line)
	}
	g.wantNoToken(t, valid)
}
