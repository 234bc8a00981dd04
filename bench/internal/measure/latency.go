package measure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/caddy-sesame/caddy-sesame/bench/internal/peer"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/results"
	"github.com/caddy-sesame/caddy-sesame/bench/internal/stats"
)

// Latency measures gateways at a rate of requests per second that doesn't
// depend on how soon they answer. Those that leave requests without an answer
// are named in skipped.
func (r *Runner) Latency(ctx context.Context, gateways []*peer.Gateway, rate int) (all []results.Latency, skipped []results.Skipped, err error) {
	for round := range r.Settings.Rounds {
		r.Say("latency at %d requests per second: round %d of %d", rate, round+1, r.Settings.Rounds)
		var lost []results.Skipped
		err := rotated(gateways, round, func(g *peer.Gateway) error {
			if err := pause(ctx); err != nil {
				return err
			}
			measured, err := r.latency(ctx, g, rate)
			if errors.Is(err, errUnanswered) && g.Name != peer.Bare && g.Name != peer.Sesame {
				lost = append(lost, results.Skipped{Name: g.Name, Reason: fmt.Sprintf("latency: it doesn't keep up with %d requests per second", rate)})
				return nil
			}
			measured.Round = round
			all = append(all, measured)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		// What is left of one that was lost would be of fewer rounds.
		for _, l := range lost {
			gateways = slices.DeleteFunc(slices.Clone(gateways), func(g *peer.Gateway) bool { return g.Name == l.Name })
			all = slices.DeleteFunc(all, func(m results.Latency) bool { return m.Peer == l.Name })
		}
		skipped = append(skipped, lost...)
	}
	return all, skipped, nil
}

var errUnanswered = errors.New("requests were not answered as they should be")

// settling is how long a load goes on before it is measured: connections are
// made then.
const settling = 500 * time.Millisecond

// mostWaiting is how many requests may be without an answer at once.
const mostWaiting = 4096

// latency measures one gateway once. A request is sent when it is its time,
// whether those before it are answered or not.
func (r *Runner) latency(ctx context.Context, g *peer.Gateway, rate int) (results.Latency, error) {
	none := results.Latency{}
	attacker := vegeta.NewAttacker(
		vegeta.Workers(64), vegeta.MaxWorkers(mostWaiting), vegeta.Connections(mostWaiting),
		vegeta.KeepAlive(true), vegeta.HTTP2(false), vegeta.Redirects(vegeta.NoFollow),
		vegeta.MaxBody(0), vegeta.Timeout(10*time.Second))
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()

	duration := settling + r.durationFor(g)
	began := time.Now()
	latencies := make([]time.Duration, 0, rate*int(duration/time.Second+1))
	sent := 0
	var failure string
	for result := range attacker.Attack(targets(g), vegeta.ConstantPacer{Freq: rate, Per: time.Second}, duration, "") {
		sent++
		if result.Error != "" || result.Code != http.StatusOK {
			failure = fmt.Sprintf("status %d %s", result.Code, result.Error)
		}
		if result.Timestamp.Sub(began) >= settling {
			latencies = append(latencies, result.Latency)
		}
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if failure != "" || len(latencies) == 0 {
		return none, fmt.Errorf("%w: %d were sent; %s", errUnanswered, sent, failure)
	}
	slices.Sort(latencies)
	return results.Latency{
		Peer: g.Name, Rate: rate, Requests: len(latencies),
		Sent: float64(sent) / (float64(rate) * duration.Seconds()),
		P50:  stats.Percentile(latencies, 50),
		P90:  stats.Percentile(latencies, 90),
		P99:  stats.Percentile(latencies, 99),
		P999: stats.Percentile(latencies, 99.9),
		Max:  latencies[len(latencies)-1],
	}, nil
}

// targets walks through a gateway's requests.
func targets(g *peer.Gateway) vegeta.Targeter {
	all := make([]vegeta.Target, len(g.Requests))
	for i, r := range g.Requests {
		all[i] = vegeta.Target{Method: http.MethodGet, URL: g.URL + r.Path}
		if name, value, ok := strings.Cut(r.Header, ": "); ok {
			all[i].Header = http.Header{name: {value}}
		}
	}
	var next atomic.Uint64
	return func(t *vegeta.Target) error {
		*t = all[next.Add(1)%uint64(len(all))]
		return nil
	}
}
