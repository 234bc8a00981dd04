package mail

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

// account is the account of test servers.
const account = "mailer@example.com"

// link is what no log may show.
const link = "https://app.example.com/?sesame=AAAAAQz5IuJriEB6AIVJO-IN"

// configFor is the configuration for a test server.
func configFor(server *testsmtp.Server) *Config {
	cfg := &Config{SMTP: server.URL, From: "Example Ltd <no-reply@example.com>", SMTPHelo: "gateway.example.com"}
	if server.CA == "" {
		cfg.SMTPTLS = tlsOff
	} else {
		cfg.SMTPCA = server.CAFile
	}
	return cfg
}

// testSender is a Sender for one test, with its clock and log.
type testSender struct {
	*Sender
	clock *testClock
	log   *testLog
}

func newTestSender(t *testing.T, cfg *Config) *testSender {
	t.Helper()
	s, err := cfg.provisioned()
	if err != nil {
		t.Fatal(err)
	}
	sender := &testSender{clock: newTestClock(), log: newTestLog()}
	sender.Sender = newSender(s, sender.log.logger)
	sender.Sender.clock = sender.clock
	t.Cleanup(func() {
		sender.cancel(errShutdown)
		sender.drain()
		for _, line := range sender.log.All() {
			text := fmt.Sprint(line.Message, line.ContextMap())
			for _, secret := range []string{hush, "user1@", "user2@", "sesame=", "AAAAAQz5IuJriEB6AIVJO"} {
				if strings.Contains(text, secret) {
					t.Errorf("the log shows %q: %s", secret, text)
				}
			}
		}
	})
	return sender
}

// mailTo is a mail with a link.
func mailTo(user string) Message {
	return Message{To: user + "@example.net", Subject: "Your link", Text: "Open " + link + "\n", HTML: `<a href="` + link + `">Open</a>`, Language: "en", ID: user}
}

func (s *testSender) mustSend(t *testing.T, m Message) {
	t.Helper()
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
}

func TestMailsAreSentWithEachKindOfTLSAndLogin(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{testsmtp.ImplicitTLS, testsmtp.STARTTLS, testsmtp.NoTLS} {
		for _, mechanism := range []string{"PLAIN", "LOGIN", ""} {
			t.Run(kind+" "+mechanism, func(t *testing.T) {
				t.Parallel()
				options := testsmtp.Options{TLS: kind}
				if mechanism != "" {
					options.User, options.Password, options.Mechanisms = account, hush+"@:/%", []string{mechanism}
				}
				server := smtpServer.Start(t, options)
				s := newTestSender(t, configFor(server))
				s.mustSend(t, mailTo("user1"))
				got := server.WaitMail(t)
				content := strings.ReplaceAll(got.Content, "=\r\n", "")
				if !strings.Contains(content, "Subject: Your link\r\n") || strings.Count(content, strings.ReplaceAll(link, "=", "=3D")) != 2 {
					t.Errorf("the mail is\n%s", got.Content)
				}
				got.Content = ""
				want := testsmtp.Mail{
					From: "no-reply@example.com", To: "user1@example.net", Helo: "gateway.example.com",
					User: options.User, TLS: kind != testsmtp.NoTLS, Connection: 1,
				}
				if got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				line := s.log.await(t, 1, "sent a mail")[0]
				if line["mail"] != "user1" || line["recipient_domain"] != "example.net" || line["tries"] != int64(1) {
					t.Errorf("the log says %v", line)
				}
			})
		}
	}
}

func TestServersThatCannotBeTrustedGetNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options testsmtp.Options
		change  func(cfg *Config, server *testsmtp.Server)
		want    string
	}{
		{
			"no STARTTLS",
			testsmtp.Options{User: account, Password: hush},
			func(cfg *Config, _ *testsmtp.Server) { cfg.SMTPTLS = "" },
			"setting up TLS: the server doesn't offer STARTTLS",
		},
		{
			"TLS on a port without it",
			testsmtp.Options{User: account, Password: hush},
			func(cfg *Config, _ *testsmtp.Server) {
				cfg.SMTP, cfg.SMTPTLS = strings.Replace(cfg.SMTP, "smtp:", "smtps:", 1), ""
			},
			"for a port with STARTTLS, usually 587, write smtp:// instead of smtps://",
		},
		{
			"an unknown authority",
			testsmtp.Options{TLS: testsmtp.ImplicitTLS, User: account, Password: hush},
			func(cfg *Config, _ *testsmtp.Server) { cfg.SMTPCA = "" },
			"smtp_ca names an authority that the system doesn't trust",
		},
		{
			"an unknown authority with STARTTLS",
			testsmtp.Options{TLS: testsmtp.STARTTLS, User: account, Password: hush},
			func(cfg *Config, _ *testsmtp.Server) { cfg.SMTPCA = "" },
			"smtp_ca names an authority that the system doesn't trust",
		},
		{
			"another name in the certificate",
			testsmtp.Options{TLS: testsmtp.STARTTLS, Hosts: []string{"other.example.com"}, User: account, Password: hush},
			func(*Config, *testsmtp.Server) {},
			"write the host in smtp as the server's certificate has it",
		},
		{
			"a wrong password",
			testsmtp.Options{TLS: testsmtp.ImplicitTLS, User: account, Password: "another"},
			func(cfg *Config, server *testsmtp.Server) {
				cfg.SMTP = strings.Replace(server.URL, "another", hush, 1)
			},
			"logging in: 535 5.7.8 Authentication failed: correct the user and password in smtp",
		},
		{
			"no login",
			testsmtp.Options{TLS: testsmtp.ImplicitTLS},
			func(cfg *Config, server *testsmtp.Server) {
				cfg.SMTP = strings.Replace(server.URL, "://", "://"+url.UserPassword(account, hush).String()+"@", 1)
			},
			"logging in: the server offers no login (AUTH)",
		},
		{
			"no login that is known",
			testsmtp.Options{TLS: testsmtp.ImplicitTLS, User: account, Password: hush, Mechanisms: []string{"XOAUTH2"}},
			func(*Config, *testsmtp.Server) {},
			"the server has no login that is supported here",
		},
		{
			"a login that is missing",
			testsmtp.Options{TLS: testsmtp.ImplicitTLS, User: account, Password: hush},
			func(cfg *Config, server *testsmtp.Server) {
				cfg.SMTP = strings.Replace(server.URL, url.UserPassword(account, hush).String()+"@", "", 1)
			},
			"MAIL FROM: 502 5.7.0 Please authenticate first",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := smtpServer.Start(t, test.options)
			cfg := configFor(server)
			test.change(cfg, server)
			s := newTestSender(t, cfg)
			s.mustSend(t, mailTo("user1"))
			line := s.log.await(t, 1, "a mail was not sent")[0]
			if said := line["error"].(string); !strings.Contains(said, test.want) {
				t.Errorf("the log says %q, want %q in it", said, test.want)
			}
			if line["tries"] != int64(1) || len(server.Mails(t)) != 0 {
				t.Errorf("tries: %v, mails: %d", line["tries"], len(server.Mails(t)))
			}
			s.finish(t)
			if status := s.Status(); status.Healthy || status.Queued != 0 || status.Error != line["error"] || !status.Since.Equal(testTime) {
				t.Errorf("status %+v", status)
			}
		})
	}
}

// TestTemporaryFailuresAreTriedAgain has a server fail once in each way.
func TestTemporaryFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault testsmtp.Fault
		want  string
	}{
		{testsmtp.Fault{At: "mail", Do: "421 4.3.2 shutting down"}, "MAIL FROM: 421 4.3.2 shutting down"},
		{testsmtp.Fault{At: "rcpt", Do: "451 4.7.1 <user1@example.net> greylisted, see https://x.example/?q=user1@example.net"}, "RCPT TO: 451 4.7.1 …@example.net> greylisted, see https://x.example/…"},
		{testsmtp.Fault{At: "content", Do: "452 4.3.1 full"}, "sending the content: 452 4.3.1 full"},
		{testsmtp.Fault{At: "connection", Do: "close"}, "waiting for the greeting"},
		{testsmtp.Fault{At: "mail", Do: "close"}, "MAIL FROM"},
		{testsmtp.Fault{At: "rcpt", Do: "close"}, "RCPT TO"},
		{testsmtp.Fault{At: "content", Do: "close"}, "sending the content"},
	} {
		t.Run(test.fault.At+" "+test.fault.Do, func(t *testing.T) {
			t.Parallel()
			server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{test.fault}})
			s := newTestSender(t, configFor(server))
			s.mustSend(t, mailTo("user1"))
			s.clock.retry(t)
			server.WaitMail(t)
			if line := s.log.await(t, 1, "sent a mail")[0]; line["tries"] != int64(2) {
				t.Errorf("the log says %v", line)
			}
			if said := s.log.await(t, 1, "a mail will be tried again")[0]["error"].(string); !strings.Contains(said, test.want) {
				t.Errorf("the log says %q, want %q in it", said, test.want)
			}
			s.finish(t)
			if mails := server.Mails(t); len(mails) != 1 {
				t.Errorf("%d mails were sent", len(mails))
			}
		})
	}
}

