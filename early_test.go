package sesame_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestEarlyDataUsesUpNoToken sends requests as 0-RTT data over HTTP/3. Whether the server
// looks at them before the handshake is complete is up to the network, so each
// is sent until it has.
func TestEarlyDataUsesUpNoToken(t *testing.T) {
	db := anyDatabase(t)
	up := startUpstream(t)
	quic := startRawQUIC(t)
	addr, dir := freeAddr(t), t.TempDir()
	certificate, key := writeCertificate(t, dir)
	site := func(path, options string) string {
		return fmt.Sprintf("handle %s {\nsesame {\nsecret_key %q\nlimit_failures off\noptional\n%s\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}\n}\nreverse_proxy %s\n}\n", path, secretKey, options, db.dsn, up.addr)
	}
	g := &gateway{logs: filepath.Join(dir, "caddy.log")}
	loadCaddyfile(t, fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\ngrace_period 100ms\nlog {\noutput file %s\nlevel DEBUG\n}\n}\nhttps://:%s {\nbind 127.0.0.1\ntls %s %s\nlog\n%s}\n",
		g.logs, portOf(addr), certificate, key,
		site("/once/*", "one_time")+site("/login/*", "session")+site("/*", "")))

	// Caddy's TLS app may not be looked at by a handshake while it starts, and the
	// race detector sees no order between that start and a datagram. A connection
	// over TCP makes one.
	first := fieldsRequest{fields: [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "app.example.com"}, {":path", "/"}}}
	sendHTTP2(t, addr, first, first)

	get := func(uri string, early bool, more ...[2]string) quicAnswer {
		fields := append([][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "app.example.com"}, {":path", uri}}, more...)
		return quic.do(t, quicOrder{Addr: addr, Fields: fields, Early: early})
	}
	// early sends it as early data until it is looked at as such, which its
	// answer or what the upstream gets shows.
	early := func(t *testing.T, uri func() string, isSeen func(quicAnswer) bool, more ...[2]string) {
		t.Helper()
		poll(t, "early data", func() bool {
			get("/", false) // the ticket for the next connection
			up.take()
			answer := get(uri(), true, more...)
			return answer.Early && isSeen(answer)
		})
	}
	tooEarly := func(answer quicAnswer) bool {
		if answer.Status != "425" {
			return false
		}
		if fields := fmt.Sprint(answer.Fields); !strings.Contains(fields, "[cache-control no-store]") || strings.Contains(fields, "set-cookie") {
			t.Errorf("the answer has %s", fields)
		}
		up.takeNone(t)
		return true
	}

	t.Run("a one-time token isn't used up", func(t *testing.T) {
		var valid string
		early(t, func() string {
			db.mustExec(t, "UPDATE auth_user SET last_login = ? WHERE id = ?", alice.lastLogin, alice.id)
			valid = tokenFor(t, alice, oneTime)
			return "/once/a?sesame=" + valid
		}, tooEarly)
		if answer := get("/once/a?sesame="+valid, false); answer.Status != "200" {
			t.Errorf("the token is answered %s after the handshake", answer.Status)
		}
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		g.wantNoToken(t, valid)
	})
	t.Run("a link doesn't log in", func(t *testing.T) {
		uri := "/login/a?sesame=" + tokenFor(t, alice)
		early(t, func() string { return uri }, tooEarly)
		if answer := get(uri, false); answer.Status != "303" {
			t.Errorf("the link is answered %s after the handshake", answer.Status)
		}
	})
	t.Run("a reusable token passes, and the application is told", func(t *testing.T) {
		bearer := [2]string{"authorization", "Bearer " + tokenFor(t, alice)}
		early(t, func() string { return "/a" }, func(answer quicAnswer) bool {
			if answer.Status != "200" {
				t.Errorf("status %s", answer.Status)
			}
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", "alice")
			return got.header.Get("Early-Data") == "1"
		}, bearer)
		get("/a", false, bearer)
		wantHeader(t, up.takeOne(t).header, "Early-Data", "")
	})
}

// TestEarlyDataOfAProxy has a proxy in front say that a request came as early
// data.
func TestEarlyDataOfAProxy(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "one_time"})
		valid := tokenFor(t, alice, oneTime)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			answer := g.do(t, method, "/a?sesame="+valid, "Early-Data", "1")
			answer.wantStatus(t, http.StatusTooEarly)
			wantHeader(t, answer.header, "Cache-Control", "no-store")
			up.takeNone(t)
		}
		g.get(t, "/a?sesame="+valid).wantStatus(t, http.StatusOK)
		wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
		g.get(t, "/a?sesame="+valid, "Early-Data", "1").wantStatus(t, http.StatusUnauthorized)
	})
}
