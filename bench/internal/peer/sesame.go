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
			dsn {env.%s}
			table %s
		}
	}`

// Table is the table of users for all peers.
const Table = "auth_user"

func (s *Site) startSesame(ctx context.Context, name, table, options string, all []users.User) (*Gateway, error) {
	return s.startSesameBy(ctx, "SESAME_DSN", name, table, options, all)
}

// startSesameBy runs a gateway with the DSN in an environment variable.
func (s *Site) startSesameBy(ctx context.Context, dsn, name, table, options string, all []users.User) (*Gateway, error) {
	if s.Under != nil {
		table += "\n\t\t\tquery_timeout 60s" // all is slow there
	}
	g, err := s.startCaddy(ctx, caddyConfig{name: name, guard: fmt.Sprintf(sesameDirective, users.MaxAge, options, dsn, table)})
	if err != nil {
		return nil, err
	}
	g.isKept = true
	g.Requests = bearerRequests(all)
	g.users = names(all)
	return g, nil
}

func startSesame(ctx context.Context, s *Site, name string) (*Gateway, error) {
	return s.startSesame(ctx, name, Table, "", s.Users)
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

// startSocket has the gateway ask the database by a Unix socket.
func startSocket(ctx context.Context, s *Site) (*Gateway, error) {
	return s.startSesameBy(ctx, "SESAME_SOCKET_DSN", Socket, Table, "", s.Users)
}

// named starts a peer under another name.
func named(name string, start func(ctx context.Context, s *Site, name string) (*Gateway, error)) func(context.Context, *Site) (*Gateway, error) {
	return func(ctx context.Context, s *Site) (*Gateway, error) { return start(ctx, s, name) }
}

// StartNumbered runs one of several gateways of a kind: Sesame, Cache or Follow.
func (s *Site) StartNumbered(ctx context.Context, kind string, number int) (*Gateway, error) {
	start := map[string]func(ctx context.Context, s *Site, name string) (*Gateway, error){
		Sesame: startSesame, Cache: startCache, Follow: startFollow,
	}[kind]
	name := fmt.Sprintf("%s_%d", kind, number)
	return s.Start(ctx, Peer{Name: name, Title: name, start: named(name, start)})
}

func startCache(ctx context.Context, s *Site, name string) (*Gateway, error) {
	g, err := s.startSesame(ctx, name, Table, "cache 5s", s.Users)
	if refused, ok := errors.AsType[notAdapted](err); ok {
		return nil, Unavailable{"this caddy has no option cache (" + refused.short() + ")"}
	}
	return g, err
}

// follow is the option with which rows are kept until the database changes them.
const follow = "\n\t\t\tfollow"

func startFollow(ctx context.Context, s *Site, name string) (*Gateway, error) {
	return s.startFollower(ctx, name, follow, "")
}

// startFollower runs a gateway that follows, with options of the store and others.
func (s *Site) startFollower(ctx context.Context, name, store, options string) (*Gateway, error) {
	g, err := s.startSesame(ctx, name, Table+store, options, s.Users)
	if refused, ok := errors.AsType[notAdapted](err); ok {
		return nil, Unavailable{"this caddy has no option follow (" + refused.short() + ")"}
	}
	return g, err
}

func startFollowGroups(ctx context.Context, s *Site) (*Gateway, error) {
	if err := s.Database.CreateGroups(ctx, s.Users); err != nil {
		return nil, err
	}
	return s.startFollower(ctx, FollowGroups, "\n\t\t\tgroups"+follow, "")
}

func startFollowAssertion(ctx context.Context, s *Site) (*Gateway, error) {
	g, err := s.startFollower(ctx, FollowAssertion, follow, assertion)
	if err == nil {
		g.asserts = true
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

const assertion = "assertion {\n\t\t\taudience app\n\t\t}"

func startAssertion(ctx context.Context, s *Site) (*Gateway, error) {
	g, err := s.startSesame(ctx, Assertion, Table, assertion, s.Users)
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