// finish ends the Sender, and waits until it has sent everything.
func (s *testSender) finish(t *testing.T) {
	t.Helper()
	s.close()
	select {
	case <-s.drained:
	case <-time.After(waitLimit):
		t.Fatalf("the Sender still holds %d mails", s.Status().Queued)
	}
	s.workers.Wait()
}

func TestPermanentFailuresAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault   testsmtp.Fault
		want    string
		healthy bool
	}{
		{testsmtp.Fault{At: "mail", Do: "553 5.7.1 <no-reply@example.com>: not yours"}, "MAIL FROM: 553 5.7.1 …@example.com>: not yours", false},
		{testsmtp.Fault{At: "rcpt", Do: "550 5.1.1 user1@example.net unknown, " + link}, "RCPT TO: 550 5.1.1 …@example.net unknown, https://app.example.com/…", true},
		{testsmtp.Fault{At: "rcpt", Do: "554 5.7.1 relaying denied"}, "RCPT TO: 554 5.7.1 relaying denied", false},
		{testsmtp.Fault{At: "content", Do: "554 5.6.0 spam: sesame=AAAAAQz5IuJriEB6AIVJO-IN"}, "sending the content: 554 5.6.0 spam: …", false},
	} {
		t.Run(test.fault.At+" "+test.fault.Do, func(t *testing.T) {
			t.Parallel()
			server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{test.fault}})
			s := newTestSender(t, configFor(server))
			s.mustSend(t, mailTo("user1"))
			line := s.log.await(t, 1, "a mail was not sent")[0]
			if said := line["error"].(string); !strings.HasSuffix(said, test.want) || line["tries"] != int64(1) {
				t.Errorf("the log says %v, want %q at the end", line, test.want)
			}
			if status := s.Status(); status.Healthy != test.healthy {
				t.Errorf("status %+v, want healthy: %t", status, test.healthy)
			}
			// The connection serves the next mail, once it waits for one.
			s.clock.await(t, 1, usualLimits.keepOpen, usualLimits.keepOpen)
			s.mustSend(t, mailTo("user2"))
			if got := server.WaitMail(t); got.To != "user2@example.net" || got.Connection != 1 {
				t.Errorf("the next mail: %+v", got)
			}
			s.log.await(t, 1, "sent a mail")
			if status := s.Status(); !status.Healthy || !status.LastSent.Equal(testTime) {
				t.Errorf("status after a mail %+v", status)
			}
			s.finish(t)
			if mails := server.Mails(t); len(mails) != 1 {
				t.Errorf("%d mails were sent", len(mails))
			}
		})
	}
}

// TestServersThatHangAreLeft has a server give no answer, or one byte at a time,
// until the try's time is over.
func TestServersThatHangAreLeft(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{testsmtp.ImplicitTLS, testsmtp.STARTTLS, testsmtp.NoTLS} {
		for _, fault := range []testsmtp.Fault{{At: "connection", Do: "hang"}, {At: "connection", Do: "drip"}, {At: "mail", Do: "hang"}, {At: "rcpt", Do: "hang"}, {At: "content", Do: "hang"}} {
			t.Run(kind+" "+fault.At+" "+fault.Do, func(t *testing.T) {
				t.Parallel()
				server := smtpServer.Start(t, testsmtp.Options{TLS: kind, Faults: []testsmtp.Fault{fault}})
				s := newTestSender(t, configFor(server))
				s.mustSend(t, mailTo("user1"))
				server.Wait(t, "fault")
				s.clock.advance(usualLimits.try)
				server.Wait(t, "gone")
				s.clock.retry(t)
				if got := server.WaitMail(t); got.Connection != 2 {
					t.Errorf("it was sent by connection %d", got.Connection)
				}
				if said := s.log.await(t, 1, "a mail will be tried again")[0]["error"].(string); !strings.Contains(said, errTimeout.Error()) {
					t.Errorf("the log says %q", said)
				}
				s.finish(t)
				if mails := server.Mails(t); len(mails) != 1 {
					t.Errorf("%d mails were sent", len(mails))
				}
			})
		}
	}
}

