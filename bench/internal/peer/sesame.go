package peer

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/users"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
)

// sesameDirective has room for the table and for further options.
const sesameDirective = `sesame {
		secret_key {env.DJANGO_SECRET_KEY}
		max_age %s
		%s
		userstore mysql {
			dsn {env.SESAME_DSN}
			table %s
		}
	}`

// Table is the table of users for all peers.
const Table = "auth_user"

func (s *Site) startSesame(ctx context.Context, name, table, options string, all []users.User) (*Gateway, error) {
	g, err := s.startCaddy(ctx, caddyConfig{name: name, guard: fmt.Sprintf(sesameDirective, users.MaxAge, options, table)})
	if err != nil {
		return nil, err
	}
	g.Requests = bearerRequests(all)
	g.users = names(all)
	return g, nil
}

func startSesame(ctx context.Context, s *Site) (*Gateway, error) {
	return s.startSesame(ctx, Sesame, Table, "", s.Users)
}

// StartTable runs a gateway for another table, with the given users.
func (s *Site) StartTable(ctx context.Context, title, table string, all []users.User) (*Gateway, error) {
	return s.Start(ctx, Peer{
		Name: table, Title: title,
		start: func(ctx context.Context, s *Site) (*Gateway, error) {
			return s.startSesame(ctx, table, table, "", all)
		},
	})
}

func startCache(ctx context.Context, s *Site) (*Gateway, error) {
	g, err := s.startSesame(ctx, Cache, Table, "cache 5s", s.Users)
	if refused, ok := errors.AsType[notAdapted](err); ok {
		return nil, Unavailable{"this caddy has no option cache (" + refused.short() + ")"}
	}
	return g, err
}

func startQuery(ctx context.Context, s *Site) (*Gateway, error) {
	g, err := s.startSesame(ctx, Query, Table, "", s.Users)
	if err != nil {
		return nil, err
	}
	for i, u := range s.Users {
		g.Requests[i] = wrk.Request{Path: "/?sesame=" + url.QueryEscape(u.Token)}
	}
	return g, nil
}

func startGroups(ctx context.Context, s *Site) (*Gateway, error) {
	if err := s.Database.CreateGroups(ctx, s.Users); err != nil {
		return nil, err
	}
	g, err := s.startSesame(ctx, Groups, Table+"\n\t\t\tgroups", "", s.Users)
	if refused, ok := errors.AsType[notAdapted](err); ok {
		return nil, Unavailable{"this caddy has no option groups (" + refused.short() + ")"}
	}
	return g, err
}

func startAssertion(ctx context.Context, s *Site) (*Gateway, error) {
	g, err := s.startSesame(ctx, Assertion, Table, "assertion {\n\t\t\taudience app\n\t\t}", s.Users)
	if refused, ok := errors.AsType[notAdapted](err); ok {
		return nil, Unavailable{"this caddy has no option assertion (" + refused.short() + ")"}
	}
	if err != nil {
		return nil, err
	}
	g.asserts = true
	return g, nil
}

func bearerRequests(all []users.User) []wrk.Request {
	requests := make([]wrk.Request, len(all))
	for i, u := range all {
		requests[i] = header("Authorization", "Bearer "+u.Token)
	}
	return requests
}
