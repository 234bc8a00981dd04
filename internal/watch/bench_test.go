package watch

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// BenchmarkGuard measures the cost of a short response.
func BenchmarkGuard(b *testing.B) {
	w := newTestWatcher(b, &watchedUsers{})
	connection, cancel := context.WithCancel(b.Context())
	defer cancel()
	type name int
	request := func() (*http.Request, context.CancelFunc) {
		ctx, cancel := context.WithCancel(connection)
		for i := range name(8) { // roughly the values that Caddy adds to it
			ctx = context.WithValue(ctx, i, i)
		}
		return httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), cancel
	}
	until := time.Now().Add(time.Hour)
	for _, bench := range []struct {
		name  string
		until time.Time
	}{{"Token", time.Time{}}, {"Session", until}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r, cancel := request()
				defer cancel()
				writer := httptest.NewRecorder()
				for pb.Next() {
					_, _, done := w.Guard(writer, r, userstore.ByPrimaryKey(token.IntKey(1)), bench.until, anyUser)
					done()
				}
			})
		})
	}
	// A new request each time, as in a server: its context has no children
	// yet.
	b.Run("FirstOfRequest", func(b *testing.B) {
		b.ReportAllocs()
		writer := httptest.NewRecorder()
		parents := make([]*http.Request, 0, 1000)
		for b.Loop() {
			if len(parents) == 0 {
				b.StopTimer()
				for range 1000 {
					r, cancel := request()
					b.Cleanup(cancel)
					parents = append(parents, r)
				}
				b.StartTimer()
			}
			r := parents[len(parents)-1]
			parents = parents[:len(parents)-1]
			_, _, done := w.Guard(writer, r, userstore.ByPrimaryKey(token.IntKey(1)), until, anyUser)
			done()
		}
	})
}

// BenchmarkGuardLong measures the memory of a watched response, and the time
// to check all of them.
func BenchmarkGuardLong(b *testing.B) {
	const n = 10_000
	w := New(time.Nanosecond, nil, zap.NewNop())
	w.Stop() // no lookups by the clock
	writer, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	open := make([]*http.Request, n)
	for i := range n {
		_, guarded, done := w.Guard(writer, r, userstore.ByPrimaryKey(token.IntKey(int64(i))), time.Now().Add(time.Hour), anyUser)
		defer done()
		open[i] = guarded
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for len(w.open()) < n {
		<-poll.C
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perResponse := float64(after.HeapAlloc-before.HeapAlloc) / n
	runtime.KeepAlive(open)
	all := make(map[userstore.Key]*userstore.User)
	for i := range n {
		all[userstore.ByPrimaryKey(token.IntKey(int64(i)))] = &userstore.User{IsActive: true}
	}
	w.lookup = func(context.Context, []userstore.Key) (map[userstore.Key]*userstore.User, error) {
		return all, nil
	}
	for b.Loop() {
		w.check()
	}
	b.ReportMetric(perResponse, "B/response")
}
