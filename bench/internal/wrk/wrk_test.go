package wrk

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const goodLine = "result: requests=41000 bytes=50000000 microseconds=4000000 cpu=900000 status=0 connect=0 read=0 write=0 timeout=0 p50=700 p90=1100 p99=2500\n"

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse("Running 4s test @ http://127.0.0.1:1\n  1 threads and 8 connections\nRequests/sec:  1\n" + goodLine)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{
		Requests: 41000, Bytes: 50000000, Duration: 4 * time.Second, CPU: 900 * time.Millisecond,
		P50: 700 * time.Microsecond, P90: 1100 * time.Microsecond, P99: 2500 * time.Microsecond,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if perSecond := got.PerSecond(); perSecond != 10250 {
		t.Errorf("got %v requests per second", perSecond)
	}
	if err := got.check(1024); err != nil {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"": "there is no result",
		"unable to connect to 127.0.0.1:1 Connection refused\n":                "there is no result",
		strings.Replace(goodLine, "p99=2500", "", 1):                           "p99 is missing",
		strings.Replace(goodLine, "p99=2500", "p99=fast", 1):                   "p99 is not a number",
		strings.Replace(goodLine, "p99=", "p98=", 1):                           `"p98" is not a known value`,
		strings.Replace(goodLine, "requests=41000", "requests=0", 1):           "no request was answered",
		strings.Replace(goodLine, "p90=1100", "p50=1", 1):                      `"p50" is not a known value`,
		strings.Replace(goodLine, "microseconds=4000000", "microseconds=0", 1): "no request was answered",
	}
	for out, want := range tests {
		if got, err := parse(out); err == nil || err.Error() != want {
			t.Errorf("%q: got %+v and error %v, want %s", out, got, err, want)
		}
	}
}

func TestCheckFindsWhatIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	good := Result{Requests: 10, Bytes: 12000, Duration: time.Second}
	if err := good.check(1024); err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(*Result){
		"another status": func(r *Result) { r.Status = 1 },
		"a connection":   func(r *Result) { r.Connect = 1 },
		"a read":         func(r *Result) { r.Read = 1 },
		"a write":        func(r *Result) { r.Write = 1 },
		"a timeout":      func(r *Result) { r.Timeout = 1 },
		"no body":        func(r *Result) { r.Bytes = 2000 },
	}
	for name, spoil := range tests {
		r := good
		spoil(&r)
		if r.check(1024) == nil {
			t.Errorf("%s was not noticed", name)
		}
	}
}

// TestRun has the real wrk send the requests of a file.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tool, err := New(dir)
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	requests := []Request{{"/a", "Authorization: Bearer one"}, {"/b?sesame=two", ""}, {"/c", "Cookie: three=3"}}
	file := filepath.Join(dir, "requests")
	if err := WriteRequests(file, requests, []int{2, 0, 1, 0}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.RequestURI+"|"+r.Header.Get("Authorization")+r.Header.Get("Cookie")]++
		mu.Unlock()
		_, _ = w.Write(make([]byte, 1024))
	}))
	defer good.Close()
	load := Load{URL: good.URL, Requests: file, Connections: 2, Duration: time.Second, MinBody: 1024}
	result, err := tool.Run(context.Background(), load)
	if err != nil {
		t.Fatal(err)
	}
	if result.P50 <= 0 || result.P99 < result.P50 {
		t.Errorf("the percentiles are odd: %+v", result)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"/a|Bearer one", "/b?sesame=two|", "/c|three=3"} {
		if seen[want] == 0 {
			t.Errorf("no request was %s", want)
		}
	}
	if len(seen) != len(requests) {
		t.Errorf("there were others: %v", seen)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"refusals":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"redirects": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusSeeOther) },
	} {
		bad := httptest.NewServer(answer)
		load.URL = bad.URL
		if result, err := tool.Run(context.Background(), load); err == nil {
			t.Errorf("%s passed for answers: %+v", name, result)
		}
		bad.Close()
	}
}

func TestRequestsAreLines(t *testing.T) {
	t.Parallel()
	for _, bad := range []Request{{"/a\n/b", ""}, {"/", "A: b\r\nC: d"}, {"/\t", ""}} {
		if WriteRequests(filepath.Join(t.TempDir(), "requests"), []Request{bad}, []int{0}) == nil {
			t.Errorf("%+v was written", bad)
		}
	}
}
