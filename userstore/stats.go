package userstore

import (
	"database/sql"
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats are a store's figures since Open.
type Stats struct {
	// Pool is the state of the connections to the primary, which stores with the same DSN and
	// limits share.
	Pool sql.DBStats

	// Queries counts lookup queries by size: up to 1, 2, 4 and so on up to 256
	// users.
	Queries [len(batchSizes) + 1]uint64

	// Lookups is the number of users that all these queries were asked for.
	Lookups uint64
}

// QuerySizes are the numbers of users that Stats.Queries counts up to.
func QuerySizes() [len(batchSizes) + 1]int {
	sizes := [len(batchSizes) + 1]int{1}
	copy(sizes[1:], batchSizes[:])
	return sizes
}

// Stats returns the figures up to now.
func (s *MySQL) Stats() Stats {
	stats := Stats{Pool: s.pool.db.Stats(), Lookups: s.counts.lookups.Load()}
	for i := range stats.Queries {
		stats.Queries[i] = s.counts.queries[i].Load()
	}
	for _, replica := range s.replicas.stores {
		of := replica.Stats()
		stats.Lookups += of.Lookups
		for i := range stats.Queries {
			stats.Queries[i] += of.Queries[i]
		}
	}
	return stats
}

// The roles of a server.
const (
	RolePrimary = "primary"
	RoleReplica = "replica"
)

// ServerStats are the state of a server that a store asks.
type ServerStats struct {
	Role    string
	Address string // host:port, or the path of a socket
	PoolID  [32]byte
	Pool    sql.DBStats

	// Silent is since when the server doesn't answer; the zero time while it
	// does.
	Silent time.Time

	// Stalled is how many statements of this process the server hasn't answered
	// within query_timeout, and may still execute.
	Stalled int
}

// Servers returns the state of each server, the primary first.
func (s *MySQL) Servers() []ServerStats {
	servers := []ServerStats{s.serverStats(RolePrimary)}
	for _, replica := range s.replicas.stores {
		servers = append(servers, replica.serverStats(RoleReplica))
	}
	return servers
}

func (s *MySQL) serverStats(role string) ServerStats {
	stats := ServerStats{
		Role: role, Address: s.pool.breaker.server(), PoolID: s.poolKey, Pool: s.pool.db.Stats(),
		Stalled: s.pool.servers.current().current.Load().stalled.number(),
	}
	if o := s.pool.breaker.open.Load(); o != nil {
		stats.Silent = o.since
	}
	return stats
}

// PoolID tells stores apart that don't share their connections.
func (s *MySQL) PoolID() [32]byte { return s.poolKey }

// ObserveLookups registers a function that is called with the time that each lookup
// took, including the wait for its turn. Call it before the first lookup.
func (s *MySQL) ObserveLookups(observe func(time.Duration)) { s.observe = observe }

// counts are what Stats tells.
type counts struct {
	queries [len(batchSizes) + 1]atomic.Uint64
	lookups atomic.Uint64
}

// totals are the counts of all stores and caches of this process.
var totals struct {
	counts
	cacheCounts
	followed followCounts
}

// cacheCounts are what CacheStats tells.
type cacheCounts struct{ hits, misses, denied atomic.Uint64 }

// Totals are the figures of all stores and caches since the process began, closed
// ones included: they never fall, because metrics must not.
type Totals struct {
	Queries              [len(batchSizes) + 1]uint64 // as in Stats
	Lookups              uint64
	Hits, Misses, Denied uint64 // as in CacheStats
	Follow               FollowTotals
}

// AllTotals returns the figures up to now.
func AllTotals() Totals {
	all := Totals{
		Lookups: totals.lookups.Load(),
		Hits:    totals.hits.Load(),
		Misses:  totals.misses.Load(),
		Denied:  totals.denied.Load(),
	}
	of := &totals.followed
	all.Follow = FollowTotals{of.hits.Load(), of.misses.Load(), of.events.Load(), of.drops.Load(), of.interruptions.Load(), of.lapses.Load()}
	for i := range all.Queries {
		all.Queries[i] = totals.queries[i].Load()
	}
	return all
}

// add counts a query for a number of lookups. A batch larger than the largest query
// counts as several.
func (c *counts) add(lookups int) {
	c.lookups.Add(uint64(lookups)) //nolint:gosec // it isn't negative
	for ; lookups > largestBatch; lookups -= largestBatch {
		c.queries[len(batchSizes)].Add(1)
	}
	if lookups > 0 {
		c.queries[bits.Len(uint(lookups-1))].Add(1) //nolint:gosec // it is positive
	}
}

// CacheStats are a cache's figures since its rows were first kept.
type CacheStats struct {
	Users  int    // that are kept
	Absent int    // keys that are known to have no user
	Hits   uint64 // lookups that a kept row answered
	Misses uint64 // lookups that read the row
	Denied uint64 // lookups of keys that were known to have no user
}

// Stats returns the figures up to now. Caches that share rows share them.
func (c *Cache) Stats() CacheStats {
	c.kept.users.CleanUp()
	c.kept.absent.CleanUp()
	return CacheStats{
		Users:  c.kept.users.EstimatedSize(),
		Absent: c.kept.absent.EstimatedSize(),
		Hits:   c.kept.counts.hits.Load(),
		Misses: c.kept.counts.misses.Load(),
		Denied: c.kept.counts.denied.Load(),
	}
}

// RowsID tells caches apart that don't share their rows.
func (c *Cache) RowsID() [32]byte { return c.key }
