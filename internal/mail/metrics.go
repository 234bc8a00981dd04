package mail

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// The results of mails, in metrics. They never change.
const (
	resultQueued  = "queued"  // was accepted by Send
	resultSent    = "sent"    // was accepted by the server
	resultFailed  = "failed"  // was rejected, or couldn't be sent while it was of use
	resultDropped = "dropped" // found the queue full, or was still in it at shutdown
)

var mails = newMails()

func newMails() *prometheus.CounterVec {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_sesame_mails_total",
		Help: "Mails by what became of them: queued, and then sent, failed or dropped.",
	}, []string{"result"})
	for _, result := range []string{resultQueued, resultSent, resultFailed, resultDropped} {
		counts.WithLabelValues(result)
	}
	return counts
}

// held is how many mails all Senders hold.
var held atomic.Int64

var queue = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
	Name: "caddy_sesame_mail_queue",
	Help: "Mails that are being sent, or wait for their turn or another try.",
}, func() float64 { return float64(held.Load()) })

// Metrics are this package's metrics, for all Senders of the process.
func Metrics() []prometheus.Collector { return []prometheus.Collector{mails, queue} }
