package sesame

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/hashing"
	"github.com/caddy-sesame/caddy-sesame/internal/identity"
	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func TestPreflightIsToldFromOtherOptionsRequests(t *testing.T) {
	t.Parallel()
	const from, asks = "Origin: https://other.example", "Access-Control-Request-Method: PUT"
	for _, test := range []struct {
		method, fields string
		want           bool
	}{
		{http.MethodOptions, from + "\n" + asks, true},
		{http.MethodOptions, from, false},
		{http.MethodOptions, asks, false},
		{http.MethodOptions, "", false},
		{http.MethodGet, from + "\n" + asks, false},
		{http.MethodPost, from + "\n" + asks, false},
	} {
		if got := origin.IsPreflight(receive(test.method, "/", test.fields)); got != test.want {
			t.Errorf("%s with %q: %v, want %v", test.method, test.fields, got, test.want)
		}
	}
}

func TestStatusesAheadOfTheAnswerAreTold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, fields string
		want           bool
	}{
		{http.MethodGet, "", false},
		{http.MethodPost, "", false},
		{http.MethodPut, "", false},
		{http.MethodDelete, "", false},
		{http.MethodHead, "", true},
		{http.MethodOptions, "", true},
		{http.MethodTrace, "", true},
		{http.MethodGet, "Sec-Purpose: prefetch", true},
		{http.MethodGet, "Sec-Purpose: prefetch;prerender", true},
		{http.MethodGet, "Sec-Purpose: prerender", true},
		{http.MethodGet, "Purpose: PREFETCH", true},
		{http.MethodGet, "X-Purpose: preview", true},
		{http.MethodGet, "X-Moz: prefetch", true},
		{http.MethodGet, "Sec-Purpose: other\nSec-Purpose: prefetch", true},
		{http.MethodGet, "Sec-Purpose: other", false},
		{http.MethodGet, "Purpose:", false},
		{http.MethodGet, "X-Other: prefetch", false},
	} {
		if got := origin.IsAhead(receive(test.method, "/", test.fields)); got != test.want {
			t.Errorf("%s with %q: %v, want %v", test.method, test.fields, got, test.want)
		}
	}
}

// countingWriter counts status lines.
type countingWriter struct {
	*httptest.ResponseRecorder
	codes []int
}

func (w *countingWriter) WriteHeader(code int) {
	w.codes = append(w.codes, code)
	w.ResponseRecorder.WriteHeader(code)
}

func TestInformationalAnswersPassThrough(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]int{http.MethodHead: http.StatusOK, http.MethodGet: http.StatusNoContent, http.MethodOptions: http.StatusNoContent} {
		w := &countingWriter{ResponseRecorder: httptest.NewRecorder()}
		if err := answerAhead(w, receive(method, "/", "")); err != nil || !slices.Equal(w.codes, []int{want}) {
			t.Errorf("%s: %v, %v; want %d", method, w.codes, err, want)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", method, got)
		}
		if got := w.Header().Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("%s: Referrer-Policy %q", method, got)
		}
	}
}

// credential takes a token out of a request with a header field, and parses it.
func credential(t *testing.T, tokens *token.Tokens, field string, now time.Time) *authn.TokenCredential {
	t.Helper()
	sources, err := claim.New("", nil)
	if err != nil {
		t.Fatal(err)
	}
	scheme := &authn.Token{Sources: sources, Keys: func(context.Context) (*token.Tokens, error) { return tokens, nil }}
	taken := scheme.Take(receive(http.MethodGet, "/", field))
	if len(taken) != 1 {
		t.Fatalf("%d credentials in %s", len(taken), field)
	}
	_, _ = taken[0].Subject(t.Context(), authn.At{Now: now}) // it may be expired
	return taken[0].(*authn.TokenCredential)
}

