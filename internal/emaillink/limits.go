package emaillink

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// counts are a site's numbers of links that were asked for, and of codes that were
// tried. They are in memory, and shared by all handlers of the site, in this
// configuration and the next. Each gateway counts by itself.
type counts struct {
	key      countsKey
	mu       sync.Mutex
	address  rate
	client   rate
	total    rate
	attempts attempts
}

// countsKey identifies counts: a reload with other limits begins anew.
type countsKey struct {
	baseURL                string
	address, client, total Limit
}

// countsInUse has the counts of each site in this process.
var countsInUse = caddy.NewUsagePool()

// acquireCounts returns the counts of a site. Each call needs one release.
func acquireCounts(key countsKey) (*counts, error) {
	value, _, err := countsInUse.LoadOrNew(key, func() (caddy.Destructor, error) {
		return &counts{
			key: key, address: newRate(key.address), client: newRate(key.client), total: newRate(key.total),
			attempts: attempts{used: make(map[string]*tried)},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*counts), nil
}

func (c *counts) release() error {
	_, err := countsInUse.Delete(c.key)
	return err
}

// Destruct does nothing: there is only memory. UsagePool calls it.
func (*counts) Destruct() error { return nil }

// A verdict says whether a link may be sent.
type verdict uint8

const (
	accepted verdict = iota
	overClient
	overAddress
	overTotal
)

// take counts a request for a link. wait is how long the client is over its limit.
// A client's requests count whatever becomes of them: otherwise its limit would tell
// whether others have asked for links to an address.
func (c *counts) take(client, address uint64, now time.Time) (v verdict, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.client.take(client, now); wait > 0 {
		return overClient, wait
	}
	if c.address.wait(address, now) > 0 {
		return overAddress, 0
	}
	if c.total.take(0, now) > 0 {
		return overTotal, 0
	}
	c.address.take(address, now)
	return accepted, 0
}

// rate limits how often each of many keys is taken. For each key it has the time at
// which all takes will be forgotten (the generic cell rate algorithm, ITU-T I.371,
// appendix I).
type rate struct {
	interval, most time.Duration
	forgotten      map[uint64]time.Time
	swept          time.Time
}

// mostKeys is how many keys a rate holds. If more are in use, some are forgotten
// before their time: keys of addresses can't be as many, since the limit in total
// comes first, and a client that has so many networks isn't limited by its address.
const mostKeys = 1 << 16

func newRate(l Limit) rate {
	interval := max(time.Duration(l.Per)/time.Duration(l.Links), 1)
	return rate{interval: interval, most: interval * time.Duration(l.Links), forgotten: make(map[uint64]time.Time)}
}

// wait returns how long a key is over the limit, 0 for not.
func (r *rate) wait(key uint64, now time.Time) time.Duration {
	at, known := r.forgotten[key]
	if !known || at.Before(now) {
		return 0
	}
	return max(at.Sub(now)+r.interval-r.most, 0)
}

// take counts a key, unless it is over the limit: then it returns for how long.
func (r *rate) take(key uint64, now time.Time) time.Duration {
	if wait := r.wait(key, now); wait > 0 {
		return wait
	}
	at, known := r.forgotten[key]
	if at.Before(now) {
		at = now
	}
	if !known && len(r.forgotten) >= mostKeys {
		r.makeRoom(now)
	}
	r.forgotten[key] = at.Add(r.interval)
	return 0
}

// makeRoom forgets the keys whose time is over, and one more if there are none.
func (r *rate) makeRoom(now time.Time) {
	if now.Sub(r.swept) >= r.interval {
		r.swept = now
		for key, at := range r.forgotten {
			if !at.After(now) {
				delete(r.forgotten, key)
			}
		}
	}
	for key := range r.forgotten {
		if len(r.forgotten) < mostKeys {
			return
		}
		delete(r.forgotten, key)
	}
}

// attempts counts the codes that were tried for each link.
type attempts struct {
	mu   sync.Mutex
	used map[string]*tried // by the link's ID
}

type tried struct {
	times int
	until time.Time
}

// mostAttempts is how many codes can be tried for a link. A code has 40 bits.
const mostAttempts = 5

// mostTried is for how many links codes are counted at once. If there were more, no
// further code would be accepted until some of the links have expired.
const mostTried = 1 << 14

// take counts an attempt, and returns how many are left after it. ok is false if
// none was left for this one.
func (a *attempts) take(id string, now, until time.Time) (left int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.used[id]
	if t == nil {
		if len(a.used) >= mostTried {
			a.sweep(now)
		}
		if len(a.used) >= mostTried {
			return 0, false
		}
		t = &tried{until: until}
		a.used[id] = t
	}
	if t.times == mostAttempts {
		return 0, false
	}
	t.times++
	return mostAttempts - t.times, true
}

// sweep forgets links that have expired: their codes are rejected without a count.
// The caller holds the lock.
func (a *attempts) sweep(now time.Time) {
	for id, t := range a.used {
		if t.until.Before(now) {
			delete(a.used, id)
		}
	}
}
