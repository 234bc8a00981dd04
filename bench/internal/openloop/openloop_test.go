package openloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loadFor sends the two requests in turn to a server.
func loadFor(server *httptest.Server) Load {
	address := strings.TrimPrefix(server.URL, "http://")
	var requests [][]byte
	for _, path := range []string{"/a", "/b"} {
		requests = append(requests, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, address))
	}
	return Load{Address: address, Requests: requests, Rate: 200, Duration: time.Second, Settling: 500 * time.Millisecond}
}

func TestRunSendsAll(t *testing.T) {
	t.Parallel()
	var a, b atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a":
			a.Add(1)
		case "/b":
			b.Add(1)
		}
		_, _ = w.Write(make([]byte, 1000))
	}))
	defer server.Close()
	result, err := Run(t.Context(), loadFor(server))
	if err != nil {
		t.Fatal(err)
	}
	if a.Load() != 100 || b.Load() != 100 {
		t.Errorf("%d and %d requests came, not 100 each", a.Load(), b.Load())
	}
	if len(result.Latencies) != 100 || len(result.Behind) != 100 {
		t.Errorf("%d latencies and %d delays were measured after settling, not 100", len(result.Latencies), len(result.Behind))
	}
}

// TestStallsShow has a server stop for a while. A client that waits for answers
// would send one slow request; here all have waited that came meanwhile.
func TestStallsShow(t *testing.T) {
	t.Parallel()
	const stall = 400 * time.Millisecond
	var count atomic.Int64
	begun := make(chan struct{})
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if count.Add(1) == 101 {
			close(begun)
			time.AfterFunc(stall, func() { close(over) })
		}
		select {
		case <-begun:
			<-over
		default:
		}
		_, _ = w.Write([]byte("done"))
	}))
	defer server.Close()
	result, err := Run(t.Context(), loadFor(server))
	if err != nil {
		t.Fatal(err)
	}
	slow := 0
	for _, latency := range result.Latencies {
		if latency > stall/2 {
			slow++
		}
	}
	// In half of the stall, 40 are due.
	if slow < 30 {
		t.Errorf("%d of %d requests had to wait for half of the stall", slow, len(result.Latencies))
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	tests := map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"no length": func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("chunked"))
		},
		"cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(handler)
			defer server.Close()
			if _, err := Run(t.Context(), loadFor(server)); !errors.Is(err, ErrUnanswered) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		load := Load{Address: listener.Addr().String(), Requests: [][]byte{{}}, Rate: 100, Duration: time.Second}
		if _, err := Run(t.Context(), load); !errors.Is(err, ErrUnanswered) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { cancel() }))
		defer server.Close()
		if _, err := Run(ctx, loadFor(server)); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestAnswerSize(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nServer: Caddy\r\nContent-Length: 5\r\n\r\n"
	tests := []struct {
		beginning string
		want      int
		fails     bool
	}{
		{"", -1, false},
		{"HTTP/1.1 200 OK\r\nServer: Caddy\r\n", -1, false},
		{head, len(head) + 5, false},
		{head + "12", len(head) + 5, false},
		{strings.Replace(head, "Content-Length", "content-length", 1), len(head) + 5, false},
		{strings.Replace(head, "200 OK", "303 See Other", 1), 0, true},
		{strings.Replace(head, "200 OK", "2000", 1), 0, true},
		{strings.Replace(head, ": 5", ": -5", 1), 0, true},
		{strings.Replace(head, ": 5", ": five", 1), 0, true},
		{"HTTP/1.1 200 OK\r\nX-Content-Length: 5\r\n\r\n", 0, true},
		{"HTTP/1.1 200 OK\r\n\r\n", 0, true},
	}
	for _, test := range tests {
		got, err := answerSize([]byte(test.beginning))
		if got != test.want || (err != nil) != test.fails {
			t.Errorf("%q: got %d, %v", test.beginning, got, err)
		}
	}
}
