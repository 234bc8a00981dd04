package sesame_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestValidateWithoutDatabase runs `caddy validate` and `caddy adapt --validate`
// where the database can't be reached: they say which checks they skip, and
// still find what is wrong elsewhere. `caddy run` starts no such configuration.
func TestValidateWithoutDatabase(t *testing.T) {
	const nowhere = "gateway:secret@tcp(127.0.0.1:1)/app"
	good := newOperator(t, "{\nadmin off\n}\n"+strings.Replace(oneSite("max_age 10m", ""), "app.example.com", "http://127.0.0.1:"+portOf(freeAddr(t)), 1), nowhere)
	validate := func(t *testing.T, o *operator, args ...string) (output string, ok bool) {
		t.Helper()
		cmd := exec.Command(os.Args[0], append(args, "--config", o.config)...)
		cmd.Env = append(cmd.Environ(), caddyCommand+"=1", "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err == nil
	}
	for _, args := range [][]string{{"validate"}, {"adapt", "--validate"}} {
		output, ok := validate(t, good, args...)
		if !ok {
			t.Fatalf("%s fails: %s", args, output)
		}
		wantText(t, output, "validated without the database", "not checked are the connection, the table, its columns", "caddy sesame check")
		if strings.Contains(output, "secret@") {
			t.Errorf("the password is shown: %s", output)
		}
	}
	bad := newOperator(t, oneSite("signature_size 100", ""), nowhere)
	if output, ok := validate(t, bad, "validate"); ok || !strings.Contains(output, "signature_size") {
		t.Errorf("a wrong option passes: %s", output)
	}
	output, ok := validate(t, good, "run")
	if ok || !strings.Contains(output, "start_without") {
		t.Errorf("it runs without a database: %s", output)
	}
}

// TestValidateWithDatabase checks the table where it can be reached.
func TestValidateWithDatabase(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		for _, test := range []struct {
			store string
			want  string
			ok    bool
		}{{"", "Valid configuration", true}, {"table nowhere", "nowhere", false}} {
			o := newOperator(t, "{\nadmin off\n}\n"+oneSite("max_age 10m", test.store), db.dsn)
			cmd := exec.Command(os.Args[0], "validate", "--config", o.config)
			cmd.Env = append(cmd.Environ(), caddyCommand+"=1", "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
			output, err := cmd.CombinedOutput()
			if (err == nil) != test.ok || !strings.Contains(string(output), test.want) || strings.Contains(string(output), "validated without") {
				t.Errorf("%q: %v: %s", test.store, err, output)
			}
		}
	})
}
