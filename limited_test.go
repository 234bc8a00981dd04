package sesame_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// limited is a site that limits failures, and believes X-Forwarded-For of
// clients on this machine, so that tests can be many clients.
func limited(limit string, more ...string) site {
	return site{
		options: "limit_failures " + limit + "\n" + strings.Join(more, "\n"),
		global:  "metrics\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}",
	}
}

var limits atomic.Int64

// ownLimit makes a limit that no other test has: they would share its counts, which
// outlive a gateway by some seconds.
func ownLimit(limit string) string { return fmt.Sprintf("%s%ds", limit, limits.Add(1)) }

// from is the header field of a client's address.
func from(address string, header ...string) []string {
	return append([]string{"X-Forwarded-For", address}, header...)
}

// bad is a well-formed token that no user has.
func bad(t testing.TB) string {
	t.Helper()
	return tokenFor(t, testUser{id: 100_000 + rand.Int64N(1_000_000_000), password: "x"})
}

// wantLimited fails the test unless an answer is 429 as it should be.
func (r *response) wantLimited(t *testing.T) {
	t.Helper()
	r.wantStatus(t, http.StatusTooManyRequests)
	if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || wait < 1 || wait > 60*60 {
		t.Errorf("Retry-After: %q", r.header.Get("Retry-After"))
	}
	wantHeader(t, r.header, "Www-Authenticate", "")
	wantHeader(t, r.header, "Cache-Control", "no-store")
}

// TestLimitFailures has a client fail too often.
func TestLimitFailures(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := limited(ownLimit("5 per 31m"))
		s.logLevel = "WARN"
		g := startGateway(t, db, up, s)
		valid := tokenFor(t, alice)
		client := "203.0.113." + strconv.Itoa(1+rand.IntN(250)) // each database has one of its own
		before := metricValues(t)
		for range 5 {
			g.get(t, "/?sesame="+bad(t), from(client)...).wantStatus(t, http.StatusUnauthorized)
		}
		g.get(t, "/?sesame="+bad(t), from(client)...).wantLimited(t)
		g.get(t, "/?sesame=malformed!", from(client)...).wantLimited(t)
		g.get(t, "/", from(client, "Authorization", "Bearer "+bad(t))...).wantLimited(t)
		page := g.get(t, "/?sesame="+bad(t), from(client, "Accept", "text/html")...)
		page.wantLimited(t)
		if !strings.Contains(page.body, "Too many attempts") || !strings.Contains(page.header.Get("Content-Type"), "text/html") {
			t.Errorf("the page is %s", page.body)
		}
		up.takeNone(t)

		// Requests that aren't failures.
		missing := g.get(t, "/", from(client)...)
		missing.wantStatus(t, http.StatusUnauthorized)
		wantHeader(t, missing.header, "Retry-After", "")
		for range 3 {
			g.get(t, "/?sesame="+valid, from(client)...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			g.get(t, "/", from(client, "Authorization", "Bearer "+valid)...).wantStatus(t, http.StatusOK)
			up.takeOne(t)
		}
		g.get(t, "/?sesame="+bad(t), from("198.51.100.1")...).wantStatus(t, http.StatusUnauthorized)

		wantGrowth(t, before, map[string]float64{
			`requests_total{outcome="refused",reason="unknown_user"}`: 6,
			`requests_total{outcome="refused",reason="missing"}`:      1,

			`credentials_rejected_total{reason="malformed",scheme="token"}`:    1,
			`credentials_rejected_total{reason="unknown_user",scheme="token"}`: 9,

			`requests_total{outcome="limited",reason=""}`: 4,
			`requests_total{outcome="token",reason=""}`:   6,
			`clients_limited_total`:                       1,
		})
		lines := g.awaitLines(t, "http.handlers.sesame", 1)
		if len(lines) != 1 || lines[0]["level"] != "warn" || lines[0]["client_ip"] != client {
			t.Errorf("logged %v", lines)
		}
		g.wantNoToken(t, valid)
	})
}

