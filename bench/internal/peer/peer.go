// Package peer runs the gateways that are compared: Caddy with and without
// authentication of several kinds, and nginx. Each is a process of its own in
// front of the same application.
package peer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/wrk"
	"github.com/caddy-sesame/caddy-sesame/internal/child"
)

// Peer is a way to guard an application.
type Peer struct {
	// Name is what the peer is called on the command line, and Title what it
	// is called in tables.
	Name, Title string
	// What says in a sentence what is measured.
	What string
	// Slow peers are an order of magnitude slower than the others, and are
	// measured for half the time.
	Slow bool
	// Variant is another way to use a peer. It is measured with one number of
	// connections, and its latency isn't.
	Variant bool
	// Uniform peers get requests of all users in turn. To the others, some users make
	// far more requests than others.
	Uniform bool
	// Warm peers are under load for a while before each measurement: what they
	// remember is gone since the last.
	Warm bool

	start   func(context.Context, *Site, Peer) (*Gateway, error)
	store   string // more options of userstore
	follows bool   // whether it keeps rows until the binlog reports a change
}

// The names of the peers that others are compared with.
const (
	Bare      = "bare"
	BareAgain = "bare_again"
	Sesame    = "sesame"
	Cache     = "cache"
	Follow    = "follow"
	Session   = "session"
	Query     = "query"
	Groups    = "groups"
	Assertion = "assertion"
	Socket    = "socket"

	SesameUniform = "sesame_uniform"
	CacheUniform  = "cache_uniform"
	FollowUniform = "follow_uniform"
	FollowStrict  = "follow_strict"

	FollowSession   = "follow_session"
	FollowGroups    = "follow_groups"
	FollowAssertion = "follow_assertion"

	DjangoSession = "django_session"
	Password      = "password"
	Guessed       = "guessed"

	BasicAuth   = "basic_auth"
	ForwardAuth = "forward_auth"
	Nginx       = "nginx"
)

// The peers that there are with rows that are kept until the database changes them, too.
var (
	bySesame = Peer{
		Name: Sesame, Title: "sesame",
		What:  "Every request has a token, and is checked against the user's row as it is now.",
		start: startSesame,
	}
	inTurn = Peer{
		Name: SesameUniform, Title: "sesame, users in turn",
		What:    "As sesame, with a request of each user in turn.",
		Variant: true, Uniform: true,
		start: startSesame,
	}
	bySession = Peer{
		Name: Session, Title: "sesame, session cookie",
		What:  "Every request has the cookie of a session, which a token has begun; the user's row is still read afresh.",
		start: startSession,
	}
	withGroups = Peer{
		Name: Groups, Title: "sesame, groups",
		What:    "Every user is in three groups, which are read with the row and told to the application.",
		Variant: true,
		start:   startGroups,
	}
	withAssertion = Peer{
		Name: Assertion, Title: "sesame, signed identity",
		What:    "The application gets an assertion with each request, which is signed once for a user and half a minute.",
		Variant: true,
		start:   startAssertion,
	}
)

