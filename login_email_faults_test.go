package sesame_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

// secretOfForm matches what differs between two answers to the same form.
var secretOfForm = regexp.MustCompile(`value="[A-Za-z0-9_-]{20,}"`)

// TestAnswerDoesntTellWhetherAnAddressIsKnown: its text and status are the same for
// every address, and the store isn't asked before it.
func TestAnswerDoesntTellWhetherAnAddressIsKnown(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "limit_client 1000 per 1h\nlimit_address 1 per 1h")
		db.mustExec(t, "UPDATE auth_user SET is_active = 0, email = 'inactive@example.com' WHERE username = 'bob'")
		db.mustExec(t, "UPDATE auth_user SET email = 'carol@example.com' WHERE username = 'carol'")
		var first string
		for _, address := range []string{alice.email, alice.email, "nobody@example.com", "inactive@example.com", "odd..@-", "ünï@exämple.com", strings.Repeat("a", 200) + "@example.com"} {
			b := newBrowser(g)
			answer := b.askForLink(t, "/_sesame/login", address)
			answer.wantStatus(t, http.StatusOK)
			body := strings.ReplaceAll(secretOfForm.ReplaceAllString(answer.body, "value"), address, "ADDRESS")
			if first == "" {
				first = body
			}
			if body != first {
				t.Errorf("%s: the answer differs: %s\nand\n%s", address, body, first)
			}
			if len(b.cookies) != 1 {
				t.Errorf("%s: the cookies are %v", address, b.cookies)
			}
		}
		if got := smtp.WaitMail(t); got.To != alice.email {
			t.Errorf("the mail is to %s", got.To)
		}
		newBrowser(g).askForLink(t, "/_sesame/login", "carol@example.com")
		if got := smtp.WaitMail(t); got.To != "carol@example.com" {
			t.Errorf("a further mail is to %s", got.To)
		}
		if logged := string(g.log(t)); strings.Contains(logged, alice.email) || strings.Contains(logged, "inactive@") {
			t.Error("the log has an address")
		}
	})
}

// TestLinksAreAskedForWhileMySQLHangs: the answer comes, and the mail when MySQL
// answers again.
func TestLinksAreAskedForWhileMySQLHangs(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "")
		b := newBrowser(g)
		b.get(t, "/_sesame/login")
		locker, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer locker.Close()
		if _, err := locker.ExecContext(t.Context(), "LOCK TABLES auth_user WRITE"); err != nil {
			t.Fatal(err)
		}
		b.fill(t, url.Values{"method": {"email_link"}, "email": {alice.email}}).wantStatus(t, http.StatusOK)
		if _, err := locker.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
		smtp.WaitMail(t)
	})
}

// TestMailServerThatHangsDelaysNobody: 64 clients ask meanwhile, and are answered.
func TestMailServerThatHangsDelaysNobody(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up := startUpstream(t)
		smtp := startMailServer(t, testsmtp.Fault{At: "connection", Do: "hang"}, testsmtp.Fault{At: "connection", Do: "hang"})
		g := mailingGateway(t, db, up, smtp, "", "limit_client 1000 per 1h\nlimit_address 1000 per 1h")
		var clients sync.WaitGroup
		var answered atomic.Int32
		for range 64 {
			clients.Go(func() {
				b := newBrowser(g)
				if b.askForLink(t, "/_sesame/login", alice.email).status == http.StatusOK {
					answered.Add(1)
				}
			})
		}
		clients.Wait()
		if n := answered.Load(); n != 64 {
			t.Errorf("%d of 64 clients were answered", n)
		}
		smtp.Wait(t, "fault") // the server was asked, and hangs
	})
}

// TestClientThatAsksTooOftenGets429 with the time to wait, whatever the addresses.
func TestClientThatAsksTooOftenGets429(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "limit_client 2 per 1h")
		b := newBrowser(g)
		b.askForLink(t, "/_sesame/login", alice.email).wantStatus(t, http.StatusOK)
		b.askForLink(t, "/_sesame/login", "nobody@example.com").wantStatus(t, http.StatusOK)
		b.askForLink(t, "/_sesame/login", alice.email).wantStatus(t, http.StatusTooManyRequests)
		if b.last.header.Get("Retry-After") == "" {
			t.Error("the answer doesn't say how long to wait")
		}
	})
}

