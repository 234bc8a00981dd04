package peer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

func startSession(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	g, err := s.startSesame(ctx, p.Name, Table+p.store, "session", s.Users)
	if err != nil {
		return nil, err
	}
	return g, s.logIn(ctx, g)
}

// logIn logs every user in, and has them go on with their cookies.
func (s *Site) logIn(ctx context.Context, g *Gateway) error {
	// The redirect to the URL without the token has the cookie.
	client := newClient()
	return inParallel(ctx, len(s.Users), func(ctx context.Context, i int) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/?sesame="+url.QueryEscape(s.Users[i].Token), nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("logging in: %w", err)
		}
		defer answer.Body.Close()
		cookies := answer.Cookies()
		if len(cookies) != 1 {
			return fmt.Errorf("logging in: the answer has status %d and %d cookies", answer.StatusCode, len(cookies))
		}
		g.Requests[i] = header("Cookie", cookies[0].Name+"="+cookies[0].Value)
		return nil
	})
}

// newClient keeps a connection for each of inParallel's goroutines.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: parallel},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
}
