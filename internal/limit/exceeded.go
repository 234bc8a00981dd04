package limit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Exceeded is the rejection of a client that is over limit_failures.
type Exceeded struct {
	Wait   time.Duration // until the client is within the limit
	Reason error         // the token.Reason that another client would get, or nil
}

func (e *Exceeded) Error() string {
	if e.Reason == nil {
		return "the client is over limit_failures"
	}
	return "the client is over limit_failures: " + e.Reason.Error()
}

func (e *Exceeded) Unwrap() error { return e.Reason }

// clientsLimited counts the clients that came over the limit.
var clientsLimited = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "caddy_sesame_clients_limited_total",
	Help: "Clients that came over limit_failures, each once in a while.",
})

// Metrics are this package's metrics, for all limits of the process.
func Metrics() []prometheus.Collector { return []prometheus.Collector{clientsLimited} }
