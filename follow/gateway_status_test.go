package follow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/faultproxy"
	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// observed is a gateway whose status, metrics and log a test reads.
type observed struct{ address, admin, log string }

// runObserved loads a gateway that follows as a DSN says.
func runObserved(t *testing.T, server *testmariadb.Server, name, dsn string) *observed {
	t.Helper()
	dir := t.TempDir()
	g := &observed{admin: filepath.Join(dir, "admin"), log: filepath.Join(dir, "log")}
	g.address = runGateway(t, fmt.Sprintf(`{
	admin unix/%s
	persist_config off
	auto_https off
	grace_period 1ns
	storage file_system %q
	log {
		output file %q
	}
}
http://:PORT {
	bind 127.0.0.1
	sesame {
		secret_key %q
		max_age 1h
		userstore mysql {
			dsn %q
			query_timeout 30s
			follow {
				dsn %q
				lease 1s
			}
		}
	}
	respond "Hello {http.auth.user.id}"
}`, g.admin, dir, g.log, gatewayKey, server.DSN(name), dsn))
	return g
}

func (g *observed) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", g.admin)
}

// get reads a path of the admin API.
func (g *observed) get(t *testing.T, path string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: g.dial, DisableKeepAlives: true}}
	answer, err := client.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v: %s", path, answer.Status, err, body)
	}
	return string(body)
}

// followState is what the admin API shows of following.
type followState struct {
	State, Server, Error      string
	Since                     time.Time
	Current                   bool
	Rows, Bytes, Hits, Misses int
	Events, Interruptions     int
	DroppedAll                int `json:"dropped_all"`
}

// awaitStatus waits until a condition holds for what the admin API shows.
func (g *observed) awaitStatus(t *testing.T, what string, holds func(followState) bool) (last followState) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		var answer struct {
			Handlers []struct{ Follow followState }
		}
		if err := json.Unmarshal([]byte(g.get(t, "/sesame/status")), &answer); err != nil || len(answer.Handlers) != 1 {
			t.Fatalf("the status has %+v, %v", answer, err)
		}
		if last = answer.Handlers[0].Follow; holds(last) {
			return last
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("never %s: %+v", what, last)
		}
	}
}

// awaitState waits until the admin API shows a state, and compares what the metrics show.
func (g *observed) awaitState(t *testing.T, state string) followState {
	t.Helper()
	shown := g.awaitStatus(t, state, func(s followState) bool { return s.State == state })
	for _, other := range userstore.FollowStates() {
		want := 0.0
		if other == state {
			want = 1
		}
		if got := g.metric(t, `caddy_sesame_follow_handlers{state="`+other+`"}`); got != want {
			t.Errorf("while it is %s, %g handlers are %s in the metrics", state, got, other)
		}
	}
	if shown.Since.IsZero() || time.Since(shown.Since) > time.Hour {
		t.Errorf("%s since %s", state, shown.Since)
	}
	return shown
}

