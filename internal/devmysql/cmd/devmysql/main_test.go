package main_test

import (
	"bufio"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
)

// The program runs until its standard input is closed, or it is told to end.
func TestProgramEndsWithItsInputOrASignal(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "devmysql")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	statements := filepath.Join(dir, "init.sql")
	err := os.WriteFile(statements, []byte(`
		-- a comment; with a semicolon
		INSERT INTO auth_group (name) VALUES ('a; b');
		INSERT INTO auth_group (name) VALUES ('c');
	`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"stdin", "SIGTERM", "SIGINT"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.Command(program, "-init", statements)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			dsn, ok := strings.CutPrefix(strings.TrimSpace(line), "DSN ")
			if !ok {
				t.Fatalf("it printed %q", line)
			}
			db, err := sql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var groups int
			if err := db.QueryRow("SELECT COUNT(*) FROM auth_group").Scan(&groups); err != nil || groups != 2 {
				t.Errorf("%d groups: %v", groups, err)
			}
			switch how {
			case "stdin":
				err = stdin.Close()
			case "SIGTERM":
				err = cmd.Process.Signal(syscall.SIGTERM)
			case "SIGINT":
				err = cmd.Process.Signal(os.Interrupt)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with: %v", err)
			}
		})
	}
	if out, err := exec.Command(program, "-init", filepath.Join(dir, "missing")).CombinedOutput(); err == nil {
		t.Errorf("it ran without its file: %s", out)
	} else if !strings.Contains(string(out), "missing") {
		t.Errorf("it doesn't name the missing file: %s", out)
	}
}
