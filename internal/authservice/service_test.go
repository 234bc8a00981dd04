package authservice_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/authservice"
)

func newService(t testing.TB, kind authservice.Kind) *authservice.Service {
	t.Helper()
	s, err := authservice.New(kind, []string{"Remote-User"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newRequest is a request of a proxy, as Caddy passes it to handlers.
func newRequest(header http.Header, isTrusted bool) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://gateway:9181/ask?a", strings.NewReader("body"))
	r.Header = header
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, isTrusted)
	return r
}

// TestStrangersDontHideWhatAProxyDoesWrong has requests of senders that aren't trusted
// in front of one of a proxy: the log must say what is wrong with both, and each once.
func TestStrangersDontHideWhatAProxyDoesWrong(t *testing.T) {
	t.Parallel()
	s := newService(t, authservice.AuthRequest)
	core, logs := observer.New(zap.WarnLevel)
	for _, isTrusted := range []bool{false, true, false, true} {
		r := newRequest(http.Header{}, isTrusted)
		s.Report(zap.New(core), r, s.Restore(r))
	}
	var said []string
	for _, line := range logs.All() {
		said = append(said, line.ContextMap()["error"].(string))
	}
	if all := strings.Join(said, "\n"); len(said) != 2 || !strings.Contains(all, "trusted_proxies") || !strings.Contains(all, "X-Original-Method") {
		t.Errorf("the log has %d lines:\n%s", len(said), all)
	}
}

func TestServicesThatCanNotBeRight(t *testing.T) {
	t.Parallel()
	if _, err := authservice.New("on", nil, ""); err == nil || !strings.Contains(err.Error(), "it must be forward_auth") {
		t.Errorf("a kind that isn't known: %v", err)
	}
	if _, err := authservice.New(authservice.AuthRequest, nil, "X-Assertion"); err == nil || !strings.Contains(err.Error(), "leave header out") {
		t.Errorf("an assertion that logs show: %v", err)
	}
	if _, err := authservice.New(authservice.ForwardAuth, []string{"Authorization"}, "Authorization"); err != nil {
		t.Error(err)
	}
}

// TestAnswers has a page of the gateway answer a proxy.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status        int
		forward, auth int
	}{
		{0, 401, 401}, {200, 401, 401}, {204, 401, 401}, {299, 401, 401}, {303, 303, 401}, {401, 401, 401}, {403, 403, 403}, {404, 404, 404}, {429, 429, 429}, {503, 503, 503},
	} {
		for kind, want := range map[authservice.Kind]int{authservice.ForwardAuth: test.forward, authservice.AuthRequest: test.auth} {
			for how, write := range map[string]func(http.ResponseWriter){
				"Write":    func(w http.ResponseWriter) { _, _ = w.Write([]byte("page")) },
				"ReadFrom": func(w http.ResponseWriter) { _, _ = io.Copy(w, io.LimitReader(strings.NewReader("page"), 4)) },
				"Flush":    func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
			} {
				recorder := httptest.NewRecorder()
				answer := newService(t, kind).NewAnswer(recorder)
				answer.Header().Set("Location", "/login")
				answer.Header().Set("Content-Length", "99")
				if test.status != 0 {
					answer.WriteHeader(test.status)
				}
				write(answer)
				answer.Refuse(http.StatusInternalServerError)
				if recorder.Code != want || recorder.Header().Get("Location") != "/login" || recorder.Header().Get("Content-Length") != "" {
					t.Errorf("%s, %d by %s: %d %q, want %d", kind, test.status, how, recorder.Code, recorder.Header(), want)
				}
			}
		}
	}
	for _, kind := range []authservice.Kind{authservice.ForwardAuth, authservice.AuthRequest} {
		recorder := httptest.NewRecorder()
		answer := newService(t, kind).NewAnswer(recorder)
		answer.Header().Add("Set-Cookie", "renewed")
		answer.Grant(newRequest(http.Header{"Remote-User": {"alice"}, "Cookie": {"app=1"}, "Referer": {"/"}, "X-Other": {"a"}, "Accept": {"b"}}, true))
		answer.Refuse(http.StatusInternalServerError)
		got := recorder.Header()
		if recorder.Code != 200 || got.Get("Remote-User") != "alice" || got.Get("Cookie") != "app=1" || got.Get("Referer") != "/" || got.Get("Set-Cookie") != "renewed" || got.Get("X-Other") != "" || got.Get("Authorization") != "" {
			t.Errorf("a yes: %d %q", recorder.Code, got)
		}
	}
}

