package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/upstream"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// slowSample is how many requests of a slow peer are verified.
const slowSample = 100

// verify makes each request once. It must reach the application, which must
// see the right user; and a request without credentials must not reach it.
// That also warms the gateway up: connections, caches, results of hashing.
func (g *Gateway) verify(ctx context.Context) error {
	client := newClient()
	defer client.CloseIdleConnections()
	n := len(g.Requests)
	if g.Slow {
		n = min(n, slowSample)
	}
	err := inParallel(ctx, n, func(ctx context.Context, i int) error {
		answer, err := g.send(ctx, client, g.Requests[i])
		if err != nil {
			return err
		}
		if answer.status != http.StatusOK || answer.size != upstream.Size {
			return fmt.Errorf("a good request was answered %d with %d bytes", answer.status, answer.size)
		}
		if g.users != nil && answer.user != g.users[i] {
			return fmt.Errorf("the application takes user %q for %q", g.users[i], answer.user)
		}
		if answer.asserted != g.asserts {
			return fmt.Errorf("that the application gets an assertion is %v, and should be %v", answer.asserted, g.asserts)
		}
		return nil
	})
	if err != nil || g.Name == Bare || g.Name == BareAgain {
		return err
	}
	answer, err := g.send(ctx, client, wrk.Request{Path: "/"})
	if err != nil {
		return err
	}
	if answer.status != http.StatusUnauthorized {
		return fmt.Errorf("a request without credentials was answered %d", answer.status)
	}
	return nil
}

// answer is what is of interest of one.
type answer struct {
	status int
	size   int64
	user   string

	asserted bool
}

func (g *Gateway) send(ctx context.Context, client *http.Client, r wrk.Request) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+r.Path, nil)
	if err != nil {
		return answer{}, err
	}
	if name, value, ok := strings.Cut(r.Header, ": "); ok {
		request.Header.Set(name, value)
	}
	got, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	size, err := io.Copy(io.Discard, got.Body)
	return answer{
		status: got.StatusCode, size: size, user: got.Header.Get(upstream.SeenUser),
		asserted: got.Header.Get(upstream.SeenAssertion) != "",
	}, err
}