// metric is the value of a time series.
func (g *observed) metric(t *testing.T, series string) (value float64) {
	t.Helper()
	for line := range strings.Lines(g.get(t, "/metrics")) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			if _, err := fmt.Sscan(text, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no time series %s", series)
	return 0
}

// logLine is a line of the log.
type logLine struct{ Level, Msg, Error, Server string }

// awaitLog waits until the log has so many lines with a beginning, and returns the last.
func (g *observed) awaitLog(t *testing.T, begin string, number int) logLine {
	t.Helper()
	var found []logLine
	awaitSuccess(t, func() error {
		found = nil
		text, err := os.ReadFile(g.log)
		for line := range strings.Lines(string(text)) {
			var l logLine
			if json.Unmarshal([]byte(line), &l) == nil && strings.HasPrefix(l.Msg, begin) {
				found = append(found, l)
			}
		}
		if len(found) < number {
			return fmt.Errorf("the log has %d lines with %q, and not %d: %v", len(found), begin, number, err)
		}
		return nil
	})
	return found[number-1]
}

// TestGatewayShowsWhetherItFollows has a gateway begin to follow, be interrupted, be late,
// and lose its privilege.
func TestGatewayShowsWhetherItFollows(t *testing.T) {
	server := startServer(t)
	name := database(t, server, "shown", djangoUsers, "INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'pbkdf2_sha256$1$a$b')",
		"CREATE USER sesame_follow IDENTIFIED BY 's3cret'", "GRANT REFERENCES ON shown.* TO sesame_follow")
	proxy, err := faultproxy.Start(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	dsn := "sesame_follow:s3cret@tcp(" + proxy.Addr() + ")/"
	login := tokenFor(t, "pbkdf2_sha256$1$a$b")

	g := runObserved(t, server, name, dsn)
	const grant = "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO sesame_follow"
	const impossible, interrupted, late, begins = "the server's binlog can't be followed: ", "following the server's binlog was interrupted: ",
		"the end of the server's binlog isn't reached in time: ", "following the server's binlog: "
	if shown := g.awaitState(t, userstore.FollowImpossible); !strings.Contains(shown.Error, "REPLICATION SLAVE") && !strings.Contains(shown.Error, "BINLOG MONITOR") || shown.Current {
		t.Errorf("without the privilege, the status is %+v", shown)
	}
	if line := g.awaitLog(t, impossible, 1); line.Level != "error" || line.Error == "" {
		t.Errorf("without the privilege, logged was %+v", line)
	}
	if got := ask(t, g.address, login); got != http.StatusOK {
		t.Errorf("without the privilege, the answer is %d", got)
	}

	exec(t, server, "", grant)
	g = runObserved(t, server, name, dsn) // in place of the first, which would try again later
	shown := g.awaitState(t, userstore.FollowFollowing)
	if line := g.awaitLog(t, begins, 1); line.Level != "info" || line.Server != shown.Server || shown.Server == "" || shown.Error != "" {
		t.Errorf("while it follows, logged was %+v, and the status is %+v", line, shown)
	}
	awaitFollowed(t, server, func() int { return ask(t, g.address, login) })
	hits := g.metric(t, `caddy_sesame_follow_lookups_total{result="hit"}`)
	events := g.awaitStatus(t, "current", func(s followState) bool { return s.Current }).Events
	// On a busy machine the lease may lapse for a moment at any time.
	awaitSuccess(t, func() error {
		ask(t, g.address, login)
		if got := g.metric(t, `caddy_sesame_follow_lookups_total{result="hit"}`); got < hits+3 {
			return fmt.Errorf("requests took the hits from %g to %g", hits, got)
		}
		if age := g.metric(t, "caddy_sesame_follow_lease_age_seconds"); age >= 1 {
			return fmt.Errorf("the lease is %g seconds old", age)
		}
		return nil
	})
	exec(t, server, name, "UPDATE auth_user SET last_login = NOW()")
	g.awaitStatus(t, "changed", func(s followState) bool { return s.Events > events })
	kept := g.awaitStatus(t, "kept", func(s followState) bool { ask(t, g.address, login); return s.Rows == 1 })
	if kept.Bytes == 0 || kept.Hits == 0 || kept.Misses == 0 {
		t.Errorf("the status is %+v", kept)
	}

	// The server is late, but nothing breaks.
	lapses := g.metric(t, `caddy_sesame_follow_interruptions_total{cause="lease"}`)
	proxy.Freeze()
	g.awaitStatus(t, "late", func(s followState) bool { return !s.Current })
	if got := ask(t, g.address, login); got != http.StatusOK {
		t.Errorf("without a lease, the answer is %d", got)
	}
	proxy.Pass()
	g.awaitStatus(t, "current again", func(s followState) bool { return s.Current && s.State == userstore.FollowFollowing })
	if line := g.awaitLog(t, late, 1); line.Level != "warn" || line.Server != shown.Server {
		t.Errorf("when the server was late, logged was %+v", line)
	}
	if got := g.metric(t, `caddy_sesame_follow_interruptions_total{cause="lease"}`); got < lapses+1 {
		t.Errorf("the metrics count %g lapses, and not %g at least", got, lapses+1)
	}

	// The network breaks, and comes back.
	ends := g.metric(t, `caddy_sesame_follow_interruptions_total{cause="stream"}`)
	proxy.Reset()
	if shown := g.awaitState(t, userstore.FollowInterrupted); shown.Current || shown.Error == "" || shown.Interruptions == 0 || shown.Rows != 0 {
		t.Errorf("when the network is broken, the status is %+v", shown)
	}
	if line := g.awaitLog(t, interrupted, 1); line.Level != "warn" || line.Error == "" {
		t.Errorf("when the network is broken, logged was %+v", line)
	}
	proxy.Pass()
	g.awaitState(t, userstore.FollowFollowing)
	g.awaitLog(t, begins, 2)
	if got := g.metric(t, `caddy_sesame_follow_interruptions_total{cause="stream"}`); got < ends+1 {
		t.Errorf("the metrics count %g interruptions, and not %g at least", got, ends+1)
	}

	// The account loses its privilege. The server asks for it when a stream begins.
	exec(t, server, "", "REVOKE REPLICATION SLAVE, BINLOG MONITOR ON *.* FROM sesame_follow")
	killStream(t, server)
	if shown := g.awaitState(t, userstore.FollowImpossible); shown.Current || shown.Rows != 0 || strings.Contains(shown.Error, "s3cret") {
		t.Errorf("after the privilege was lost, the status is %+v", shown)
	}
	if line := g.awaitLog(t, impossible, 1); line.Level != "error" || strings.Contains(line.Error, "s3cret") {
		t.Errorf("after the privilege was lost, logged was %+v", line)
	}
	exec(t, server, name, "UPDATE auth_user SET is_active = 0")
	if got := ask(t, g.address, login); got != http.StatusUnauthorized {
		t.Errorf("after the privilege was lost, a user who was deactivated gets %d", got)
	}
}
