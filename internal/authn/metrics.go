package authn

import "github.com/prometheus/client_golang/prometheus"

// rejected counts credentials that were rejected.
var rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "caddy_sesame_credentials_rejected_total",
	Help: "Credentials that were rejected, by their scheme and the reason.",
}, []string{"scheme", "reason"})

// Metrics are what this package counts, of all handlers of the process.
func Metrics() []prometheus.Collector { return []prometheus.Collector{rejected} }