func TestRequestIsTheClientsForPlaceholdersToo(t *testing.T) {
	t.Parallel()
	r := newRequest(http.Header{
		"X-Forwarded-Method": {"POST"}, "X-Forwarded-Uri": {"/a%2Fb?c=%20"}, "X-Forwarded-Host": {"app.example.com"}, "X-Forwarded-Proto": {"WSS"},
		"Sec-Websocket-Version": {"13"}, "Content-Type": {"text/plain"}, "X-Original-Uri": {"/forged"},
	}, true)
	if err := newService(t, authservice.ForwardAuth).Restore(r); err != nil {
		t.Fatal(err)
	}
	if r.Method != http.MethodPost || r.RequestURI != "/a%2Fb?c=%20" || r.URL.Path != "/a/b" || r.Host != "app.example.com" || r.Header.Get("X-Forwarded-Proto") != "https" || r.Header.Get("Upgrade") != "websocket" {
		t.Errorf("%s %s %q %q", r.Method, r.RequestURI, r.Host, r.Header)
	}
	for _, name := range []string{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Uri", "Content-Type"} {
		if r.Header[name] != nil {
			t.Errorf("%s is left", name)
		}
	}
	if body, _ := io.ReadAll(r.Body); len(body) > 0 {
		t.Errorf("the body is %q", body)
	}
	original, _ := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if original.Method != http.MethodPost || original.RequestURI != "/a%2Fb?c=%20" || original.URL == r.URL {
		t.Errorf("Caddy's copy is %s %s", original.Method, original.RequestURI)
	}
}

// TestCopiedRequestIsRejected: placeholders would read another request than the
// handler.
func TestCopiedRequestIsRejected(t *testing.T) {
	t.Parallel()
	r := newRequest(http.Header{"X-Forwarded-Method": {"GET"}, "X-Forwarded-Uri": {"/"}}, true)
	err := newService(t, authservice.ForwardAuth).Restore(r.Clone(r.Context()))
	if wrong, ok := errors.AsType[*authservice.Misasked](err); !ok || wrong.Status != http.StatusInternalServerError {
		t.Errorf("a copy: %v", err)
	}
	if err := newService(t, authservice.ForwardAuth).Restore(r); err != nil {
		t.Errorf("the request itself: %v", err)
	}
}

// FuzzRestoredRequestIsWhatTheProxySays or there is none.
func FuzzRestoredRequestIsWhatTheProxySays(f *testing.F) {
	f.Add("GET", "/a?b", "app.example.com", "https", "", true)
	f.Add("POST", "//evil/%2e%2e", "[::1]:80", "ws", "http://h/x", false)
	f.Add("GET", "http://evil/", "a b", "ftp", "x://", true)
	f.Fuzz(func(t *testing.T, method, uri, host, proto, whole string, isForward bool) {
		header := http.Header{"X-Forwarded-Host": {host}, "X-Forwarded-Proto": {proto}}
		kind := authservice.ForwardAuth
		if isForward {
			header["X-Forwarded-Method"], header["X-Forwarded-Uri"], header["X-Original-Uri"] = []string{method}, []string{uri}, []string{"/forged"}
		} else {
			kind = authservice.AuthRequest
			header["X-Original-Method"], header["X-Original-Uri"], header["X-Original-Url"] = []string{method}, []string{uri}, []string{whole}
		}
		if err := newService(t, kind).Restore(newRequest(header.Clone(), false)); err == nil {
			t.Error("a sender who isn't trusted is believed")
		}
		r := newRequest(header, true)
		if err := newService(t, kind).Restore(r); err != nil {
			if _, ok := errors.AsType[*authservice.Misasked](err); !ok {
				t.Errorf("%v", err)
			}
			return
		}
		if r.Method != method || !strings.HasPrefix(r.RequestURI, "/") || uri != "" && r.RequestURI != uri || r.URL.Host != "" || strings.ContainsAny(r.RequestURI, " \r\n") {
			t.Errorf("%s %q of %q: %s %q", method, uri, whole, r.Method, r.RequestURI)
		}
		if strings.ContainsAny(r.Host, "/@\r\n ") {
			t.Errorf("the host is %q", r.Host)
		}
	})
}
