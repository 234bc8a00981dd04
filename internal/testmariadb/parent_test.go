package testmariadb_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

// parentOf makes the test's program start a server, and end in the given way.
const parentOf = "SESAME_TEST_SERVER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentOf); dir != "" {
		server, err := testmariadb.Start(dir)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("LISTENS", server.Addr())
		how, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		switch strings.TrimSpace(how) {
		case "freeze":
			if err := server.Freeze(); err != nil {
				fmt.Println(err)
			}
			os.Exit(1)
		case "exit":
			os.Exit(1)
		default:
			panic(how)
		}
	}
	os.Exit(m.Run())
}

// TestServerEndsWithTheProgramThatStartedIt ends the program in ways that run
// no cleanup, as when a test times out.
func TestServerEndsWithTheProgramThatStartedIt(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"exit", "panic", "freeze", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), parentOf+"="+t.TempDir())
			stdin, err := parent.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			said, _ := bufio.NewReader(stdout).ReadString('\n')
			addr, ok := strings.CutPrefix(strings.TrimSpace(said), "LISTENS ")
			if !ok {
				_ = parent.Wait()
				if strings.TrimSpace(said) == testmariadb.ErrNotInstalled.Error() && os.Getenv("CI") == "" {
					t.Skip(said)
				}
				t.Fatalf("the program said %q", said)
			}
			if how == "kill" {
				_ = parent.Process.Kill()
			}
			_, _ = fmt.Fprintln(stdin, how)
			var exit *exec.ExitError
			if err := parent.Wait(); !errors.As(err, &exit) {
				t.Fatalf("the program ended with %v", err)
			}
			deadline := time.After(time.Minute)
			poll := time.NewTicker(10 * time.Millisecond)
			defer poll.Stop()
			for {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				_ = conn.Close()
				select {
				case <-poll.C:
				case <-deadline:
					t.Fatal("the server is still there")
				}
			}
		})
	}
}
