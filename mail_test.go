package sesame_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

// mailingOptions are options of a site that sends mails by a server.
func mailingOptions(smtp *testsmtp.Server) string {
	return mailingSite(smtp, "https://app.example.com", "max_age 10m", "").options
}

// TestMailsOutliveReloads reloads the configuration while a mail waits for its next
// try: with the same mail server, and then without any.
func TestMailsOutliveReloads(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		later := testsmtp.Fault{At: "rcpt", Do: "451 4.7.1 later"}
		up, smtp := startUpstream(t), startMailServer(t, later)
		g := mailingGateway(t, db, up, smtp, "", "")
		newBrowser(g).askForLink(t, "/", alice.email).wantStatus(t, http.StatusOK)
		smtp.Wait(t, "fault")
		for range 3 {
			for _, options := range []string{"realm again", ""} {
				if err := tryCaddyfile(g.caddyfile(db, up, mailingSite(smtp, "http://"+g.addr, options, ""))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := smtp.WaitMail(t); got.To != alice.email {
			t.Errorf("the mail is to %s", got.To)
		}

		smtp.Fail(t, later)
		newBrowser(g).askForLink(t, "/", alice.email).wantStatus(t, http.StatusOK)
		smtp.Wait(t, "fault")
		if err := tryCaddyfile(g.caddyfile(db, up, site{})); err != nil {
			t.Fatal(err)
		}
		smtp.WaitMail(t)
		if mails := smtp.Mails(t); len(mails) != 2 {
			t.Errorf("%d mails were sent, want 2", len(mails))
		}
	})
}

func TestAdminEndpointTellsTheStatusOfTheMailServer(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		smtp := startMailServer(t)
		a := startAdmin(t, db, adminSite("app.example.com", mailingOptions(smtp)))
		r := a.call(t, http.MethodGet, "/sesame/status", "")
		r.wantStatus(t, http.StatusOK)
		var answer struct{ Mail []map[string]any }
		if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint(map[string]any{"server": hostOf(t, smtp.URL), "queued": 0.0, "healthy": true})
		// For a moment, those of the configuration before are there, too.
		if !slices.ContainsFunc(answer.Mail, func(status map[string]any) bool { return fmt.Sprint(status) == want }) {
			t.Errorf("got %v, want %v", answer.Mail, want)
		}
	})
}

// hostOf is the host and the port of a URL.
func hostOf(t *testing.T, text string) string {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Host
}

func TestCheckCommandTriesTheMailServer(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		smtp := startMailServer(t)
		o := newOperator(t, oneSite(mailingOptions(smtp), ""), db.dsn)
		r := o.run(t, "check")
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "ok    mail          "+hostOf(t, smtp.URL)+" answers by TLS 1.3, with a certificate until ",
			"warn  mail          the certificate of ") // it is valid for a day
		if mails := smtp.Mails(t); len(mails) != 0 {
			t.Errorf("it sent %+v", mails)
		}
		r = o.run(t, "check", "--mail-to", "operator@example.net")
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "it has accepted the test mail test-")
		if got := smtp.WaitMail(t); got.To != "operator@example.net" || !strings.Contains(got.Content, "Subject: Test mail of caddy sesame\r\n") {
			t.Errorf("it sent %+v", got)
		}

		smtp.Fail(t, testsmtp.Fault{At: "mail", Do: "553 5.7.1 no-reply@example.com isn't yours"})
		r = o.run(t, "check")
		r.wantStatus(t, 1)
		wantText(t, r.stdout, "fail  mail          "+hostOf(t, smtp.URL)+": MAIL FROM: 553 5.7.1 …@example.com isn't yours")

		r = newOperator(t, oneSite("max_age 10m", ""), db.dsn).run(t, "check", "--mail-to", "operator@example.net")
		r.wantStatus(t, 1)
		wantText(t, r.stderr, "--mail-to: no mail server is configured")
	})
}
