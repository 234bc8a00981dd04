// Command devmysql runs the embedded MySQL server with Django's tables until
// its standard input is closed or it is interrupted, so that it never outlives
// the program that started it. When it is ready, it prints one line:
//
//	DSN user:password@tcp(127.0.0.1:port)/django
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/caddy-sesame/caddy-sesame/internal/devmysql"
)

func main() {
	var options devmysql.Options
	flag.StringVar(&options.Addr, "addr", "127.0.0.1:0", "where to listen")
	flag.StringVar(&options.User, "user", "django", "the account's name")
	flag.StringVar(&options.Password, "password", "sesame", "the account's password")
	flag.BoolVar(&options.Verbose, "v", false, "log what the engine does")
	init := flag.String("init", "", "a file of SQL statements to run first")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "devmysql takes options only; see devmysql -h")
		os.Exit(2)
	}
	if err := run(options, *init); err != nil {
		fmt.Fprintln(os.Stderr, "devmysql:", err)
		os.Exit(1)
	}
}

func run(options devmysql.Options, init string) (err error) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)

	server, err := devmysql.Start(options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if init != "" {
		statements, err := os.ReadFile(init)
		if err != nil {
			return fmt.Errorf("reading the statements to run first: %w", err)
		}
		if err := server.Exec(string(statements)); err != nil {
			return fmt.Errorf("running the statements of %s: %w", init, err)
		}
	}
	fmt.Println("DSN", server.DSN())

	abandoned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, the program that started this one has ended
		close(abandoned)
	}()
	select {
	case <-interrupted:
	case <-abandoned:
	}
	return nil
}
