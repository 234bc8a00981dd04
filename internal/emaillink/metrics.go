package emaillink

import "github.com/prometheus/client_golang/prometheus"

// The results of requests for links, in metrics. They never change.
const (
	resultAccepted    = "accepted"
	resultOverClient  = "client_limit"
	resultOverAddress = "address_limit"
	resultOverTotal   = "total_limit"
	resultDropped     = "dropped" // for lack of room, or at the end of the configuration
)

// What became of links.
const (
	resultMailed  = "mailed"  // a mail was queued
	resultNoUser  = "no_user" // no user has the address
	resultRefused = "refused" // the user may not log in
	resultFailed  = "failed"  // the store had no answer, or no mail could be queued
)

var (
	requests = newCounter("caddy_sesame_link_requests_total", "Requests for links by e-mail: accepted, or over a limit, or dropped.",
		resultAccepted, resultOverClient, resultOverAddress, resultOverTotal, resultDropped)
	links = newCounter("caddy_sesame_links_total", "Links by e-mail by what became of them, for each user of an address.",
		resultMailed, resultNoUser, resultRefused, resultFailed)
)

func newCounter(name, help string, results ...string) *prometheus.CounterVec {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
	for _, result := range results {
		counts.WithLabelValues(result)
	}
	return counts
}

// Metrics are this package's metrics, for all sites of the process.
func Metrics() []prometheus.Collector { return []prometheus.Collector{requests, links} }
