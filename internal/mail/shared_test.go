package mail

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-sesame/caddy-sesame/internal/testsmtp"
)

func acquire(t *testing.T, cfg *Config, log *testLog) *Sender {
	t.Helper()
	s, err := Acquire(cfg, log.logger)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func release(t *testing.T, s *Sender) {
	t.Helper()
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
}

// counts are the counters, by result.
func counts(t *testing.T) map[string]int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(Metrics()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "caddy_sesame_mail_queue" {
				got["queue"] = int(metric.GetGauge().GetValue())
				continue
			}
			got[metric.GetLabel()[0].GetValue()] = int(metric.GetCounter().GetValue())
		}
	}
	return got
}

// TestReloadsNeitherLoseNorRepeatMails reloads a configuration with the same mail
// server and then with another one, while a server hangs and mails are queued.
func TestReloadsNeitherLoseNorRepeatMails(t *testing.T) {
	before := counts(t)
	hang := testsmtp.Fault{At: "content", Do: "hang"}
	server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{hang, hang}})
	other := smtpServer.Start(t, testsmtp.Options{})
	log, clock := newTestLog(), newTestClock()
	first := acquire(t, configFor(server), log)
	first.clock = clock
	send := func(s *Sender, from, n int) {
		for i := range n {
			if err := s.Send(mailTo(fmt.Sprintf("user%d", from+i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(first, 100, 10)
	server.Wait(t, "fault")
	server.Wait(t, "fault")

	second := acquire(t, configFor(server), log)
	release(t, first)
	if second != first || len(Statuses()) != 1 || Statuses()[0].Queued != 10 {
		t.Errorf("after a reload: the same Sender %t, status %+v", second == first, Statuses())
	}
	send(second, 110, 10)

	third := acquire(t, configFor(other), log)
	release(t, second)
	if third == first || len(Statuses()) != 1 || Statuses()[0].Server != third.settings.address() {
		t.Errorf("after a change: the same Sender %t, status %+v", third == first, Statuses())
	}
	if err := second.Send(mailTo("user1")); !errors.Is(err, ErrClosed) {
		t.Errorf("a former Sender accepts a mail: %v", err)
	}
	send(third, 200, 5)
	for range 5 {
		other.WaitMail(t)
	}

	clock.advance(usualLimits.try)
	for range 18 {
		server.WaitMail(t)
	}
	clock.await(t, 2, firstWait/2, firstWait)
	clock.advance(firstWait)
	<-first.drained
	first.workers.Wait()
	wantOnce(t, server, 20)
	wantOnce(t, other, 5)
	release(t, third)
	<-third.drained
	third.workers.Wait()
	after := counts(t)
	for result, want := range map[string]int{resultQueued: 25, resultSent: 25, resultFailed: 0, resultDropped: 1, "queue": 0} {
		if got := after[result] - before[result]; got != want {
			t.Errorf("%d are %s, want %d", got, result, want)
		}
	}
	if len(Statuses()) != 0 {
		t.Errorf("status %+v", Statuses())
	}
}

// TestShutdownTriesEverythingOnceMore ends the process while one mail waits for
// its next try, and another one is being sent.
func TestShutdownTriesEverythingOnceMore(t *testing.T) {
	t.Parallel()
	server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{{At: "rcpt", Do: "451 4.7.1 later"}}})
	s := newTestSender(t, configFor(server))
	s.mustSend(t, mailTo("user1"))
	s.log.await(t, 1, "a mail will be tried again")
	s.drain()
	wantOnce(t, server, 1)
	if err := s.Send(mailTo("user2")); !errors.Is(err, ErrClosed) {
		t.Errorf("a mail is accepted at the end: %v", err)
	}
}

// TestShutdownIsNotDelayedByAServerThatHangs ends the process while mails wait for
// a server that gives no answer.
func TestShutdownIsNotDelayedByAServerThatHangs(t *testing.T) {
	t.Parallel()
	hang := testsmtp.Fault{At: "rcpt", Do: "hang"}
	server := smtpServer.Start(t, testsmtp.Options{Faults: []testsmtp.Fault{hang, hang}})
	s := newTestSender(t, configFor(server))
	for i := range 5 {
		s.mustSend(t, mailTo(fmt.Sprintf("user%d", 100+i)))
	}
	server.Wait(t, "fault")
	server.Wait(t, "fault")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.drain()
	}()
	s.clock.await(t, 1, usualLimits.shutdown, usualLimits.shutdown)
	s.clock.advance(usualLimits.shutdown)
	select {
	case <-drained:
	case <-time.After(waitLimit):
		t.Fatal("it still waits for the server")
	}
	lines := s.log.await(t, 5, "a mail was dropped at shutdown")
	if len(lines) != 5 || len(server.Mails(t)) != 0 {
		t.Errorf("%d were dropped, %d sent", len(lines), len(server.Mails(t)))
	}
	for _, line := range lines {
		if !strings.Contains(line["error"].(string), errShutdown.Error()) {
			t.Errorf("the log says %v", line)
		}
	}
	if status := s.Status(); status.Queued != 0 {
		t.Errorf("status %+v", status)
	}
}

// TestPlaintextOverANetworkIsWarnedOf acquires servers without TLS.
func TestPlaintextOverANetworkIsWarnedOf(t *testing.T) {
	for url, want := range map[string]int{"smtp://mail.example.com": 1, "smtp://127.0.0.1": 0} {
		log := newTestLog()
		release(t, acquire(t, &Config{SMTP: url, From: "a@example.com", SMTPTLS: tlsOff}, log))
		if n := log.FilterMessageSnippet("mails are sent unencrypted").Len(); n != want {
			t.Errorf("%s: %d warnings, want %d", url, n, want)
		}
	}
}