// TestRequestsThatAreNoFailuresDontCount doesn't count requests without a token, ahead of a
// click, or while MySQL is away.
func TestRequestsThatAreNoFailuresDontCount(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := limited(ownLimit("2 per 32m"), "one_time")
		s.store = "query_timeout 2500ms"
		g := startGateway(t, db, up, s)
		client := from("203.0.113.1")
		valid := tokenFor(t, alice, oneTime)
		for range 5 {
			g.get(t, "/", client...).wantStatus(t, http.StatusUnauthorized)
			g.get(t, "/?sesame="+valid, append(client, "Sec-Purpose", "prefetch")...).wantStatus(t, http.StatusNoContent)
		}
		if err := mariadb.Freeze(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			g.get(t, "/?sesame="+valid, client...).wantStatus(t, http.StatusServiceUnavailable)
		}
		mariadb.Thaw()
		poll(t, "MySQL's return", func() bool {
			return g.get(t, "/?sesame="+valid, append(client, "Sec-Purpose", "prefetch")...).status == http.StatusNoContent
		})
		// A rejected prefetch is a failure: otherwise prefetching would bypass the
		// limit.
		for range 2 {
			g.get(t, "/?sesame="+bad(t), append(client, "Sec-Purpose", "prefetch")...).wantStatus(t, http.StatusUnauthorized)
		}
		g.get(t, "/?sesame="+bad(t), append(client, "Sec-Purpose", "prefetch")...).wantLimited(t)
		g.get(t, "/?sesame="+valid, client...).wantStatus(t, http.StatusOK)
		g.get(t, "/?sesame="+valid, client...).wantLimited(t)
	})
}

// TestLimitedClients tells clients apart by their addresses, as Caddy knows
// them.
func TestLimitedClients(t *testing.T) {
	up := startUpstream(t)
	db := anyDatabase(t)
	own := ownLimit("1 per 33m")
	g := startGateway(t, db, up, limited(own))
	limit := func(header ...string) {
		t.Helper()
		g.get(t, "/?sesame="+bad(t), header...).wantStatus(t, http.StatusUnauthorized)
		g.get(t, "/?sesame="+bad(t), header...).wantLimited(t)
	}
	limit(from("203.0.113.7")...)
	limit(from("203.0.113.8")...)
	limit(from("2001:db8:0:1::1")...)
	for _, same := range []string{"2001:db8:0:1:ffff::9", "2001:db8:0:1::1", "::ffff:203.0.113.7"} {
		g.get(t, "/?sesame="+bad(t), from(same)...).wantLimited(t)
	}
	limit(from("2001:db8:0:2::1")...)

	t.Run("spoofed", func(t *testing.T) {
		s := limited(own)      // the counts of before
		s.global = "metrics\n" // trusts no proxy
		g := startGateway(t, db, up, s)
		g.get(t, "/?sesame="+bad(t), from("192.0.2.1")...).wantStatus(t, http.StatusUnauthorized)
		for i := range 3 {
			g.get(t, "/?sesame="+bad(t), from(fmt.Sprintf("192.0.2.%d", 2+i))...).wantLimited(t)
		}
	})
}

// TestLimitOffCountsNoFailures has a client fail many times.
func TestLimitOffCountsNoFailures(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, limited("off"))
	for range 300 {
		g.get(t, "/?sesame="+bad(t), from("203.0.113.1")...).wantStatus(t, http.StatusUnauthorized)
	}
}

// TestLimitIsOnByDefault has a client fail until it is limited.
func TestLimitIsOnByDefault(t *testing.T) {
	up := startUpstream(t)
	g := &gateway{addr: freeAddr(t), logs: filepath.Join(t.TempDir(), "caddy.log")}
	loadCaddyfile(t, strings.Replace(g.caddyfile(anyDatabase(t), up, site{global: limited("").global}), "limit_failures off", "", 1))
	client := from(fmt.Sprintf("203.0.113.%d", limits.Add(1)%250)) // other tests have the default limit, too
	for i := range 500 {
		answer := g.get(t, "/?sesame="+bad(t), client...)
		if answer.status == http.StatusTooManyRequests {
			if i < 50 {
				t.Errorf("it was limited after %d failures", i)
			}
			return
		}
		answer.wantStatus(t, http.StatusUnauthorized)
	}
	t.Error("500 failures were not limited")
}

