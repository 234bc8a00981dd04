package sesame_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	sesame "github.com/caddy-sesame/caddy-sesame"
)

// newHandler provisions a handler alone, without a server around it.
func newHandler(t testing.TB, db *database, options string) *sesame.Handler {
	t.Helper()
	h := new(sesame.Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("sesame {\nsecret_key \"" + secretKey + "\"\n" + options + "\nuserstore mysql {\ndsn \"" + db.dsn + "\"\nquery_timeout 20s\n}\n}")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// nothing is a next handler that does nothing, and a response that goes
// nowhere.
var nothing = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

// hotPaths are the ways by which requests get in, with what they allocate
// between the handler's entry and next where the row is kept. Both ways:
//
//   - the credential, and what checks it against the user's row
//   - the values of the identity header fields, all of them in one slice
//   - what answers for {http.auth.user.*}
//
// And where the token is in the query, between other parameters:
//
//   - the query and the URI without it
//   - Caddy's copy of the request as it came, without it, the context that has
//     the copy, and the request that has the context
//   - the URI that the replacer has for that copy, which is compared
//   - the response writer that keeps answers from linking to their URL
//
// An assertion that is kept adds nothing: its value is in the slice of the
// identity header fields.
func hotPaths(t testing.TB) []hotPath {
	token := tokenOf(t)
	bearer := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token} }
	query := func(r *http.Request) {
		r.URL.RawQuery = "a=1&sesame=" + url.QueryEscape(token) + "&b=2"
		r.RequestURI += "?" + r.URL.RawQuery
	}
	return []hotPath{
		{"bearer", bearer, 4},
		{"query", query, 11},
	}
}

type hotPath struct {
	name    string
	present func(r *http.Request)
	allocs  float64
}

func tokenOf(t testing.TB) string {
	t.Helper()
	return tokenFor(t, alice)
}

// preparedRequest is a request as Caddy's server hands it to handlers.
func preparedRequest(present func(r *http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://app.example.com/reports/7", nil)
	r.RequestURI = "/reports/7"
	r.Header = http.Header{
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"Accept":          {"application/json"},
		"Accept-Language": {"en"},
		"Cookie":          {"csrftoken=0123456789abcdef"},
	}
	present(r)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
}

// TestHotPathAllocations holds the handler to what hotPaths says.
func TestHotPathAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has sync.Pool forget things")
	}
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, options := range []string{"cache 5m", "cache 5m\nassertion {\naudience app\n}"} {
			testHotPathAllocations(t, newHandler(t, db, options))
		}
	})
}

func testHotPathAllocations(t *testing.T, h *sesame.Handler) {
	for _, path := range hotPaths(t) {
		t.Run(path.name, func(t *testing.T) {
			const runs = 200
			requests := make([]*http.Request, 0, runs+1)
			for range runs + 1 {
				requests = append(requests, preparedRequest(path.present))
			}
			w := httptest.NewRecorder()
			i := 0
			got := testing.AllocsPerRun(runs, func() {
				r := requests[i]
				i++
				if err := h.ServeHTTP(w, r, nothing); err != nil {
					t.Error(err)
				}
				if r.Header["Remote-User"] == nil {
					t.Error("the request got no identity")
				}
			})
			if got > path.allocs {
				t.Errorf("%v allocations, want %v at most", got, path.allocs)
			}
		})
	}
}

// BenchmarkHandler measures the whole handler, with a cached row and with one that
// is read.
func BenchmarkHandler(b *testing.B) {
	if mariadb == nil {
		b.Skip("mariadbd is not on PATH")
	}
	db := databases[len(databases)-1]
	db.reset(b)
	for _, row := range []struct{ name, options string }{
		{"kept", "cache 5m"}, {"kept, assertion", "cache 5m\nassertion {\naudience app\n}"}, {"read", ""},
	} {
		h := newHandler(b, db, row.options)
		for _, path := range hotPaths(b) {
			b.Run("row="+row.name+"/token="+path.name, func(b *testing.B) {
				b.ReportAllocs()
				benchmarkHandler(b, h, path.present)
			})
		}
	}
}

// benchmarkHandler hands requests to a handler. Each can be used once.
func benchmarkHandler(b *testing.B, h *sesame.Handler, present func(r *http.Request)) {
	requests := make([]*http.Request, 512)
	w := httptest.NewRecorder()
	b.ResetTimer()
	for done := 0; done < b.N; done += len(requests) {
		b.StopTimer()
		requests = requests[:min(len(requests), b.N-done)]
		for i := range requests {
			requests[i] = preparedRequest(present)
		}
		b.StartTimer()
		for _, r := range requests {
			if err := h.ServeHTTP(w, r, nothing); err != nil {
				b.Fatal(err)
			}
		}
	}
}
