package emaillink

import "sync/atomic"

// result is what became of a request for a link. Its name in metrics never changes.
type result uint8

const (
	resultAccepted    result = iota
	resultOverClient         // over limit_client
	resultOverAddress        // over limit_address
	resultOverTotal          // over limit_total
	resultDropped            // for lack of room, or at the end of the configuration
	results
)

func (r result) String() string {
	return [results]string{"accepted", "client_limit", "address_limit", "total_limit", "dropped"}[r]
}

// fate is what became of a link. Its name in metrics never changes.
type fate uint8

const (
	fateMailed  fate = iota // a mail was queued
	fateNoUser              // no user has the address
	fateRefused             // the user may not log in
	fateFailed              // the store had no answer, or no mail could be queued
	fates
)

func (f fate) String() string {
	return [fates]string{"mailed", "no_user", "refused", "failed"}[f]
}

// Counts are those of the requests and links of a handler.
type Counts struct {
	requests [results]atomic.Uint64
	links    [fates]atomic.Uint64
}

// Requests calls yield for each result of requests, with its count.
func (c *Counts) Requests(yield func(result string, n uint64)) {
	for r := range results {
		yield(r.String(), c.requests[r].Load())
	}
}

// Links calls yield for each thing that became of links, with its count.
func (c *Counts) Links(yield func(result string, n uint64)) {
	for f := range fates {
		yield(f.String(), c.links[f].Load())
	}
}