// All are the peers in the order of tables.
var All = []Peer{
	{
		Name: Bare, Title: "bare reverse_proxy",
		What:  "Caddy without authentication.",
		start: startBare,
	},
	{
		Name: BareAgain, Title: "bare, again",
		What:    "A second Caddy without authentication: by how much equal gateways differ on this machine.",
		Variant: true,
		start:   startBare,
	},
	bySesame,
	{
		Name: Cache, Title: "sesame, cache 5s",
		What:  "As before, but a row that was read may serve for five seconds.",
		Warm:  true,
		start: startCache,
	},
	followed(bySesame, Follow),
	strict(bySesame, FollowStrict),
	inTurn,
	{
		Name: CacheUniform, Title: "sesame, cache 5s, users in turn",
		What:    "As with the cache before, with a request of each user in turn.",
		Variant: true, Uniform: true, Warm: true,
		start: startCache,
	},
	followed(inTurn, FollowUniform),
	{
		Name: Socket, Title: "sesame, Unix socket",
		What:    "As sesame, with the database asked by a Unix socket and not by TCP.",
		Variant: true,
		start:   startSocket,
	},
	bySession,
	{
		Name: Query, Title: "sesame, token in the URL",
		What:    "The token comes in the query, and the application gets the URL without it.",
		Variant: true,
		start:   startQuery,
	},
	withGroups,
	withAssertion,
	followed(bySession, FollowSession),
	followed(withGroups, FollowGroups),
	followed(withAssertion, FollowAssertion),
	{
		Name: DjangoSession, Title: "sesame, Django's session",
		What:    "Every request has the cookie of a session that Django has stored; the session and the user's row are read afresh.",
		Variant: true,
		start:   startDjangoSession,
	},
	{
		Name: Password, Title: "sesame, Basic",
		What: "Every request has a user name and password, which were hashed and compared once; the user's row is still read afresh. " +
			"The first requests of all users, which hash, are made before the measurement.",
		Variant: true,
		start:   startPassword,
	},
	{
		Name: Guessed, Title: "sesame, guessed at",
		What: fmt.Sprintf("As sesame, with option password, while %d clients with addresses of their own send wrong passwords, each when the one before is answered. "+
			"They begin some seconds before the measurement.", guessers),
		Variant: true,
		start:   startGuessed,
	},
	{
		Name: BasicAuth, Title: "basic_auth",
		What: fmt.Sprintf("Caddy's own: %d accounts in the Caddyfile, bcrypt at its lowest cost, "+
			"and all results in Caddy's cache of them when the measurement begins.", accounts),
		start: startBasicAuth,
	},
	{
		Name: ForwardAuth, Title: "forward_auth to Django",
		What: fmt.Sprintf("Caddy asks a Django with django-sesame for each request: gunicorn with %d sync workers, "+
			"the same tokens, the same table, connections to the database that stay open.", workers),
		Slow:  true,
		start: startForwardAuth,
	},
	{
		Name: Nginx, Title: "nginx auth_request to Django",
		What:  "nginx asks the same Django.",
		Slow:  true,
		start: startNginx,
	},
}

// ByNames returns the peers with the names, in the order of All. Bare is always
// among them, since all others are compared with it.
func ByNames(names []string) ([]Peer, error) {
	for _, name := range names {
		if !slices.ContainsFunc(All, func(p Peer) bool { return p.Name == name }) {
			return nil, fmt.Errorf("there is no peer %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	var chosen []Peer
	for _, p := range All {
		if p.Name == Bare || slices.Contains(names, p.Name) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// Names are those of all peers.
func Names() []string {
	names := make([]string, len(All))
	for i, p := range All {
		names[i] = p.Name
	}
	return names
}

// Follows reports whether a peer follows the database's binlog.
func (p Peer) Follows() bool { return p.follows }

// Gateway is a running peer.
type Gateway struct {
	Peer
	URL      string
	Requests []wrk.Request // of each user
	// Order says which of the requests are sent, and in which order.
	Order []int
	// RequestsFile has them for wrk.
	RequestsFile string
	// Beside begins other load on the gateway, which stop ends; nil for none.
	Beside func(ctx context.Context) (stop func())

	users   []string // whom the application sees with each request, or nil
	asserts bool     // whether it sees an assertion
	metrics string   // the URL of Caddy's metrics, or empty
	isKept  bool     // whether it is sesame, which may keep rows
	process *child.Process
	backend *child.Process // what the gateway asks, or nil
}

// Raw are the gateway's host and port, and its requests as they are sent.
func (g *Gateway) Raw() (address string, requests [][]byte) {
	address = strings.TrimPrefix(g.URL, "http://")
	all := make([][]byte, len(g.Requests))
	for i, r := range g.Requests {
		text := "GET " + r.Path + " HTTP/1.1\r\nHost: " + address + "\r\n"
		if r.Header != "" {
			text += r.Header + "\r\n"
		}
		all[i] = []byte(text + "\r\n")
	}
	for _, i := range g.Order {
		requests = append(requests, all[i])
	}
	return address, requests
}

// PIDs are the gateway's processes.
func (g *Gateway) PIDs() ([]int, error) { return withChildren(g.process.PID()) }

// BackendPIDs are those of what the gateway asks, besides the database.
func (g *Gateway) BackendPIDs() ([]int, error) {
	if g.backend == nil {
		return nil, nil
	}
	return withChildren(g.backend.PID())
}

// Unavailable is why a peer can't be measured here, which is no failure.
type Unavailable struct{ Reason string }

func (u Unavailable) Error() string { return u.Reason }
