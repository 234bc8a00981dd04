package settings_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/django/settings"
)

// TestScriptPrintsNoSecrets runs the script in a project with secrets in all
// sorts of places, some of them in an option file of MySQL's.
func TestScriptPrintsNoSecrets(t *testing.T) {
	t.Parallel()
	for _, with := range pythons(t) {
		t.Run(with.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "my.cnf")
			if err := os.WriteFile(file, []byte("!includedir /nowhere\n[client]\nuser = gateway\npassword = hush-file\nhost=db\nport=3307\ndatabase=\"app\"\nssl-verify-server-cert\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(with.program, "-c", "import pymysql; pymysql.install_as_MySQLdb()\nimport django; django.setup()\n"+settings.Script)
			cmd.Dir = "testdata/secrets"
			cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.Join(with.path, string(filepath.ListSeparator)),
				"DJANGO_SETTINGS_MODULE=settings", "PYTHONDONTWRITEBYTECODE=1", "OPTION_FILE="+file)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			printed, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			if bytes.Contains(printed, []byte("hush")) {
				t.Errorf("a secret is printed: %s", printed)
			}
			var block strings.Builder
			report, err := read(t, string(printed)).Caddyfile(&block)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"dsn gateway:{env.DJANGO_DB_PASSWORD}@tcp(db:3307)/app\n", "tls_ca /etc/ca.pem\n", "tls_cert /etc/cert.pem\n", "tls_key /etc/key.pem\n"} {
				if !strings.Contains(block.String(), want) {
					t.Errorf("no %q in\n%s", want, block.String())
				}
			}
			wantReport(t, report, "['OPTIONS']['passwd']", "the key of the client certificate is encrypted")
		})
	}
}

// wantReport wants texts in a report, and no note twice.
func wantReport(t *testing.T, report *settings.Report, texts ...string) {
	t.Helper()
	shown := fmt.Sprintf("%+v", *report)
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			t.Errorf("no %q in %s", text, shown)
		}
	}
	seen := make(map[settings.Note]bool)
	for _, note := range report.Notes {
		if seen[note] {
			t.Errorf("twice: %s: %s", note.Setting, note.Text)
		}
		seen[note] = true
	}
}

// TestReports imports what leaves something to say.
func TestReports(t *testing.T) {
	t.Parallel()
	const mysql = "'ENGINE': 'django.db.backends.mysql', 'NAME': 'app', 'USER': 'u', "
	for name, test := range map[string]struct {
		database string
		lines    []string
		report   []string
	}{
		"a client certificate": {
			mysql + "'HOST': 'h', 'OPTIONS': {'ssl_ca': '/ca.pem', 'ssl_cert': '/c.pem', 'ssl_key': '/k.pem'}",
			[]string{"tls_ca /ca.pem", "tls_cert /c.pem", "tls_key /k.pem", "dsn u@tcp(h:3306)/app"},
			[]string{"tls_server_name"},
		},
		"a client certificate alone": {
			mysql + "'HOST': 'h', 'OPTIONS': {'ssl': {'cert': '/c.pem', 'key': '/k.pem'}}",
			[]string{"tls_cert /c.pem", "tls_key /k.pem"},
			nil,
		},
		"a relative path": {
			mysql + "'HOST': 'h', 'OPTIONS': {'ssl': {'ca': 'ca.pem'}}",
			[]string{"tls_ca ca.pem"},
			[]string{"write the whole path"},
		},
		"a directory of authorities": {
			mysql + "'HOST': 'h', 'OPTIONS': {'ssl': {'capath': '/etc/authorities'}}",
			[]string{"dsn u@tcp(h:3306)/app?tls=true"},
			[]string{"/etc/authorities"},
		},
		"TLS over a socket": {
			mysql + "'HOST': '/run/db.sock', 'OPTIONS': {'ssl': {'ca': '/ca.pem'}}",
			[]string{"dsn u@unix(/run/db.sock)/app"},
			nil,
		},
		"an option file without the name of a database": {
			"'ENGINE': 'django.db.backends.mysql', 'OPTIONS': {'read_default_file': '/etc/my.cnf'}",
			[]string{"dsn {env.SESAME_DSN}"},
			[]string{"completed from it"},
		},
		"a password among the options": {
			mysql + "'HOST': 'h', 'OPTIONS': {'passwd': 'hush'}",
			[]string{"dsn u:{env.DJANGO_DB_PASSWORD}@tcp(h:3306)/app"},
			[]string{"DATABASES['default']['OPTIONS']['passwd']", "isn't encrypted"},
		},
		"TLS required": {
			mysql + "'HOST': 'h', 'OPTIONS': {'ssl_mode': 'REQUIRED'}",
			[]string{"dsn u@tcp(h:3306)/app?tls=skip-verify"},
			[]string{"without a check"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var block strings.Builder
			report, err := read(t, "SECRET_KEY = 'hush'\nUSE_TZ = True\nDATABASES = {'default': {"+test.database+"}}\n").Caddyfile(&block)
			if err != nil {
				t.Fatal(err)
			}
			adapted(t, block.String())
			for _, line := range test.lines {
				if !strings.Contains(block.String(), "\t"+line+"\n") {
					t.Errorf("no line %q in\n%s", line, block.String())
				}
			}
			wantReport(t, report, test.report...)
		})
	}
}