// TestLimitOutlivesReload keeps the counts over a reload.
func TestLimitOutlivesReload(t *testing.T) {
	up := startUpstream(t)
	db := anyDatabase(t)
	own := ownLimit("3 per 34m")
	g := startGateway(t, db, up, limited(own))
	client := from("203.0.113.1")
	for range 3 {
		g.get(t, "/?sesame="+bad(t), client...).wantStatus(t, http.StatusUnauthorized)
	}
	for _, options := range []string{"realm again", "realm \"and again\""} {
		if err := tryCaddyfile(g.caddyfile(db, up, limited(own, options))); err != nil {
			t.Fatal(err)
		}
		g.get(t, "/?sesame="+bad(t), client...).wantLimited(t)
	}
	// Another limit begins anew.
	if err := tryCaddyfile(g.caddyfile(db, up, limited(ownLimit("3 per 35m")))); err != nil {
		t.Fatal(err)
	}
	g.get(t, "/?sesame="+bad(t), client...).wantStatus(t, http.StatusUnauthorized)
}

// TestLimitedSessions forges session cookies. Real ones are served.
func TestLimitedSessions(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, limited(ownLimit("4 per 36m"), "session"))
		client := from("203.0.113." + strconv.Itoa(1+rand.IntN(250)))
		login := g.get(t, "/?sesame="+tokenFor(t, alice), client...)
		login.wantStatus(t, http.StatusSeeOther)
		session := sessionCookie(t, login)
		with := func(cookie string) []string { return append(client, "Cookie", cookie) }
		for i := range 4 {
			g.get(t, "/", with(forged(session, i))...).wantStatus(t, http.StatusUnauthorized)
		}
		answer := g.get(t, "/", with(forged(session, 4))...)
		answer.wantLimited(t)
		if !strings.Contains(fmt.Sprint(answer.header["Set-Cookie"]), "Max-Age=0") {
			t.Errorf("the forged cookie isn't cleared: %v", answer.header)
		}
		for range 3 {
			g.get(t, "/", with(session)...).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			// An old link doesn't have the session beside it rejected.
			g.get(t, "/?sesame="+bad(t), with(session)...).wantStatus(t, http.StatusOK)
			up.takeOne(t)
		}
		// A login by the link of another user of the address.
		g.get(t, "/?sesame="+tokenFor(t, carol), client...).wantStatus(t, http.StatusSeeOther)
		up.takeNone(t)
	})
}

// forged is a session cookie with another signature, one of many.
func forged(session string, n int) string {
	return session[:len(session)-10] + fmt.Sprintf("%08x", 0x10000000+n) + session[len(session)-2:]
}

// TestLimitedClientIsServedWithoutAToken serves a limited client's requests without
// a token.
func TestLimitedClientIsServedWithoutAToken(t *testing.T) {
	up := startUpstream(t)
	g := startGateway(t, anyDatabase(t), up, limited(ownLimit("1 per 37m"), "session", "optional"))
	client := from("203.0.113.1")
	login := g.get(t, "/?sesame="+tokenFor(t, alice), from("198.51.100.1")...)
	login.wantStatus(t, http.StatusSeeOther)
	for i := range 3 {
		g.get(t, "/", append(client, "Cookie", forged(sessionCookie(t, login), i))...).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "")
	}
	g.get(t, "/?sesame="+bad(t), client...).wantLimited(t)
	up.takeNone(t)
}

// TestLimitedErrorRoutes has handle_errors answer.
func TestLimitedErrorRoutes(t *testing.T) {
	up := startUpstream(t)
	s := limited(ownLimit("1 per 38m"))
	s.after = "reverse_proxy " + up.addr + "\nhandle_errors {\nrespond \"own {err.status_code} {http.auth.sesame.error}\"\n}"
	g := startGateway(t, anyDatabase(t), up, s)
	client := from("203.0.113.1")
	g.get(t, "/?sesame="+bad(t), client...).wantStatus(t, http.StatusUnauthorized)
	answer := g.get(t, "/?sesame="+bad(t), client...)
	answer.wantLimited(t)
	if answer.body != "own 429 limited" {
		t.Errorf("the page is %q", answer.body)
	}
}

