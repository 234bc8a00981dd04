package sesame_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	sesame "github.com/caddy-sesame/caddy-sesame"
)

// hostile are requests as large as Caddy accepts them, each full of one kind of
// element.
var hostile = []struct {
	name string
	fill func(r *http.Request, size int)
}{
	{"a token", func(r *http.Request, size int) { setQuery(r, "sesame="+strings.Repeat("A", size)) }},
	{"a token with escapes", func(r *http.Request, size int) { setQuery(r, "sesame="+repeat("%41", size)) }},
	{"tokens", func(r *http.Request, size int) { setQuery(r, repeat("sesame=AAAAAAAA&", size)) }},
	{"empty tokens", func(r *http.Request, size int) { setQuery(r, repeat("sesame&", size)) }},
	{"tokens whose name has escapes", func(r *http.Request, size int) { setQuery(r, repeat("%73%65%73ame=A&", size)) }},
	{"parameters", func(r *http.Request, size int) { setQuery(r, repeat("a=1&", size)+"sesame=AAAAAAAA") }},
	{"parameters and tokens", func(r *http.Request, size int) { setQuery(r, repeat("a=1&sesame=A&", size)) }},
	{"ampersands", func(r *http.Request, size int) { setQuery(r, repeat("&", size)+"sesame=AAAAAAAA") }},
	{"semicolons", func(r *http.Request, size int) { setQuery(r, repeat("a;sesame=1;", size)) }},
	{"percent signs", func(r *http.Request, size int) { setQuery(r, repeat("%", size)+"&sesame=AAAAAAAA") }},
	{"question marks", func(r *http.Request, size int) { setQuery(r, repeat("?sesame=A", size)) }},
	{"confirmations", func(r *http.Request, size int) { setQuery(r, repeat("sesame_confirm=A&", size)) }},
	{"Referer", func(r *http.Request, size int) {
		r.Header["Referer"] = []string{"http://app.example.com/?" + repeat("sesame=A&", size)}
	}},
	{"lines of Referer", func(r *http.Request, size int) { r.Header["Referer"] = lines("/?sesame=A", size) }},
	{"a cookie", func(r *http.Request, size int) { r.Header["Cookie"] = []string{"sesame=" + repeat("A", size)} }},
	{"cookies", func(r *http.Request, size int) { r.Header["Cookie"] = []string{repeat("sesame=A; ", size)} }},
	{"cookies of others", func(r *http.Request, size int) { r.Header["Cookie"] = []string{repeat("a=1; ", size) + "sesame=A"} }},
	{"lines of cookies", func(r *http.Request, size int) { r.Header["Cookie"] = lines("sesame=A", size) }},
	{"a bearer token", func(r *http.Request, size int) { r.Header["Authorization"] = []string{"Bearer " + repeat("A", size)} }},
	{"bearer tokens", func(r *http.Request, size int) { r.Header["Authorization"] = lines("Bearer A", size) }},
	{"options of Connection", func(r *http.Request, size int) { r.Header["Connection"] = []string{repeat("Remote-User, ", size)} }},
	{"lines of Connection", func(r *http.Request, size int) { r.Header["Connection"] = lines("Remote-User", size) }},
	{"header fields", func(r *http.Request, size int) {
		for i := range size / 16 {
			r.Header[fmt.Sprintf("Remote-User-%d", i)] = []string{"x"}
		}
	}},
	{"Accept-Language", func(r *http.Request, size int) {
		setQuery(r, "sesame=A")
		r.Header["Accept"] = []string{"text/html"}
		r.Header["Accept-Language"] = []string{repeat("de-DE;q=0.1,", size)}
	}},
	{"lines of Accept-Language", func(r *http.Request, size int) {
		setQuery(r, "sesame=A")
		r.Header["Accept"] = []string{"text/html"}
		r.Header["Accept-Language"] = lines("xx;q=0.001,", size)
	}},
	{"X-Forwarded-For", func(r *http.Request, size int) {
		setQuery(r, "sesame=A")
		r.Header["X-Forwarded-For"] = []string{repeat("10.0.0.1, ", size)}
	}},
	{"Forwarded", func(r *http.Request, size int) {
		r.Header["Forwarded"] = []string{repeat("for=\"sesame=AAAAAAA\";by=x,", size)}
	}},
	{"links in cookies", func(r *http.Request, size int) {
		r.Header["Cookie"] = []string{repeat("u=%2F%3Fsesame%3DA; ", size)}
	}},
	{"quotes", func(r *http.Request, size int) { r.Header["X-Note"] = []string{repeat("sesame=\" ", size)} }},
	{"brackets", func(r *http.Request, size int) { setQuery(r, "sesame"+repeat("[", size/2)+repeat("]=", size/2)) }},
	{"fields in Trailer", func(r *http.Request, size int) { r.Header["Trailer"] = []string{repeat("Remote-User,", size)} }},
	{"Accept", func(r *http.Request, size int) {
		setQuery(r, "sesame=A")
		r.Header["Accept"] = []string{repeat("a/b;q=0.1,", size)}
	}},
}

// repeat is a text repeated up to a size.
func repeat(text string, size int) string { return strings.Repeat(text, size/len(text)) }

