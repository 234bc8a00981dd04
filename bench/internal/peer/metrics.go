package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"

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
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.metrics, nil)
	if err != nil {
		return Hits{}, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return Hits{}, fmt.Errorf("reading metrics: %w", err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		return Hits{}, fmt.Errorf("reading metrics: %w", err)
	}
	var hits Hits
	for _, name := range lookupsMetrics {
		for _, metric := range families[name].GetMetric() {
			n := int64(metric.GetCounter().GetValue())
			hits.Lookups += n
			if result(metric) == "hit" {
				hits.Kept += n
			}
		}
	}
	if families[lookupsMetrics[0]] == nil {
		return Hits{}, errors.New("the gateway's metrics lack " + lookupsMetrics[0])
	}
	return hits, nil
}

// result is the label of that name.
func result(metric *dto.Metric) string {
	for _, label := range metric.GetLabel() {
		if label.GetName() == "result" {
			return label.GetValue()
		}
	}
	return ""
}
