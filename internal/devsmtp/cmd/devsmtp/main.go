// Command devsmtp runs the mail server for tests until its standard input is
// closed, so that it never outlives the program that started it. Its argument
// are options in JSON. It prints a line of JSON with its URL and authority when
// it is ready, and one for each event. A line of its input adds faults, as a
// list in JSON; it then prints an event of the kind "added".
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/caddy-sesame/caddy-sesame/internal/devsmtp"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "devsmtp:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("it takes one argument, its options in JSON")
	}
	var options devsmtp.Options
	if err := json.Unmarshal([]byte(args[0]), &options); err != nil {
		return fmt.Errorf("reading the options: %w", err)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	mu.Lock() // no event before the URL
	server, err := devsmtp.New(options, func(e devsmtp.Event) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(e) // the program that started this one may be gone
	})
	if err != nil {
		return err
	}
	err = out.Encode(map[string]string{"url": server.URL(), "ca": server.CA()})
	mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("printing the URL: %w", err), server.Close())
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var faults []devsmtp.Fault
		if err := json.Unmarshal(lines.Bytes(), &faults); err != nil {
			return errors.Join(fmt.Errorf("reading faults: %w", err), server.Close())
		}
		server.Fail(faults...)
		mu.Lock()
		err := out.Encode(devsmtp.Event{Kind: "added"})
		mu.Unlock()
		if err != nil {
			return errors.Join(fmt.Errorf("printing an event: %w", err), server.Close())
		}
	}
	return server.Close()
}
