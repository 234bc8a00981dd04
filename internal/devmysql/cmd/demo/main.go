// Command demo shows the gateway at work: an embedded MySQL server with four
// users, an application that shows what reaches it, a mailbox for the mails that
// the gateway sends, and Caddy with a Caddyfile in between. It is started by
// xcaddy.sh.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/caddy-sesame/caddy-sesame/internal/devmysql"
)

func main() {
	caddyPath := flag.String("caddy", "./caddy", "the caddy to run")
	config := flag.String("config", "Caddyfile", "its configuration")
	mailServer := flag.String("mail-server", "./devsmtp", "the mail server to run")
	check := flag.Bool("check", false, "make the requests here, and say whether they are answered as they should be")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo takes options only; see demo -h")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, programs{*caddyPath, *config, *mailServer}, *check); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// programs are what the demo runs.
type programs struct{ caddy, config, mailServer string }

// run has everything ended and removed when it returns.
func run(ctx context.Context, p programs, check bool) (err error) {
	database, err := devmysql.Start(devmysql.Options{})
	if err != nil {
		return err
	}
	defer closing(&err, database.Close)
	users, err := addUsers(database)
	if err != nil {
		return err
	}
	app, err := startApplication()
	if err != nil {
		return err
	}
	defer closing(&err, app.close)
	mails, err := startMailbox(p.mailServer, users.appCode)
	if err != nil {
		return err
	}
	defer closing(&err, mails.close)

	// Users would rather see a plain port in the address. A check may run beside
	// other programs.
	preferred := "127.0.0.1:8080"
	if check {
		preferred = "127.0.0.1:0"
	}
	address, err := freeAddress(preferred)
	if err != nil {
		return err
	}
	gateway, err := startCaddy(p.caddy, p.config,
		"DJANGO_SECRET_KEY="+users.secretKey,
		"SESAME_DSN="+database.DSN(),
		"SESAME_SMTP="+mails.smtp,
		"SESAME_BASE_URL=http://"+address,
		"SESAME_LISTEN=:"+portOf(address),
		"SESAME_BIND=127.0.0.1",
		"SESAME_UPSTREAM="+app.address,
		"SESAME_ADMIN=off")
	if err != nil {
		return err
	}
	defer closing(&err, gateway.close)
	if err := gateway.AwaitListening(ctx, address); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted while it was starting
		}
		return err
	}

	show := showcase{url: "http://" + address, users: users, mails: mails, dsn: database.DSN(), programs: p}
	if check {
		return show.check(ctx, gateway)
	}
	if err := show.print(os.Stdout, gateway.logPath); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping.")
		return nil
	case <-gateway.Ended():
		return gateway.Check()
	}
}

// closing ends a part of the demo. What went wrong first is what counts.
func closing(err *error, end func() error) {
	*err = errors.Join(*err, end())
}

// freeAddress is the preferred one if no program listens there, else one of
// another port. It is free for the moment, which is as much as can be had for
// another process.
func freeAddress(preferred string) (string, error) {
	l, err := net.Listen("tcp", preferred)
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // it is one of a listener
	return port
}
