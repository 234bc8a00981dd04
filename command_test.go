package sesame_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// caddyCommand in the environment makes this test's program a caddy, which is
// called with the program's arguments.
const caddyCommand = "SESAME_TEST_CADDY"

func init() {
	if os.Getenv(caddyCommand) != "" {
		os.Args[0] = "caddy"
		caddycmd.Main()
		os.Exit(0)
	}
}

// result is the output and the status of a command.
type result struct {
	status         int
	stdout, stderr string
}

// wantStatus fails the test for another exit status.
func (r result) wantStatus(t *testing.T, status int) {
	t.Helper()
	if r.status != status {
		t.Fatalf("exit status %d, want %d\nstdout: %s\nstderr: %s", r.status, status, r.stdout, r.stderr)
	}
}

// wantText fails the test if a text lacks a part.
func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q isn't in:\n%s", part, text)
		}
	}
}

// operator runs commands with a configuration.
type operator struct {
	config string // a file
	stdin  string
}

// newOperator writes a Caddyfile. SECRET and DSN in it are those of the tests,
// as placeholders for the environment.
func newOperator(t *testing.T, caddyfile, dsn string) *operator {
	t.Helper()
	t.Setenv("TEST_SECRET_KEY", secretKey)
	t.Setenv("TEST_DSN", dsn)
	caddyfile = strings.NewReplacer("SECRET", "{env.TEST_SECRET_KEY}", "DSN", "{env.TEST_DSN}").Replace(caddyfile)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	return &operator{config: file}
}

// oneSite is a Caddyfile with one handler.
func oneSite(options, store string) string {
	return fmt.Sprintf("app.example.com {\n\tsesame {\n\t\tsecret_key SECRET\n\t\t%s\n\t\tuserstore mysql {\n\t\t\tdsn DSN\n\t\t\t%s\n\t\t}\n\t}\n\trespond fine\n}\n", options, store)
}

// run calls a command, in this process.
func (o *operator) run(t *testing.T, args ...string) result {
	t.Helper()
	cmd := &cobra.Command{Use: "sesame", SilenceUsage: true}
	caddycmd.Commands()["sesame"].CobraFunc(cmd)
	if o.config != "" {
		args = append(args, "--config", o.config)
	}
	cmd.SetArgs(args)
	var stdout, stderr bytes.Buffer
	cmd.SetIn(strings.NewReader(o.stdin))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err := cmd.Execute()
	return result{statusOf(err), stdout.String(), stderr.String()}
}

// statusOf is the exit status that Caddy's main function makes of an error.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	for err := err; err != nil; err = errors.Unwrap(err) {
		value := reflect.ValueOf(err)
		if value.Kind() == reflect.Pointer && value.Elem().Kind() == reflect.Struct {
			if status := value.Elem().FieldByName("ExitCode"); status.IsValid() {
				return int(status.Int())
			}
		}
	}
	return 1
}

// exec calls a command as a process of its own.
func (o *operator) exec(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"sesame"}, args...)...)
	cmd.Env = append(os.Environ(), caddyCommand+"=1")
	cmd.Dir = filepath.Dir(o.config)
	cmd.Stdin = strings.NewReader(o.stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// TestUnknownCommand ends with a status of its own, and names what was meant.
func TestUnknownCommand(t *testing.T) {
	o := newOperator(t, oneSite("", ""), "")
	o.config = ""
	for name, want := range map[string]string{"foo": "there are check, explain, import-django, probe, revoke, token", "tokn": "did you mean token?"} {
		r := o.run(t, name)
		r.wantStatus(t, 2)
		wantText(t, r.stderr, want)
		if r.stdout != "" {
			t.Errorf("stdout is %q", r.stdout)
		}
	}
	for _, args := range [][]string{{}, {"--help"}, {"token", "--help"}} {
		r := o.run(t, args...)
		r.wantStatus(t, 0)
		wantText(t, r.stdout, "caddy-sesame/blob/main/docs/")
		if strings.Contains(r.stdout, "caddyserver.com") {
			t.Errorf("the help points to Caddy's documentation: %s", r.stdout)
		}
	}
}

// TestCommandsAreQuiet runs a real Caddy's command: nothing but the answer is
// printed, unless --verbose asks for it.
func TestCommandsAreQuiet(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		systemLog(t)
		// Indented by spaces, which Caddy warns about.
		o := newOperator(t, strings.ReplaceAll(oneSite("", ""), "\t", "  "), db.dsn)
		r := o.exec(t, "token", "alice", "--config", o.config)
		r.wantStatus(t, 0)
		if r.stderr != "" || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
		}
		r = o.exec(t, "token", "alice", "--config", o.config, "--verbose")
		r.wantStatus(t, 0)
		wantText(t, r.stderr, "using config from file")
		o.exec(t, "foo").wantStatus(t, 2)
	})
}
