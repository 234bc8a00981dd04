package follow_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// sites is a real Caddy with several sites before one database.
type sites struct {
	server  databaseServer
	db      *sql.DB // of its administrator
	address string
	logFile string
	store   string // the block userstore, but for follow
	account string // the DSN of follow
	lease   string
	reloads int
}

// siteHosts are the names of the sites, and metricsHost is that of the metrics.
var siteHosts = []string{"a.example.com", "b.example.com", "c.example.com"}

const metricsHost = "metrics.example.com"

// caddyfile is the configuration, with further sites.
func (s *sites) caddyfile(follow, more string) string {
	s.reloads++ // an equal configuration isn't loaded
	text := fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	grace_period 1ns
	log {
		output file %q
	}
}
http://%s:PORT {
	bind 127.0.0.1
	metrics
}
`, s.logFile, metricsHost)
	for _, host := range siteHosts {
		text += s.site(host, "", follow)
	}
	return text + more
}

// site is a site with its own options in userstore, and those of follow.
func (s *sites) site(host, store, follow string) string {
	if !strings.Contains(store, "query_timeout") {
		store += "\nquery_timeout 30s" // a busy machine may be slow
	}
	return fmt.Sprintf(`http://%s:PORT {
	bind 127.0.0.1
	header Loaded %d
	sesame {
		secret_key %q
		max_age 1h
		limit_failures off
		userstore mysql {
			dsn %q
			%s
			follow {
				dsn %q
				lease %s
				%s
			}
		}
	}
	respond {http.auth.user.id}
}
`, host, s.reloads, gatewayKey, s.store, store, s.account, s.lease, follow)
}

// startSites runs the sites until the test ends.
func startSites(t *testing.T) *sites {
	t.Helper()
	return startSitesWith(t, startServer(t), "1m")
}

// startSitesWith is startSites with a server and a lease.
func startSitesWith(t *testing.T, server databaseServer, lease string) *sites {
	t.Helper()
	name := database(t, server, "gateway", djangoUsers,
		"INSERT INTO auth_user (id, username, password) VALUES (1, 'ann', 'p')",
		"CREATE USER IF NOT EXISTS sesame IDENTIFIED BY 'sesame'", "GRANT SELECT ON gateway.auth_user TO sesame",
		"CREATE USER IF NOT EXISTS sesame_follow IDENTIFIED BY 'follow'", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO sesame_follow",
		"GRANT REFERENCES ON gateway.* TO sesame_follow")
	s := &sites{
		server: server, db: open(t, server, ""), logFile: filepath.Join(t.TempDir(), "caddy.log"),
		store: server.UserDSN("sesame", "sesame", name), account: server.UserDSN("sesame_follow", "follow", ""),
		lease: lease,
	}
	s.address = runGateway(t, s.caddyfile("", ""))
	s.awaitKept(t)
	return s
}

// load loads a configuration in place of the present one.
func (s *sites) load(caddyfile string) error {
	_, port, _ := strings.Cut(s.address, ":")
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.ReplaceAll(caddyfile, "PORT", port)), nil)
	if err != nil {
		return err
	}
	return caddy.Load(adapted, true)
}

// reload loads a configuration whose sites respond with another header.
func (s *sites) reload(t *testing.T, follow, more string) {
	t.Helper()
	if err := s.load(s.caddyfile(follow, more)); err != nil {
		t.Fatal(err)
	}
}

// ask returns the status of a site's answer to a request with the user's token.
func (s *sites) ask(t *testing.T, host string) int {
	t.Helper()
	status, _ := s.get(t, host)
	return status
}

func (s *sites) get(t *testing.T, host string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	request.Header.Set("Authorization", "Bearer "+tokenFor(t, "p"))
	for deadline := time.Now().Add(patience); ; {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			content, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if err == nil {
				return answer.StatusCode, string(content)
			}
		}
		// Linux resets what waits at a listener that is replaced, in any Caddy; that is no
		// answer of the gateway's.
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// lookups are how many lookups a request to each site takes.
func (s *sites) lookups(t *testing.T) (n uint64) {
	t.Helper()
	before := userstore.AllTotals().Lookups
	for _, host := range siteHosts {
		if got := s.ask(t, host); got != http.StatusOK {
			t.Fatalf("the answer of %s is %d", host, got)
		}
	}
	return userstore.AllTotals().Lookups - before
}

// awaitKept waits until no site takes a lookup.
func (s *sites) awaitKept(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.lookups(t) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("requests still take lookups")
		}
	}
}

// awaitAll waits until each site answers with a status.
func (s *sites) awaitAll(t *testing.T, want int) {
	t.Helper()
	for _, host := range siteHosts {
		for deadline := time.Now().Add(patience); s.ask(t, host) != want; {
			if time.Now().After(deadline) {
				t.Fatalf("the answer of %s isn't %d", host, want)
			}
		}
	}
}

// connections are the IDs of the connections of an account with a command.
func (s *sites) connections(t *testing.T, condition string) (ids []int) {
	t.Helper()
	rows, err := s.db.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE " + condition)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func (s *sites) streams(t *testing.T) []int { return s.connections(t, "COMMAND = 'Binlog Dump'") }

// awaitStreams waits until there are so many streams. A server notices that the client
// of one is gone when it sends something.
func (s *sites) awaitStreams(t *testing.T, want int) []int {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.After(patience); ; {
		exec(t, s.server, "gateway", "INSERT INTO auth_user (id, username, password) VALUES (9, 'x', 'y')", "DELETE FROM auth_user WHERE id = 9")
		ids := s.streams(t)
		if len(ids) == want {
			return ids
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("there are the streams %v; want %d", ids, want)
		}
	}
}

// logged counts the lines of Caddy's log with a text.
func (s *sites) logged(t *testing.T, text string) int {
	t.Helper()
	log, err := os.ReadFile(s.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// TestSitesShareAStreamThatOutlivesReloads counts streams on the server, and lookups.
func TestSitesShareAStreamThatOutlivesReloads(t *testing.T) {
	const begins = "following the server's binlog: rows are used"
	s := startSites(t)
	first := s.awaitStreams(t, 1)
	wantSame := func(after string) {
		t.Helper()
		if n := s.lookups(t); n > 0 {
			t.Errorf("after %s, kept rows take %d lookups", after, n)
		}
		if now := s.streams(t); !slices.Equal(now, first) {
			t.Errorf("after %s, the streams are %v, and not %v", after, now, first)
		}
		if n := s.logged(t, begins); n != 1 {
			t.Errorf("after %s, %d lines say that the binlog is followed", after, n)
		}
	}
	s.awaitKept(t)
	for range 5 {
		s.reload(t, "", "")
		wantSame("a reload")
	}
	_, metrics := s.get(t, metricsHost)
	for _, line := range []string{"caddy_sesame_follow_rows 1\n", `caddy_sesame_follow_handlers{state="following"} 3` + "\n"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %q:\n%s", line, metrics)
		}
	}

	// The rows of the sites that are there go on while others come.
	own := s.site("d.example.com", "query_timeout 5s", "")
	if err := s.load(s.caddyfile("", own+s.site("e.example.com", "columns nonsense", ""))); err == nil {
		t.Fatal("a column that isn't there passed")
	}
	s.awaitStreams(t, 1)
	s.awaitKept(t) // the row that awaitStreams has changed is another
	if now := s.streams(t); !slices.Equal(now, first) {
		t.Errorf("after a reload that failed, the streams are %v, and not %v", now, first)
	}
	s.reload(t, "", own)
	if n := s.lookups(t); n > 0 {
		t.Errorf("beside a new site, kept rows take %d lookups", n)
	}
	if both := s.awaitStreams(t, 2); !slices.Contains(both, first[0]) {
		t.Errorf("beside a new site's stream, the former one %v has become %v", first, both)
	}
	s.reload(t, "", "")
	if n := s.lookups(t); n > 0 {
		t.Errorf("after the site is gone, kept rows take %d lookups", n)
	}

	// A site that reads other columns has rows of its own by the same stream.
	begun := s.logged(t, begins)
	s.reload(t, "", s.site("d.example.com", "columns is_superuser", ""))
	for _, want := range []string{"a lookup", "a kept row"} {
		before := userstore.AllTotals().Lookups
		if got := s.ask(t, "d.example.com"); got != http.StatusOK {
			t.Errorf("the new site's answer is %d", got)
		}
		if isKept := userstore.AllTotals().Lookups == before; isKept != (want == "a kept row") {
			t.Errorf("the new site's row isn't from %s", want)
		}
	}
	if n := s.logged(t, begins); n != begun {
		t.Errorf("%d streams have begun for other columns", n-begun)
	}

	// Other settings are another stream, and the former ones end.
	s.reload(t, "max_users 5", "")
	s.awaitKept(t)
	if now := s.awaitStreams(t, 1); slices.Equal(now, first) {
		t.Error("with other settings, the former stream goes on")
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	s.awaitStreams(t, 0)
	s.awaitNothing(t)
}

// awaitNothing waits until neither a connection nor a goroutine of following is left.
func (s *sites) awaitNothing(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stacks := make([]byte, 16<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left := 0
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			isTest := strings.Contains(stack, "testing.tRunner(") // such as those of the package that wait for their turn
			if !isTest && (strings.Contains(stack, "caddy-sesame/userstore.") || strings.Contains(stack, "caddy-sesame/follow.")) {
				left++
			}
		}
		connections := s.connections(t, "USER LIKE 'sesame%'")
		if left == 0 && len(connections) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and the connections %v are left:\n%s", left, connections, stacks)
		}
	}
}

// TestChangesDuringReloadsEndRows changes a user while configurations are loaded: equal
// ones, ones with other settings, and ones that can't be loaded.
func TestChangesDuringReloadsEndRows(t *testing.T) {
	s := startSites(t)
	for i, load := range []func() error{
		func() error { return s.load(s.caddyfile("", "")) },
		func() error { return s.load(s.caddyfile("max_users 7", "")) },
		func() error {
			if err := s.load(s.caddyfile("max_users 7", s.site("d.example.com", "columns nonsense", ""))); err == nil {
				return errors.New("a column that isn't there passed")
			}
			return nil
		},
	} {
		for _, test := range []struct{ active, want int }{{0, http.StatusUnauthorized}, {1, http.StatusOK}} {
			loaded := make(chan error)
			go func() { loaded <- load() }()
			exec(t, s.server, "gateway", fmt.Sprintf("UPDATE auth_user SET is_active = %d", test.active))
			s.awaitAll(t, test.want) // by the former configuration, or the new one
			if err := <-loaded; err != nil {
				t.Fatalf("%d: %s", i, err)
			}
			s.awaitAll(t, test.want)
		}
		s.awaitKept(t)
	}
}
