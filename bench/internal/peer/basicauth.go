package peer

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// accounts of basic_auth. Caddy remembers 1,000 results of hashing, so that
// these have all been hashed once when the measurement begins. With more
// accounts than that, or without the cache, what would be measured is bcrypt.
const accounts = 500

func startBasicAuth(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	all := s.Users[:min(accounts, len(s.Users))]
	var guard strings.Builder
	guard.WriteString("basic_auth {\n")
	requests := make([]wrk.Request, len(all))
	for i, u := range all {
		password := rand.Text()
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return nil, fmt.Errorf("hashing a password: %w", err)
		}
		fmt.Fprintf(&guard, "\t\t%s %s\n", u.Name, hash)
		requests[i] = header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Name+":"+password)))
	}
	guard.WriteString("\t}")
	// The other peers tell the application who the user is by themselves.
	g, err := s.startCaddy(ctx, caddyConfig{
		name: p.Name, guard: guard.String(), proxy: "header_up Remote-User {http.auth.user.id}",
	})
	if err != nil {
		return nil, err
	}
	g.Requests = requests
	g.users = names(all)
	return g, nil
}