// TestServersThatTalkWithoutEndAreLeft has a server send a greeting that never
// ends.
func TestServersThatTalkWithoutEndAreLeft(t *testing.T) {
	t.Parallel()
	server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{{At: "connection", Do: "flood"}}})
	s := newTestSender(t, configFor(server))
	s.mustSend(t, mailTo("user1"))
	server.Wait(t, "gone") // while the clock stands still
	if said := s.log.await(t, 1, "a mail will be tried again")[0]["error"].(string); !strings.Contains(said, errTalksTooMuch.Error()) {
		t.Errorf("the log says %q", said)
	}
	s.clock.retry(t)
	server.WaitMail(t)
}

func TestMailsWaitForAServerThatIsAway(t *testing.T) {
	t.Parallel()
	server := smtpServer.Start(t, testsmtp.Options{})
	cfg := configFor(server)
	server.Stop()
	s := newTestSender(t, cfg)
	s.mustSend(t, mailTo("user1"))
	said := s.log.await(t, 1, "the mail server can't be used")[0]["error"].(string)
	if !strings.Contains(said, "connection refused: check the host and port in smtp, and that the server runs") {
		t.Errorf("the log says %q", said)
	}
	for range 3 {
		s.clock.retry(t)
		s.clock.await(t, 1, firstWait/2, longestWait)
	}
	s.log.await(t, 4, "a mail will be tried again")
	if n := s.log.FilterMessage("the mail server can't be used").Len(); n != 1 {
		t.Errorf("the log says %d times that the server can't be used", n)
	}
	server = smtpServer.Start(t, testsmtp.Options{Addr: strings.TrimPrefix(server.URL, "smtp://")})
	s.clock.advance(longestWait)
	server.WaitMail(t)
	s.log.await(t, 1, "the mail server accepts mails again")
	if status := s.Status(); !status.Healthy || status.Since != nil || status.Error != "" {
		t.Errorf("status %+v", status)
	}
}

// TestMailsThatAreNoLongerOfUseAreNotSent keeps a server away until a link has
// expired.
func TestMailsThatAreNoLongerOfUseAreNotSent(t *testing.T) {
	t.Parallel()
	server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{{At: "content", Do: "hang"}}})
	cfg := configFor(server)
	s := newTestSender(t, cfg)
	s.limits.workers = 1
	s.mustSend(t, mailTo("user1"))
	server.Wait(t, "fault")
	late := mailTo("user2")
	late.Until = testTime.Add(time.Second)
	s.mustSend(t, late)
	s.clock.advance(usualLimits.try)
	line := s.log.await(t, 1, "a mail was not sent")[0]
	if line["mail"] != "user2" || line["tries"] != int64(0) || !strings.Contains(line["error"].(string), errTooLate.Error()) {
		t.Errorf("the log says %v", line)
	}
	s.clock.retry(t)
	server.WaitMail(t)
	s.finish(t)
	if mails := server.Mails(t); len(mails) != 1 || mails[0].To != "user1@example.net" {
		t.Errorf("the mails are %+v", mails)
	}
}

// TestTriesEndWithTheUseOfTheMail has a server away for longer than a mail is of
// use.
func TestTriesEndWithTheUseOfTheMail(t *testing.T) {
	t.Parallel()
	server := smtpServer.Start(t, testsmtp.Options{})
	cfg := configFor(server)
	server.Stop()
	s := newTestSender(t, cfg)
	m := mailTo("user1")
	m.Until = testTime.Add(longestWait + firstWait)
	s.mustSend(t, m)
	s.clock.retry(t) // the next one would be too late
	line := s.log.await(t, 1, "a mail was not sent")[0]
	if line["tries"] != int64(2) || !strings.Contains(line["error"].(string), "connection refused") {
		t.Errorf("the log says %v", line)
	}
	s.finish(t)
}

func TestOneConnectionServesSeveralMails(t *testing.T) {
	t.Parallel()
	server := smtpServer.Start(t, testsmtp.Options{TLS: testsmtp.ImplicitTLS, User: account, Password: hush})
	s := newTestSender(t, configFor(server))
	s.limits.workers = 1
	for i := range mailsPerConnection + 1 {
		s.mustSend(t, mailTo(fmt.Sprintf("user%d", 100+i)))
	}
	for i := range mailsPerConnection + 1 {
		want := 1
		if i == mailsPerConnection {
			want = 2
		}
		if got := server.WaitMail(t); got.Connection != want || got.User != account {
			t.Fatalf("mail %d came by connection %d, want %d", i+1, got.Connection, want)
		}
	}
	// After a while without a mail, the connection is closed.
	s.clock.await(t, 1, usualLimits.keepOpen, usualLimits.keepOpen)
	s.clock.advance(usualLimits.keepOpen)
	s.workers.Wait()
	s.mustSend(t, mailTo("user1"))
	if got := server.WaitMail(t); got.Connection != 3 {
		t.Errorf("it came by connection %d, want 3", got.Connection)
	}
}

