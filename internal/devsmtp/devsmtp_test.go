package devsmtp_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/caddy-sesame/caddy-sesame/internal/devsmtp"
)

func start(t *testing.T, options devsmtp.Options, notify func(devsmtp.Event)) *devsmtp.Server {
	t.Helper()
	server, err := devsmtp.New(options, notify)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func TestServerKeepsMailsOfItsAccount(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{sasl.Plain, sasl.Login} {
		server := start(t, devsmtp.Options{TLS: devsmtp.STARTTLS, User: "mailer", Password: "hush"}, nil)
		authorities := x509.NewCertPool()
		authorities.AppendCertsFromPEM([]byte(server.CA()))
		client, err := smtp.DialStartTLS(server.Addr(), &tls.Config{RootCAs: authorities, ServerName: "localhost", MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		send := func() error {
			return client.SendMail("a@example.com", []string{"b@example.com"}, strings.NewReader("Subject: s\r\n\r\nt\r\n"))
		}
		if err := send(); err == nil {
			t.Error("a mail was accepted without a login")
		}
		login := sasl.NewPlainClient("", "mailer", "hush")
		if mechanism == sasl.Login {
			login = sasl.NewLoginClient("mailer", "hush")
		}
		if err := client.Auth(login); err != nil {
			t.Fatal(err)
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
		want := devsmtp.Mail{
			From: "a@example.com", To: "b@example.com", Content: "Subject: s\r\n\r\nt\r\n", Helo: "localhost", User: "mailer", TLS: true, Connection: 1,
		}
		if mails := server.Mails(); len(mails) != 1 || mails[0] != want {
			t.Errorf("got %+v, want %+v", mails, want)
		}
		if want := "smtp://mailer:hush@" + server.Addr(); server.URL() != want {
			t.Errorf("its URL is %s, want %s", server.URL(), want)
		}
		if err := client.Quit(); err != nil {
			t.Error(err)
		}
	}
}

func TestFaultsHappenOnceEach(t *testing.T) {
	t.Parallel()
	server := start(t, devsmtp.Options{Faults: []devsmtp.Fault{{At: devsmtp.AtRcpt, Do: "451 4.7.1 later"}}}, nil)
	server.Fail(devsmtp.Fault{At: devsmtp.AtContent, Do: devsmtp.Close})
	send := func() error {
		client, err := smtp.Dial(server.Addr())
		if err != nil {
			return err
		}
		defer client.Close()
		return client.SendMail("a@example.com", []string{"b@example.com"}, strings.NewReader("t"))
	}
	if reply, ok := errors.AsType[*smtp.SMTPError](send()); !ok || reply.Code != 451 || reply.Message != "later" {
		t.Errorf("the first mail: %v", reply)
	}
	if err := send(); err == nil || len(server.Mails()) != 0 {
		t.Errorf("the second mail: %v", err)
	}
	if err := send(); err != nil || len(server.Mails()) != 1 {
		t.Errorf("the third mail: %v", err)
	}
}

func TestServerEndsWhileClientsHang(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{}, 1)
	server, err := devsmtp.New(devsmtp.Options{Faults: []devsmtp.Fault{{At: devsmtp.AtConnection, Do: devsmtp.Hang}}}, func(e devsmtp.Event) {
		if e.Kind == devsmtp.EventFault {
			hanging <- struct{}{}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-hanging
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("the connection is still open: it sent %d bytes", n)
	}
}
