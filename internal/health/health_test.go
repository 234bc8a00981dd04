package health_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/internal/health"
)

// newChecks makes the checks of a configuration, which say that lookups end with err.
func newChecks(t *testing.T, cfg health.Config, err error) *health.Checks {
	t.Helper()
	checks, configErr := health.New(cfg)
	if configErr != nil {
		t.Fatal(configErr)
	}
	checks.Serves = func(context.Context) error { return err }
	checks.RetryAfter = 2 * time.Second
	return checks
}

// ask sends a request to the checks. The answer is nil if it isn't for them.
func ask(t *testing.T, checks *health.Checks, method, path string, shuttingDown bool) *http.Response {
	t.Helper()
	replacer := caddy.NewEmptyReplacer()
	replacer.Set("http.shutting_down", shuttingDown)
	ctx := context.WithValue(t.Context(), caddy.ReplacerCtxKey, replacer)
	w := httptest.NewRecorder()
	if !checks.Serve(w, httptest.NewRequestWithContext(ctx, method, path, http.NoBody)) {
		return nil
	}
	return w.Result()
}

func TestChecksAnswer(t *testing.T) {
	t.Parallel()
	reserved := health.Config{Reserved: "/_sesame/"}
	away := errors.New("alice@db.internal: no answer")
	for _, test := range []struct {
		name         string
		cfg          health.Config
		err          error
		shuttingDown bool
		method, path string
		status       int // 0 for a request that isn't answered
		body, retry  string
	}{
		{"alive", reserved, nil, false, "GET", "/_sesame/health", 200, "alive\n", ""},
		{"alive without MySQL", reserved, away, false, "GET", "/_sesame/health", 200, "alive\n", ""},
		{"alive until the end", reserved, nil, true, "GET", "/_sesame/health", 200, "alive\n", ""},
		{"ready", reserved, nil, false, "GET", "/_sesame/ready?x=1", 200, "ready\n", ""},
		{"ready, without a body", reserved, nil, false, "HEAD", "/_sesame/ready", 200, "", ""},
		{"not ready without MySQL", reserved, away, false, "GET", "/_sesame/ready", 503, "users can't be looked up\n", "2"},
		{"not ready, without a body", reserved, away, false, "HEAD", "/_sesame/ready", 503, "", "2"},
		{"not ready before the end", reserved, nil, true, "GET", "/_sesame/ready", 503, "shutting down\n", ""},
		{"another method", reserved, nil, false, "POST", "/_sesame/ready", 405, "", ""},
		{"another page", reserved, nil, false, "GET", "/_sesame/ready/", 0, "", ""},
		{"the application's", reserved, nil, false, "GET", "/ready", 0, "", ""},
		{"elsewhere", health.Config{HealthPath: "/healthz", ReadyPath: "/readyz", Reserved: "/_sesame/"}, nil, false, "GET", "/healthz", 200, "alive\n", ""},
		{"no longer below the reserved path", health.Config{HealthPath: "/healthz", Reserved: "/_sesame/"}, nil, false, "GET", "/_sesame/health", 0, "", ""},
		{"the other still there", health.Config{HealthPath: "/healthz", Reserved: "/_sesame/"}, nil, false, "GET", "/_sesame/ready", 200, "ready\n", ""},
		{"without reserved paths", health.Config{}, nil, false, "GET", "/_sesame/ready", 0, "", ""},
		{"a path without reserved paths", health.Config{ReadyPath: "/readyz"}, nil, false, "GET", "/readyz", 200, "ready\n", ""},
		{"off", health.Config{HealthPath: "off", ReadyPath: "off", Reserved: "/_sesame/"}, nil, false, "GET", "/_sesame/ready", 0, "", ""},
		{"off, and a request without a path", health.Config{HealthPath: "off", ReadyPath: "off"}, nil, false, "OPTIONS", "*", 0, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			answer := ask(t, newChecks(t, test.cfg, test.err), test.method, test.path, test.shuttingDown)
			if answer == nil {
				if test.status != 0 {
					t.Error("it isn't answered")
				}
				return
			}
			defer answer.Body.Close()
			body := new(strings.Builder)
			if err := answer.Write(body); err != nil {
				t.Fatal(err)
			}
			_, text, _ := strings.Cut(body.String(), "\r\n\r\n")
			if answer.StatusCode != test.status || text != test.body || answer.Header.Get("Retry-After") != test.retry {
				t.Errorf("%d %q, Retry-After %q", answer.StatusCode, text, answer.Header.Get("Retry-After"))
			}
			if test.status != http.StatusMethodNotAllowed && answer.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("a cache may keep it: %v", answer.Header)
			}
		})
	}
}

// TestChecksWithoutAReplacer are answered as those of a server that goes on.
func TestChecksWithoutAReplacer(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newChecks(t, health.Config{Reserved: "/_sesame/"}, nil).Serve(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/_sesame/ready", http.NoBody))
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

func TestPathsThatCantBeRequested(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  health.Config
		want string
	}{
		{health.Config{HealthPath: "healthz"}, `health_path "healthz": it must be a path that begins with a slash`},
		{health.Config{ReadyPath: "/"}, `ready_path "/": it must be a path`},
		{health.Config{ReadyPath: "/ready*"}, `ready_path "/ready*": "*" can't be in it`},
		{health.Config{ReadyPath: "/a/../ready"}, `requests for it come as /ready: write that`},
		{health.Config{ReadyPath: "/ready/"}, `requests for it come as /ready: write that`},
		{health.Config{HealthPath: "/_sesame/login", Reserved: "/_sesame/"}, "the gateway's own pages are below /_sesame/"},
		{health.Config{HealthPath: "/up", ReadyPath: "/up"}, "ready_path /up: health_path has the same path"},
		{health.Config{ReadyPath: "/_sesame/health", Reserved: "/_sesame/"}, "health_path has the same path"},
	} {
		if _, err := health.New(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %s", test.cfg, err, test.want)
		}
	}
}