// TestLinkAndCodeAreOneUse: of many requests with the link and the code at once,
// through two gateways, exactly one logs in.
func TestLinkAndCodeAreOneUse(t *testing.T) {
	withEachDatabase(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		base := "http://localhost"
		first := startGatewayProcess(t, db, up, mailingSite(smtp, base, "", ""))
		second := startGatewayProcess(t, db, up, mailingSite(smtp, base, "", ""))
		asker := newBrowser(first)
		sent := asker.askForLink(t, "/reports/7", alice.email)
		got := readMail(t, smtp.WaitMail(t))
		uri := uriOf(t, got.link)
		var loggedIn atomic.Int32
		var requests sync.WaitGroup
		start := make(chan struct{})
		for i := range 40 {
			g := []*gateway{first, second}[i%2]
			b := &browser{gateway: g, cookies: map[string]string{"sesame-confirm": asker.cookies["sesame-confirm"]}, last: sent}
			requests.Go(func() {
				<-start
				if i%4 < 2 {
					b.get(t, uri)
				} else {
					b.typeCode(t, got.code)
				}
				if b.isLoggedIn() {
					loggedIn.Add(1)
				}
			})
		}
		close(start)
		requests.Wait()
		if n := loggedIn.Load(); n != 1 {
			t.Errorf("%d requests have logged in, want 1", n)
		}
	})
}

// TestReloadKeepsLinks: what was asked for before a reload is valid after it, and so
// is what was counted.
func TestReloadKeepsLinks(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
		config := func(realm string) string {
			return g.caddyfile(db, up, mailingSite(smtp, "http://"+g.addr, "realm "+realm, "limit_client 2 per 1h"))
		}
		loadCaddyfile(t, config("a"))
		b := newBrowser(g)
		sent := b.askForLink(t, "/reports/7", alice.email)
		got := readMail(t, smtp.WaitMail(t))
		b.last = sent
		b.typeCode(t, "0000-0000").wantStatus(t, http.StatusUnauthorized)
		if err := tryCaddyfile(config("b")); err != nil {
			t.Fatal(err)
		}
		b.askForLink(t, "/reports/7", alice.email).wantStatus(t, http.StatusOK)
		b.askForLink(t, "/reports/7", alice.email).wantStatus(t, http.StatusTooManyRequests)
		b.last = sent
		wrong := b.typeCode(t, "0000-0000")
		wrong.wantStatus(t, http.StatusUnauthorized)
		if !strings.Contains(wrong.body, "3 attempts left") {
			t.Errorf("the reload has forgotten an attempt: %s", wrong.body)
		}
		b.typeCode(t, got.code).wantStatus(t, http.StatusSeeOther)
	})
}

// TestLengthGoesWithTheLink: a shared computer everywhere, and being remembered in the
// browser that asked.
func TestLengthGoesWithTheLink(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "limit_address 100 per 1h")
		age := func(b *browser) string {
			for _, set := range b.last.header["Set-Cookie"] {
				if strings.HasPrefix(set, "sesame=") {
					return regexp.MustCompile(`Max-Age=\d+`).FindString(set)
				}
			}
			return "no session"
		}
		for _, test := range []struct{ length, here, there string }{
			{"remember", "Max-Age=2592000", "Max-Age=43200"},
			{"shared", "", ""},
			{"", "Max-Age=43200", "Max-Age=43200"},
		} {
			here, there := newBrowser(g), newBrowser(g)
			here.askForLink(t, "/a", alice.email, "length", test.length)
			here.get(t, uriOf(t, readMail(t, smtp.WaitMail(t)).link))
			if got := age(here); got != test.here {
				t.Errorf("%q, in the browser that asked: %s", test.length, got)
			}
			newBrowser(g).askForLink(t, "/a", alice.email, "length", test.length)
			there.get(t, uriOf(t, readMail(t, smtp.WaitMail(t)).link)).wantStatus(t, http.StatusOK)
			there.press(t)
			if got := age(there); got != test.there {
				t.Errorf("%q, in another browser: %s", test.length, got)
			}
		}
	})
}

// TestHostOfARequestIsInNoMail: links lead to base_url.
func TestHostOfARequestIsInNoMail(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		g := mailingGateway(t, db, up, smtp, "", "")
		b := newBrowser(g)
		b.get(t, "/_sesame/login", "Host", "evil.wild.example.com", "X-Forwarded-Host", "evil.example")
		b.fill(t, url.Values{"method": {"email_link"}, "email": {alice.email}}, "Origin", "http://"+g.addr, "X-Forwarded-Host", "evil.example")
		if got := readMail(t, smtp.WaitMail(t)); !strings.HasPrefix(got.link, "http://"+g.addr+"/_sesame/login?") || strings.Contains(got.html, "evil") {
			t.Errorf("the link is %s", got.link)
		}
	})
}

// TestLinksNeedTheRightToWriteLastLogin: the configuration doesn't load without it,
// also where a login doesn't write it otherwise.
func TestLinksNeedTheRightToWriteLastLogin(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		up, smtp := startUpstream(t), startMailServer(t)
		reader := &database{dsn: limitedUser(t, db, "SELECT")}
		g := &gateway{addr: freeAddr(t), logs: t.TempDir() + "/caddy.log"}
		err := tryCaddyfile(g.caddyfile(reader, up, mailingSite(smtp, "http://"+g.addr, "session {\nupdate_last_login off\n}", "")))
		if err == nil || !strings.Contains(err.Error(), "UPDATE (`last_login`)") {
			t.Errorf("the error is %v", err)
		}
	})
}
