package operator

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/mail"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// status is the state of a handler.
type status struct {
	Number  int           `json:"number"`
	Route   string        `json:"route,omitempty"`
	Hosts   []string      `json:"hosts,omitempty"`
	Store   storeStatus   `json:"store"`
	Servers []server      `json:"servers"`
	Pool    poolStatus    `json:"pool"`
	Lookups lookupsStatus `json:"lookups"`
	Cache   *cacheStatus  `json:"cache,omitempty"`
	Follow  *followStatus `json:"follow,omitempty"`
}

// storeStatus says whether MySQL answers.
type storeStatus struct {
	Healthy bool    `json:"healthy"`
	Seconds float64 `json:"seconds"` // that the answer took, or didn't come
	Error   string  `json:"error,omitempty"`
}

// server is a server of MySQL as requests have it.
type server struct {
	Role    string     `json:"role"`
	Address string     `json:"address"`
	Answers bool       `json:"answers"`         // else requests get no answer from it, at once
	Since   *time.Time `json:"since,omitempty"` // when the server stopped answering

	// Statements that it hadn't answered in time, and may still execute.
	Stalled int `json:"stalled,omitempty"`
}

// poolStatus is the state of the connections.
type poolStatus struct {
	Open        int     `json:"open"`
	InUse       int     `json:"in_use"`
	Idle        int     `json:"idle"`
	MaxOpen     int     `json:"max_open"`
	Waits       int64   `json:"waits"` // for a free connection
	WaitSeconds float64 `json:"wait_seconds"`
}

// lookupsStatus tells how many lookups shared queries.
type lookupsStatus struct {
	Users   uint64            `json:"users"`
	Queries map[string]uint64 `json:"queries"` // by the number of users that they read at most
}

// cacheStatus are the figures of a cache.
type cacheStatus struct {
	Users  int    `json:"users"`
	Absent int    `json:"absent"`
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	Denied uint64 `json:"denied"`
}

// followStatus says whether the server's binlog is followed.
type followStatus struct {
	State   string     `json:"state"`
	Since   *time.Time `json:"since,omitempty"` // of the state
	Server  string     `json:"server,omitempty"`
	Error   string     `json:"error,omitempty"` // why it isn't followed
	Current bool       `json:"current"`         // whether kept rows are used now

	Rows   int    `json:"rows"`
	Bytes  int64  `json:"bytes"`
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`

	Events        uint64 `json:"events"`        // changes in the binlog
	DroppedAll    uint64 `json:"dropped_all"`   // how often all rows were
	Interruptions uint64 `json:"interruptions"` // of following
}

func newFollowStatus(of userstore.FollowStats) *followStatus {
	s := &followStatus{
		State: of.State, Server: of.Server, Error: of.Error, Current: of.IsCurrent,
		Rows: of.Rows, Bytes: of.Size, Hits: of.Hits, Misses: of.Misses,
		Events: of.Events, DroppedAll: of.Drops, Interruptions: of.Interruptions,
	}
	if !of.Since.IsZero() {
		s.Since = &of.Since
	}
	return s
}

// pingLimit is how long the status waits for MySQL.
const pingLimit = time.Second

// serveStatus tells how the handlers are. The status is 503 if one of them can't look
// users up, so that monitoring needn't read the JSON.
func (a api) serveStatus(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return apiError(http.StatusMethodNotAllowed, "send a GET request")
	}
	// All handlers share one time limit, because one server may delay all of them.
	ctx, cancel := context.WithTimeout(r.Context(), pingLimit)
	defer cancel()
	handlers, code := []status{}, http.StatusOK
	for _, c := range a.source.running() {
		state := c.status(ctx)
		if handlers = append(handlers, state); !state.Store.Healthy {
			code = http.StatusServiceUnavailable
		}
	}
	return writeStatus(w, code, struct {
		Handlers []status          `json:"handlers"`
		Mail     []mail.Status     `json:"mail,omitempty"` // by mail server
		Requests map[string]uint64 `json:"requests"`       // of all handlers, since Caddy was started
	}{handlers, mail.Statuses(), a.source.Reasons()})
}

// status asks for the state of a handler that runs.
func (c *configured) status(ctx context.Context) status {
	s := status{Number: c.number, Route: c.path, Hosts: c.hosts}
	stats := c.Live.Store.Stats()
	s.Pool = poolStatus{
		Open: stats.Pool.OpenConnections, InUse: stats.Pool.InUse, Idle: stats.Pool.Idle,
		MaxOpen: stats.Pool.MaxOpenConnections,
		Waits:   stats.Pool.WaitCount, WaitSeconds: stats.Pool.WaitDuration.Seconds(),
	}
	s.Lookups = lookupsStatus{Users: stats.Lookups, Queries: make(map[string]uint64)}
	for i, size := range userstore.QuerySizes() {
		s.Lookups.Queries[strconv.Itoa(size)] = stats.Queries[i]
	}
	for _, of := range c.Live.Store.Servers() {
		state := server{Role: of.Role, Address: of.Address, Answers: of.Silent.IsZero(), Stalled: of.Stalled}
		if !state.Answers {
			state.Since = &of.Silent
		}
		s.Servers = append(s.Servers, state)
	}
	if c.Live.Cache != nil {
		cached := c.Live.Cache.Stats()
		s.Cache = &cacheStatus{cached.Users, cached.Absent, cached.Hits, cached.Misses, cached.Denied}
	}
	if c.Live.Follows != nil {
		s.Follow = newFollowStatus(c.Live.Follows.Stats())
	}
	began := time.Now()
	err := c.Live.Store.Ping(ctx)
	s.Store.Seconds = time.Since(began).Seconds()
	if s.Store.Healthy = err == nil; err != nil {
		s.Store.Error = err.Error()
	}
	return s
}
