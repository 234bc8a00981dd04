package peer

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// guessers is how many clients send wrong passwords.
const guessers = 64

// startGuessed has every user go on with a token, while clients send wrong
// passwords to the same gateway.
func startGuessed(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	g, err := s.startSesame(ctx, p.Name, Table, "password {\n\t\t\tbasic\n\t\t}", s.Users)
	if err != nil {
		return nil, err
	}
	g.Beside = func(ctx context.Context) (stop func()) {
		ctx, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		for i := range guessers {
			all.Go(func() { guess(ctx, g.URL, i, s.Users[i%len(s.Users)].Name) })
		}
		return func() {
			cancel()
			all.Wait()
		}
	}
	return g, nil
}

// guess has one client send a wrong password after the other, each when the one
// before is answered. The client has an address of its own: Linux has all of
// 127.0.0.0/8.
func guess(ctx context.Context, url string, client int, user string) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(client/250), byte(client%250+1))}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		request.SetBasicAuth(user, fmt.Sprint("wrong", n))
		answer, err := transport.RoundTrip(request)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}
