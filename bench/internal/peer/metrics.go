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

// lookupsMetric has the results of lookups in kept rows.
const lookupsMetric = "caddy_sesame_cache_lookups_total"

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
	family, ok := families[lookupsMetric]
	if !ok {
		return Hits{}, errors.New("the gateway's metrics lack " + lookupsMetric)
	}
	var hits Hits
	for _, metric := range family.GetMetric() {
		n := int64(metric.GetCounter().GetValue())
		hits.Lookups += n
		if result(metric) == "hit" {
			hits.Kept += n
		}
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
