package sesame_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-sesame/caddy-sesame/token"
)

func init() { caddy.RegisterModule(new(eventRecorder)) }

// eventRecorder is a hook that an operator could configure.
type eventRecorder struct{}

var recorded struct {
	sync.Mutex
	events []caddy.Event
}

func (*eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.sesame_test_recorder", New: func() caddy.Module { return new(eventRecorder) }}
}

func (*eventRecorder) Handle(_ context.Context, event caddy.Event) error {
	recorded.Lock()
	defer recorded.Unlock()
	recorded.events = append(recorded.events, event)
	return nil
}

func (*eventRecorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

var (
	_ caddyevents.Handler   = (*eventRecorder)(nil)
	_ caddyfile.Unmarshaler = (*eventRecorder)(nil)
)

// takeEvents returns what was emitted since the last call.
func takeEvents() []caddy.Event {
	recorded.Lock()
	defer recorded.Unlock()
	events := recorded.events
	recorded.events = nil
	return events
}

// TestAuditFollowsAOneTimeLinkUntilTheLogout follows a one-time link from its use to
// the logout.
func TestAuditFollowsAOneTimeLinkUntilTheLogout(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{
			options: "one_time\nsession\nconfirm off",
			global:  "events {\n on sesame.login sesame_test_recorder\n on sesame.logout sesame_test_recorder\n on sesame.consumed sesame_test_recorder\n on sesame.rejected sesame_test_recorder\n}",
		})
		takeEvents()
		valid := tokenFor(t, alice, oneTime)
		login := g.get(t, "/a?sesame="+valid)
		login.wantStatus(t, http.StatusSeeOther)
		g.get(t, "/a?sesame="+valid).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/").wantStatus(t, http.StatusUnauthorized) // a request without credentials isn't rejected
		g.do(t, http.MethodPost, "/_sesame/logout", "Cookie", sessionCookie(t, login)).wantStatus(t, http.StatusOK)

		tokens, err := token.New(token.Settings{SecretKey: secretKey, Encoding: token.LongPacker, OneTime: true})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := tokens.Parse(valid, token.Expectation{Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		want := []struct{ event, message, path, fingerprint string }{
			{"sesame.consumed", "one-time token used", "/a", parsed.Fingerprint()},
			{"sesame.login", "login", "/a", parsed.Fingerprint()},
			{"sesame.rejected", "", "/a", ""},
			{"sesame.logout", "logout", "/_sesame/logout", ""},
		}
		events := takeEvents()
		lines := g.awaitLines(t, "http.handlers.sesame.audit", 3)
		if len(events) != len(want) || len(lines) != 3 {
			t.Fatalf("%d events and %d lines, want %d and 3: %v, %v", len(events), len(lines), len(want), events, lines)
		}
		for i, want := range want {
			data := events[i].Data
			if events[i].Name() != want.event || data["path"] != want.path || data["method"] == "" || data["client_ip"] != "127.0.0.1" || data["request_id"] == "" {
				t.Errorf("event %d is %s, %v", i, events[i].Name(), data)
			}
			if want.message == "" {
				if data["reason"] != "bad_signature" || data["user"] != nil {
					t.Errorf("the rejection says %v", data)
				}
				continue
			}
			line := lines[0]
			lines = lines[1:]
			if line["msg"] != want.message || line["level"] != "info" || line["user"] != "1" || data["user"] != "1" {
				t.Errorf("line %v, event %v; want %s of user 1", line, data, want.message)
			}
			for _, field := range []string{"request_id", "client_ip", "method", "host", "path"} {
				if line[field] != data[field] || line[field] == "" {
					t.Errorf("%s is %v in the line and %v in the event", field, line[field], data[field])
				}
			}
			if fingerprint, _ := line["token"].(string); fingerprint != want.fingerprint {
				t.Errorf("the token's fingerprint is %v, want %s", line["token"], want.fingerprint)
			}
		}
		g.wantNoToken(t, valid)
		for _, event := range events {
			for _, key := range slices.Collect(maps.Keys(event.Data)) {
				if value, _ := event.Data[key].(string); strings.Contains(value, valid) {
					t.Errorf("the event %s holds the token in %s", event.Name(), key)
				}
			}
		}
		up.take()
	})
}

// TestNothingFailsWithoutEvents has no events configured: nothing listens, and
// nothing fails.
func TestNothingFailsWithoutEvents(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time\nconfirm off"})
		takeEvents()
		valid := tokenFor(t, alice, oneTime)
		g.get(t, "/?sesame="+valid).wantStatus(t, http.StatusOK)
		g.awaitLines(t, "http.handlers.sesame.audit", 1)
		if events := takeEvents(); len(events) > 0 {
			t.Errorf("events %v", events)
		}
		up.take()
	})
}
