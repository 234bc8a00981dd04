package peer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

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
	if refused, ok := errors.AsType[notAdapted](err); ok && (table != Table || options != "") {
		return nil, Unavailable{"this caddy lacks an option of it (" + refused.short() + ")"}
	}
	if err != nil {
		return nil, err
	}
	g.isKept = true
	g.Requests = bearerRequests(all)
	g.users = names(all)
	return g, nil
}

func startSesame(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	return s.startSesame(ctx, p.Name, Table+p.store, "", s.Users)
}

// StartTable runs a gateway of a kind, Sesame or Follow, for another table, with the
// given users.
func (s *Site) StartTable(ctx context.Context, kind, table string, all []users.User) (*Gateway, error) {
	p := bySesame
	if kind == Follow {
		p = followed(p, Follow)
	}
	p.Name = kind + "_" + table
	p.Title = p.Name
	p.start = func(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
		return s.startSesame(ctx, p.Name, table+p.store, "", all)
	}
	return s.Start(ctx, p)
}

// startSocket has the gateway ask the database by a Unix socket.
func startSocket(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	return s.startSesameBy(ctx, "SESAME_SOCKET_DSN", p.Name, Table, "", s.Users)
}

// StartNumbered runs one of several gateways of a kind: Sesame, Cache or Follow.
func (s *Site) StartNumbered(ctx context.Context, kind string, number int) (*Gateway, error) {
	p := All[slices.IndexFunc(All, func(p Peer) bool { return p.Name == kind })]
	p.Name = fmt.Sprintf("%s_%d", kind, number)
	p.Title = p.Name
	return s.Start(ctx, p)
}

func startCache(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	return s.startSesame(ctx, p.Name, Table+p.store, "cache 5s", s.Users)
}

// followed is a peer with rows that are kept until the database changes them.
func followed(p Peer, name string) Peer {
	what := `As "` + p.Title + `", with rows that serve until the database's binlog reports a change of them.`
	p.Name, p.Title, p.What = name, "sesame, follow"+strings.TrimPrefix(p.Title, "sesame"), what
	p.Variant = name != Follow // which is measured in full
	p.store, p.follows = "\n\t\t\tfollow", true
	return p
}

// strict is a followed peer whose rows serve only once the database has been asked,
// after the request arrived, how far its binlog is.
func strict(p Peer, name string) Peer {
	p = followed(p, name)
	p.Title += " strict"
	p.What = "As \"sesame\", with follow strict: requests share a query for the end of the binlog, and a row that no change is known of until there serves."
	p.store = "\n\t\t\tfollow {\n\t\t\t\tstrict on\n\t\t\t}"
	return p
}

func startQuery(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	g, err := startSesame(ctx, s, p)
	if err != nil {
		return nil, err
	}
	for i, u := range s.Users {
		g.Requests[i] = wrk.Request{Path: "/?sesame=" + url.QueryEscape(u.Token)}
	}
	return g, nil
}

func startGroups(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	if err := s.Database.CreateGroups(ctx, s.Users); err != nil {
		return nil, err
	}
	return s.startSesame(ctx, p.Name, Table+"\n\t\t\tgroups"+p.store, "", s.Users)
}

func startAssertion(ctx context.Context, s *Site, p Peer) (*Gateway, error) {
	g, err := s.startSesame(ctx, p.Name, Table+p.store, "assertion {\n\t\t\taudience app\n\t\t}", s.Users)
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
