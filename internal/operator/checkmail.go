package operator

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/mail"
)

// shortestCertificate is how long the certificate of the mail server must still be
// valid. Authorities that renew by themselves do so a month before the end.
const shortestCertificate = 7 * 24 * time.Hour

// checkMail connects to the mail server and logs in. It sends a mail to the address
// in --mail-to, and none without it.
func (c *checker) checkMail(ctx context.Context) {
	const check = "mail"
	if c.Mail == nil {
		return
	}
	var test *mail.Message
	if c.mailTo != "" {
		test = testMail(c.mailTo)
	}
	report, err := c.Mail.Check(ctx, test)
	if err != nil {
		c.failWith(check, err)
		return
	}
	how := ", without TLS"
	if report.TLS != "" {
		how = fmt.Sprintf(" by %s, with a certificate until %s", report.TLS, report.Expires.UTC().Format(time.DateOnly))
	}
	login := ", without a login"
	if report.Mechanism != "" {
		login = ", logged in by " + report.Mechanism
	}
	sent := ""
	if test != nil {
		sent = "; it has accepted the test mail " + test.ID
	}
	c.ok(check, "%s answers%s%s%s", report.Server, how, login, sent)
	if !report.Expires.IsZero() && time.Until(report.Expires) < shortestCertificate {
		c.warn(check, "the certificate of "+report.Server+" expires on "+report.Expires.UTC().Format(time.DateOnly), "renew it on the mail server; no mail is sent after that")
	}
}

// testMail is the mail of --mail-to.
func testMail(to string) *mail.Message {
	return &mail.Message{
		To: to, ID: "test-" + time.Now().UTC().Format("20060102-150405"), Language: "en",
		Subject: "Test mail of caddy sesame",
		Text: "This mail was sent by caddy sesame check, to show that mails with links arrive.\n\n" +
			"If it is in the folder for spam, look at its header: SPF and DKIM must be \"pass\" for the domain of the sender.\n",
	}
}
