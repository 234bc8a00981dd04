package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Hits are lookups of a gateway that keeps rows.
type Hits struct {
	Lookups int64 // all
	Kept    int64 // those that a kept row answered
}

// Since are the hits after an earlier count.
func (h Hits) Since(earlier Hits) Hits {
	return Hits{h.Lookups - earlier.Lookups, h.Kept - earlier.Kept}
}

// lookupsMetrics have the results of lookups in kept rows: with cache, and with follow.
var lookupsMetrics = []string{"caddy_sesame_cache_lookups_total", "caddy_sesame_follow_lookups_total"}

// Hits reads the gateway's metrics. Only sesame has hits.
func (g *Gateway) Hits(ctx context.Context) (Hits, error) {
	if !g.isKept {
		return Hits{}, nil
	}
	families, err := g.readMetrics(ctx)
	if err != nil {
		return Hits{}, err
	}
	var hits Hits
	for _, name := range lookupsMetrics {
		for _, metric := range families[name].GetMetric() {
			n := int64(metric.GetCounter().GetValue())
			hits.Lookups += n
			if label(metric, "result") == "hit" {
				hits.Kept += n
			}
		}
	}
	if families[lookupsMetrics[0]] == nil {
		return Hits{}, errors.New("the gateway's metrics lack " + lookupsMetrics[0])
	}
	return hits, nil
}

// readMetrics reads all metrics of the gateway, by name.
func (g *Gateway) readMetrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.metrics, nil)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return families, nil
}

// followingMetric has the number of handlers that follow the binlog, by state.
const followingMetric = "caddy_sesame_follow_handlers"

// followsWithin is how long a gateway may take until it follows the binlog.
const followsWithin = time.Minute

// awaitFollowing waits until a gateway that is to follow the binlog does so: rows that
// were read before aren't kept, and would be read again in the first measurement.
func (g *Gateway) awaitFollowing(ctx context.Context) error {
	if !g.follows {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, followsWithin)
	defer cancel()
	turn := time.NewTicker(20 * time.Millisecond)
	defer turn.Stop()
	for {
		families, err := g.readMetrics(ctx) // the port of metrics may not listen yet
		for _, metric := range families[followingMetric].GetMetric() {
			if label(metric, "state") == "following" && metric.GetGauge().GetValue() > 0 {
				return nil
			}
		}
		select {
		case <-turn.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the gateway does not follow the binlog: %w", ctx.Err()), err, g.process.Logged())
		}
	}
}

// label is the value of a metric's label, or empty.
func label(metric *dto.Metric, name string) string {
	for _, label := range metric.GetLabel() {
		if label.GetName() == name {
			return label.GetValue()
		}
	}
	return ""
}
