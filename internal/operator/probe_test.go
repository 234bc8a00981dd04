package operator

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering is a gateway of which only the answers to health checks are there.
func answering(t *testing.T, status int, text string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + " " + r.Host + r.URL.Path))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestProbeTellsWhetherTheCheckSucceeded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status    int
		want, err string
	}{
		"ready":     {http.StatusOK, "200 OK said", ""},
		"not ready": {http.StatusServiceUnavailable, "", "503 Service Unavailable said"},
		"redirect":  {http.StatusPermanentRedirect, "", `a redirect to "https://elsewhere.example/"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := probe(t.Context(), answering(t, test.status, "said").URL+"/_sesame/ready", "")
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("the error is %v, want %q", err, test.err)
			}
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("the answer is %q, want %q", got, test.want)
			}
		})
	}
}

// TestProbeConnectsElsewhere asks a server for a site whose name leads to no server.
func TestProbeConnectsElsewhere(t *testing.T) {
	t.Parallel()
	server := answering(t, http.StatusOK, "said")
	got, err := probe(t.Context(), "http://app.example.com/_sesame/health", server.Listener.Addr().String())
	if want := "200 OK said app.example.com/_sesame/health"; err != nil || got != want {
		t.Errorf("the answer is %q, %v; want %q", got, err, want)
	}
}

func TestProbeOfAServerThatHangs(t *testing.T) {
	t.Parallel()
	// Connections are accepted by the system, and by no program.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := l.Addr().String()
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := probe(ctx, "http://"+silent+"/", ""); err == nil || !strings.Contains(err.Error(), "the gateway doesn't answer") {
		t.Errorf("a server that says nothing: %v", err)
	}
}