// lines are header lines of a size together.
func lines(text string, size int) []string {
	all := make([]string, size/len(text))
	for i := range all {
		all[i] = text
	}
	return all
}

func setQuery(r *http.Request, query string) {
	r.URL.RawQuery = query
	r.RequestURI = r.URL.Path + "?" + query
}

// hostileHandlers are handlers that read all parts of a request.
func hostileHandlers(t testing.TB) map[string]*sesame.Handler {
	t.Helper()
	db := databases[0]
	db.reset(t)
	return map[string]*sesame.Handler{
		"token":   newHandler(t, db, "limit_failures off"),
		"session": newHandler(t, db, "limit_failures off\nsession\ntoken_from query bearer header X-Token"),
	}
}

// discard is a response that goes nowhere.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header       { return d.header }
func (*discard) Write(p []byte) (int, error) { return len(p), nil }
func (*discard) WriteHeader(int)             {}

var _ io.Writer = (*discard)(nil)

// hostileRequest is a request that is full of something.
func hostileRequest(fill func(r *http.Request, size int), size int) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://app.example.com/reports/7", nil)
	r.RequestURI = "/reports/7"
	fill(r, size)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
}

// TestHostileSizes counts the memory that requests of up to 1 MiB take, which is
// what Caddy lets in. It grows with the request, and no faster: where work is
// done once for each part of the request and copies the whole, it shows here.
func TestHostileSizes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const small, large = 64 << 10, 1 << 20
	for name, h := range hostileHandlers(t) {
		for _, test := range hostile {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				few, many := memoryOf(t, h, test.fill, small), memoryOf(t, h, test.fill, large)
				// The small request may have used memory that was left from before, and
				// other goroutines may allocate, too: then it is measured without such
				// memory, and again.
				for try := 0; try < 2 && isTooMuch(few, many, large/small) != ""; try++ {
					few = withoutPools(func() uint64 { return memoryOf(t, h, test.fill, small) })
					many = min(many, withoutPools(func() uint64 { return memoryOf(t, h, test.fill, large) }))
				}
				if problem := isTooMuch(few, many, large/small); problem != "" {
					t.Error(problem)
				}
			})
		}
	}
}

// withoutPools runs a function while all pools are empty. Collecting twice empties
// them, which takes longer than most requests.
func withoutPools(measure func() uint64) uint64 {
	runtime.GC()
	runtime.GC()
	return measure()
}

// memoryOf is how much memory a request of a size takes.
func memoryOf(t *testing.T, h *sesame.Handler, fill func(r *http.Request, size int), size int) uint64 {
	t.Helper()
	r, w := hostileRequest(fill, size), &discard{make(http.Header)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := h.ServeHTTP(w, r, nothing); err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// isTooMuch reports why the memory grows too fast between a small request and one of
// 1 MiB, which is some times larger.
func isTooMuch(few, many uint64, times int) string {
	switch {
	case many > 16<<20+64<<10:
		return fmt.Sprintf("a request of 1 MiB took %d KiB", many>>10)
	case many > uint64(times)*2*few+64<<10: //nolint:gosec // it is positive
		return fmt.Sprintf("%d times the size took %d KiB in the place of %d KiB", times, many>>10, few>>10)
	}
	return ""
}

// TestHostileRequestsTakeNoLongerThanOthers compares the time that requests of
// 1 MiB take with that of one whose query is as long and has nothing in it: a
// scan that starts over with every piece takes thousands of times as long.
func TestHostileRequestsTakeNoLongerThanOthers(t *testing.T) {
	const size, most = 1 << 20, 100
	// Other programs may take the processor: a request is sent again until it takes less
	// than enough, which one that takes too long never does.
	fastest := func(h *sesame.Handler, fill func(r *http.Request, size int), enough time.Duration) time.Duration {
		best := time.Hour
		for try := 0; (try < 3 || enough > 0 && try < 10) && best > enough; try++ {
			r, w := hostileRequest(fill, size), &discard{make(http.Header)}
			start := time.Now()
			if err := h.ServeHTTP(w, r, nothing); err != nil {
				t.Error(err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	for name, h := range hostileHandlers(t) {
		control := max(fastest(h, func(r *http.Request, size int) { setQuery(r, repeat("a=%41&", size)) }, 0), time.Millisecond)
		for _, test := range hostile {
			if got := fastest(h, test.fill, most*control); got > most*control {
				t.Errorf("%s/%s: %v, and %v for a query without a token", name, test.name, got, control)
			}
		}
	}
}

// BenchmarkHostileSizes shows the time that the same requests take, for each
// byte of them, at sizes between which a quadratic one would differ by 16.
func BenchmarkHostileSizes(b *testing.B) {
	h := hostileHandlers(b)["session"]
	for _, test := range hostile {
		for _, size := range []int{64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%dKiB", strings.ReplaceAll(test.name, " ", "_"), size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				for range b.N {
					b.StopTimer()
					r, w := hostileRequest(test.fill, size), &discard{make(http.Header)}
					b.StartTimer()
					if err := h.ServeHTTP(w, r, nothing); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