// TestRejectionIsLoggedAtDebugOnly checks the line at DEBUG, and that other levels
// allocate nothing for it.
func TestRejectionIsLoggedAtDebugOnly(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	tokens, err := token.New(token.Settings{SecretKey: "secret", Encoding: token.LongPacker, MaxAge: new(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	ageless, err := token.New(token.Settings{SecretKey: "secret", Encoding: token.LongPacker})
	if err != nil {
		t.Fatal(err)
	}
	made := func(tokens *token.Tokens) *authn.TokenCredential {
		value, err := tokens.Create(token.IntKey(42), token.User{Password: new("p")}, "", now.Add(-90*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return credential(t, tokens, "Authorization: Bearer "+value, now)
	}
	for _, test := range []struct {
		name   string
		given  *authn.TokenCredential
		reason error
		want   map[string]any
	}{
		{"missing", nil, token.Missing, map[string]any{"reason": "missing"}},
		{"not parsed", credential(t, tokens, "Authorization: Bearer x", now), token.Malformed, map[string]any{"reason": "malformed", "token_from": "bearer"}},
		{"expired", made(tokens), token.Expired, map[string]any{
			"reason": "expired", "token_from": "bearer", "user": "42", "version": "v2", "age": 90 * time.Second, "created": now.Add(-90 * time.Second),
		}},
		{"without a time", made(ageless), token.BadSignature, map[string]any{
			"reason": "bad_signature", "token_from": "bearer", "user": "42", "version": "v2",
		}},
		{"no reason of a token's", made(tokens), errAhead, map[string]any{
			"token_from": "bearer", "user": "42", "version": "v2", "age": 90 * time.Second, "created": now.Add(-90 * time.Second),
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			core, logged := observer.New(zapcore.DebugLevel)
			g := &gate{config: new(Handler), logger: zap.New(core), now: func() time.Time { return now }}
			if err := g.rejected(receive(http.MethodGet, "/path?q=1", ""), test.given, test.reason); !errors.Is(err, test.reason) {
				t.Errorf("returned %v", err)
			}
			lines := logged.TakeAll()
			if len(lines) != 1 {
				t.Fatalf("logged %v", lines)
			}
			got := lines[0].ContextMap()
			if got["error"] != test.reason.Error() || got["path"] != "/path" {
				t.Errorf("logged %v", got)
			}
			if created, ok := got["created"].(time.Time); ok {
				got["created"] = created.UTC()
			}
			for _, name := range []string{"reason", "token_from", "user", "version", "age", "created"} {
				if got[name] != test.want[name] {
					t.Errorf("%s: %v, want %v", name, got[name], test.want[name])
				}
			}

			core, logged = observer.New(zapcore.InfoLevel)
			g.logger = zap.New(core)
			if err := g.rejected(receive(http.MethodGet, "/", ""), test.given, test.reason); !errors.Is(err, test.reason) || logged.Len() > 0 {
				t.Errorf("returned %v, logged %v", err, logged.All())
			}
		})
	}
}

// TestLoginFailuresAreCounted counts rejected links where links log in. No other
// test has a token rejected for this reason.
func TestLoginFailuresAreCounted(t *testing.T) {
	t.Parallel()
	const reason = token.MaxAgeUnsupported
	from := func(source string) *authn.TokenCredential {
		given := authn.TokenCredential{Given: claim.Token{From: source}}
		return given.As(new(authn.Token), "")
	}
	for _, test := range []struct {
		logins *logins
		given  *authn.TokenCredential
		want   uint64
	}{
		{new(logins), from(claim.FromQuery), 1},
		{new(logins), from(claim.FromBearer), 0},
		{new(logins), nil, 0},
		{nil, from(claim.FromQuery), 0},
	} {
		g := &gate{config: new(Handler), counts: new(tally), logger: zap.NewNop(), logins: test.logins, token: new(authn.Token)}
		before := g.counts.loginFailures[reason].Load()
		_ = g.rejected(receive(http.MethodGet, "/", ""), test.given, reason)
		if got := g.counts.loginFailures[reason].Load() - before; got != test.want {
			t.Errorf("%+v: counted %d, want %d", test, got, test.want)
		}
	}
}

// TestEach503SaysWhy: for each reason, a line at once, then one every so often that
// says how many were left out. A form of the login page is shown again.
func TestEach503SaysWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testEach503SaysWhy) // in which no time passes
}

func testEach503SaysWhy(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	g, err := newRequestGate(new(Handler), new(tally))
	if err != nil {
		t.Fatal(err)
	}
	g.logger = zap.New(core)
	unavailable := func(why string) error { return fmt.Errorf("%w: %s", userstore.ErrUnavailable, why) }
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		err  error
		wait string
		line string // and its error; empty for none
	}{
		{unavailable("a lookup"), "2", "the user store has no answer; requests get 503: the user store is unavailable: a lookup"},
		{unavailable("a lookup"), "2", ""},
		{unavailable("a write"), "2", "the user store has no answer; requests get 503: the user store is unavailable: a write"},
		{&hashing.Busy{Wait: 5 * time.Second}, "5", "too many passwords are to be hashed; requests get 503: too many password checks are waiting; try again in 5s"},
		{&hashing.Busy{Wait: 5 * time.Second}, "5", ""},
		{fmt.Errorf("the queue of a former configuration: %w", ended.Err()), "2", "the user store has no answer; requests get 503: the queue of a former configuration: context canceled"},
	} {
		for _, answer := range []func(w http.ResponseWriter, r *http.Request) error{
			func(w http.ResponseWriter, r *http.Request) error { return g.refuser.fail(w, r, test.err) },
			func(w http.ResponseWriter, r *http.Request) error {
				v := &visit{g: g, r: r}
				if delay, ok := v.Delay(w, test.err); ok {
					w.WriteHeader(delay.Status)
					return nil
				}
				return v.Fail(w, test.err)
			},
		} {
			w := httptest.NewRecorder()
			if err := answer(w, receive(http.MethodPost, "/_sesame/login", "")); err != nil || w.Code != http.StatusServiceUnavailable {
				t.Errorf("%v: status %d, %v", test.err, w.Code, err)
			}
			if got := w.Header().Get("Retry-After"); got != test.wait {
				t.Errorf("%v: Retry-After: %s, want %s", test.err, got, test.wait)
			}
		}
		lines := logged.TakeAll()
		if test.line == "" && len(lines) > 0 || test.line != "" && (len(lines) != 1 || lines[0].Message+": "+fmt.Sprint(lines[0].ContextMap()["error"]) != test.line) {
			t.Errorf("%v: logged %v", test.err, lines)
		}
	}
}

// TestRequestWithoutATokenHasNoIdentity: a request without a token has no user, or
// the one that an earlier handler has authenticated; never the one that the client
// names. The next handler's error is returned to the server.
func TestRequestWithoutATokenHasNoIdentity(t *testing.T) {
	const preflight = "Origin: https://other.example\nAccess-Control-Request-Method: PUT"
	failed := errors.New("of next")
	for name, test := range map[string]struct {
		method, fields, scope string
		optional              bool
	}{
		"optional":                       {http.MethodGet, "", "", true},
		"optional, with an empty scope":  {http.MethodGet, "", "{http.vars.none}", true},
		"a preflight":                    {http.MethodOptions, preflight, "", true},
		"a preflight where tokens apply": {http.MethodOptions, preflight, "", false},
	} {
		g, err := newRequestGate(&Handler{Optional: test.optional, Scope: test.scope, Preflight: preflightPass}, new(tally))
		if err != nil {
			t.Fatal(err)
		}
		for user, want := range map[*userstore.User]string{nil: "", {PrimaryKey: token.IntKey(7)}: "7"} {
			r := receive(test.method, "/", test.fields+"\nRemote-User: admin")
			if user != nil {
				identity.SetUser(r, user)
			}
			before := g.counts.requests[outcomeAnonymous].Load()
			err := g.serveHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
				if got := r.Header.Get("Remote-User"); got != want {
					t.Errorf("%s: Remote-User %q, want %q", name, got, want)
				}
				return failed
			}))
			if !errors.Is(err, failed) {
				t.Errorf("%s: %v, want the next handler's error", name, err)
			}
			if grown := g.counts.requests[outcomeAnonymous].Load() - before; grown != 1 {
				t.Errorf("%s: counted %d times", name, grown)
			}
		}
	}
}
