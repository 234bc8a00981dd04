package mail

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

func TestCheckReportsHowTheServerIsReached(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		options testsmtp.Options
		want    Report
	}{
		{testsmtp.Options{TLS: testsmtp.ImplicitTLS, User: account, Password: hush}, Report{TLS: "TLS 1.3", Mechanism: "PLAIN"}},
		{testsmtp.Options{TLS: testsmtp.STARTTLS, User: account, Password: hush, Mechanisms: []string{"LOGIN"}}, Report{TLS: "TLS 1.3", Mechanism: "LOGIN"}},
		{testsmtp.Options{}, Report{}},
	} {
		server := smtpServer.Start(t, test.options)
		report, err := configFor(server).Check(t.Context(), nil)
		if err != nil {
			t.Errorf("%+v: %v", test.options, err)
			continue
		}
		if lasts := time.Until(report.Expires); test.want.TLS != "" && (lasts < 23*time.Hour || lasts > 24*time.Hour) {
			t.Errorf("%+v: the certificate expires in %s", test.options, lasts)
		}
		test.want.Expires, test.want.Server = report.Expires, server.URL[strings.LastIndexAny(server.URL, "@/")+1:]
		if *report != test.want {
			t.Errorf("%+v: %+v, want %+v", test.options, *report, test.want)
		}
		if mails := server.Mails(t); len(mails) != 0 {
			t.Errorf("%+v: it sent %+v", test.options, mails)
		}
		m := mailTo("user1")
		if _, err := configFor(server).Check(t.Context(), &m); err != nil {
			t.Errorf("%+v: %v", test.options, err)
		}
		if mails := server.Mails(t); len(mails) != 1 || mails[0].To != "user1@example.net" {
			t.Errorf("%+v: it sent %+v", test.options, mails)
		}
	}
}

func TestCheckSaysWhyTheServerCannotBeUsed(t *testing.T) {
	t.Parallel()
	for want, options := range map[string]testsmtp.Options{
		"MAIL FROM: 553 5.7.1 not yours":                {Faults: []testsmtp.Fault{{At: "mail", Do: "553 5.7.1 not yours"}}},
		"RCPT TO: 550 5.1.1 unknown":                    {Faults: []testsmtp.Fault{{At: "rcpt", Do: "550 5.1.1 unknown"}}},
		"waiting for the greeting":                      {Faults: []testsmtp.Fault{{At: "connection", Do: "close"}}},
		"the server has no login that is supported":     {User: account, Password: hush, Mechanisms: []string{"XOAUTH2"}},
		"write the host in smtp as the server's certif": {TLS: testsmtp.ImplicitTLS, Hosts: []string{"other.example.com"}},
	} {
		server := smtpServer.Start(t, options)
		m := mailTo("user1")
		_, err := configFor(server).Check(t.Context(), &m)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), hush) {
			t.Errorf("error %v, want %q in it", err, want)
		}
		if mails := server.Mails(t); len(mails) != 0 {
			t.Errorf("%s: it sent %+v", want, mails)
		}
	}
}
