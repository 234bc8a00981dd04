package sesame_test

import (
	"net/http/httptest"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestTraceHasTheLookupAndNoToken looks for the lookup's span in a request that is
// traced, and for what it must not hold.
func TestTraceHasTheLookupAndNoToken(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		h := newHandler(t, db, "")
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		r := preparedRequest(hotPaths(t)[0].present)
		ctx, request := provider.Tracer("test").Start(r.Context(), "request")
		if err := h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx), nothing); err != nil {
			t.Fatal(err)
		}
		request.End()
		ended := spans.Ended()
		if len(ended) != 2 || ended[0].Name() != "sesame.lookup" || ended[0].Parent().SpanID() != request.SpanContext().SpanID() {
			t.Fatalf("spans %v, want the lookup's in the request's", ended)
		}
		if attributes := ended[0].Attributes(); len(attributes) != 0 {
			t.Errorf("the span has %v", attributes)
		}
	})
}