// TestLimitedClientIsAnsweredByKeptRows answers a limited client by rows that are kept.
func TestLimitedClientIsAnsweredByKeptRows(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, limited(ownLimit("1 per 39m"), "cache 5m"))
		valid := tokenFor(t, alice)
		g.get(t, "/?sesame="+valid, from("198.51.100.1")...).wantStatus(t, http.StatusOK)
		client := from("203.0.113.1")
		g.get(t, "/?sesame="+bad(t), client...).wantStatus(t, http.StatusUnauthorized)
		before := questions(t, db)
		for range 10 {
			g.get(t, "/?sesame="+valid, client...).wantStatus(t, http.StatusOK)
		}
		if asked := questions(t, db) - before; asked > 0 {
			t.Errorf("MySQL was asked %d times for a row that was kept", asked)
		}
		// If a cached row would reject a request, the row is read anew.
		db.mustExec(t, "UPDATE auth_user SET password = 'new' WHERE id = 1")
		changed := alice
		changed.password = "new"
		g.get(t, "/?sesame="+tokenFor(t, changed), client...).wantStatus(t, http.StatusOK)
	})
}

// questions is how many statements MariaDB has run, but for the one that asks.
func questions(t testing.TB, db *database) int {
	t.Helper()
	var name string
	var n int
	if err := db.QueryRow("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'").Scan(&name, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// flood sends random well-formed tokens from one address, over so many
// connections, until it is stopped. It returns how many were answered how.
func flood(t testing.TB, addr string, connections int, header ...string) (stop func() map[int]int) {
	t.Helper()
	var done atomic.Bool
	var mu sync.Mutex
	answers := make(map[int]int)
	tokens, err := token.New(token.Settings{SecretKey: "not ours", Encoding: token.LongPacker})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: patience}
	var flooding sync.WaitGroup
	for range connections {
		flooding.Go(func() {
			for !done.Load() {
				password := strconv.FormatUint(rand.Uint64(), 36)
				made, err := tokens.Create(token.IntKey(int64(rand.Int32())), token.User{Password: &password}, "", time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				request, err := http.NewRequest(http.MethodGet, "http://"+addr+"/?sesame="+made, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for i := 0; i < len(header); i += 2 {
					request.Header.Add(header[i], header[i+1])
				}
				answer, err := client.Do(request)
				if err != nil {
					t.Errorf("the flood got %v", err)
					return
				}
				_ = answer.Body.Close()
				mu.Lock()
				answers[answer.StatusCode]++
				mu.Unlock()
			}
		})
	}
	return func() map[int]int {
		done.Store(true)
		flooding.Wait()
		client.CloseIdleConnections()
		return answers
	}
}

// TestValidUsersAreServedDuringAFlood floods the gateway over 64 connections. Valid
// users of the same address are served, others too, and MySQL is asked as often as
// the queue allows, however many tokens come.
func TestValidUsersAreServedDuringAFlood(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		s := limited(ownLimit("20 per 1m1s"))
		s.logLevel = "WARN"
		g := startGateway(t, db, up, s)
		limitedAnswers := func() float64 { return metricValues(t)[`requests_total{outcome="limited",reason=""}`] }
		const enough = 500
		former := limitedAnswers()
		began, before := time.Now(), questions(t, db)
		stop := flood(t, g.addr, 64, from("203.0.113.1")...)
		poll(t, "the flood to be limited", func() bool { return limitedAnswers() >= former+enough })

		const each = 10
		for range each {
			g.get(t, "/?sesame="+tokenFor(t, alice), from("203.0.113.1")...).wantStatus(t, http.StatusOK)
			g.get(t, "/", from("198.51.100.1", "Authorization", "Bearer "+tokenFor(t, carol))...).wantStatus(t, http.StatusOK)
		}
		answers := stop()
		asked, took := questions(t, db)-before, time.Since(began)
		// 20 at once, and of them one every 3s, from 64 connections that didn't
		// know yet; 20 queries a second; and the valid ones.
		most := 20 + 64 + int(took/(3*time.Second)) + int(took/(50*time.Millisecond)) + 2*each + 2
		if asked > most {
			t.Errorf("MySQL was asked %d times in %s, want %d at most", asked, took, most)
		}
		if answers[http.StatusTooManyRequests] < enough || answers[http.StatusUnauthorized] > most || len(answers) != 2 {
			t.Errorf("the flood got %v", answers)
		}
		if got := len(up.take()); got != 2*each {
			t.Errorf("the upstream got %d requests, want %d", got, 2*each)
		}
		if lines := g.awaitLines(t, "http.handlers.sesame", 1); len(lines) != 1 {
			t.Errorf("%d lines were logged", len(lines))
		}
		t.Logf("the flood got %v in %s; MySQL was asked %d times", answers, took, asked)
	})
}