// TestConnectionsThatTheServerHasClosedAreReplacedAtOnce has the server close a
// connection between two mails.
func TestConnectionsThatTheServerHasClosedAreReplacedAtOnce(t *testing.T) {
	t.Parallel()
	for _, fault := range []testsmtp.Fault{{At: "mail", Do: "close"}, {At: "mail", Do: "421 4.4.2 idle"}} {
		t.Run(fault.Do, func(t *testing.T) {
			t.Parallel()
			server := smtpServer.Start(t, testsmtp.Options{})
			s := newTestSender(t, configFor(server))
			s.limits.workers = 1
			s.mustSend(t, mailTo("user1"))
			server.WaitMail(t)
			s.clock.await(t, 1, usualLimits.keepOpen, usualLimits.keepOpen)
			server.Fail(t, fault)
			s.mustSend(t, mailTo("user2"))
			if got := server.WaitMail(t); got.Connection != 2 {
				t.Errorf("it was sent by connection %d", got.Connection)
			}
			if line := s.log.await(t, 2, "sent a mail")[1]; line["tries"] != int64(1) {
				t.Errorf("the log says %v", line)
			}
		})
	}
}

// TestSendReturnsWhileTheServerHangs has 64 requests send mails to a server that
// gives no answer, with room for half of them.
func TestSendReturnsWhileTheServerHangs(t *testing.T) {
	t.Parallel()
	const room = 32
	hang := testsmtp.Fault{At: "content", Do: "hang"}
	server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{hang, hang}})
	s := newTestSender(t, configFor(server))
	s.limits.queue = room
	var accepted, full atomic.Int64
	var senders sync.WaitGroup
	for i := range 2 * room {
		senders.Go(func() {
			switch err := s.Send(mailTo(fmt.Sprintf("user%d", 100+i))); {
			case err == nil:
				accepted.Add(1)
			case errors.Is(err, ErrFull):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	senders.Wait() // while nothing ends the hanging: the clock stands still
	if accepted.Load() != room || full.Load() != room {
		t.Errorf("%d were accepted and %d not, want %d of each", accepted.Load(), full.Load(), room)
	}
	server.Wait(t, "fault")
	server.Wait(t, "fault")
	if status := s.Status(); status.Queued != room || len(server.Mails(t)) != 0 {
		t.Errorf("status %+v, %d mails", status, len(server.Mails(t)))
	}
	s.clock.advance(usualLimits.try)
	for range room - 2 {
		server.WaitMail(t)
	}
	s.clock.await(t, 2, firstWait/2, firstWait)
	s.clock.advance(firstWait)
	server.WaitMail(t)
	server.WaitMail(t)
	s.finish(t)
	wantOnce(t, server, room)
	if n := s.log.FilterMessageSnippet("the queue of mails is full").Len(); n != 1 {
		t.Errorf("the log says %d times that the queue is full", n)
	}
	connections := 0
	for _, e := range server.Events() {
		if e.Kind == "connected" {
			connections++
		}
	}
	if connections > 6 {
		t.Errorf("there were %d connections", connections)
	}
}

// wantOnce fails the test unless a number of recipients got one mail each.
func wantOnce(t *testing.T, server *testsmtp.Server, recipients int) {
	t.Helper()
	got := make(map[string]int)
	for _, m := range server.Mails(t) {
		got[m.To]++
	}
	for to, n := range got {
		if n != 1 {
			t.Errorf("%s got %d mails", to, n)
		}
	}
	if len(got) != recipients {
		t.Errorf("%d recipients got a mail, want %d", len(got), recipients)
	}
}

func TestAddressesBeyondASCIINeedAServerThatTakesThem(t *testing.T) {
	t.Parallel()
	m := mailTo("user1")
	m.To = "jürgen@exämple.net"
	able := smtpServer.Start(t, testsmtp.Options{UTF8: true})
	s := newTestSender(t, configFor(able))
	s.mustSend(t, m)
	if got := able.WaitMail(t); got.To != "jürgen@xn--exmple-cua.net" {
		t.Errorf("it was sent to %s", got.To)
	}
	unable := smtpServer.Start(t, testsmtp.Options{})
	s = newTestSender(t, configFor(unable))
	s.mustSend(t, m)
	if said := s.log.await(t, 1, "a mail was not sent")[0]["error"].(string); !strings.Contains(said, errNoUTF8.Error()) {
		t.Errorf("the log says %q", said)
	}
}
