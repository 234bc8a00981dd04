package userstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestErrorsOfInvalidDSNsSayHowToWriteThem checks the mistakes that can be found
// without a server.
func TestErrorsOfInvalidDSNsSayHowToWriteThem(t *testing.T) {
	t.Parallel()
	const form = "user:password@tcp(host:3306)/database"
	tests := []struct {
		name, dsn string
		want      []string
	}{
		{"a URL", "mysql://root:s3cret@db.example.com/app", []string{"URL", form}},
		{"a URL of another program", "mysql+pymysql://root:s3cret@db/app?charset=utf8", []string{"URL", form}},
		{"without a database", "root:s3cret@tcp(db:3306)", []string{"slash", form}},
		{"with an empty database", "root:s3cret@tcp(db:3306)/", []string{"no database", "tcp(host:3306)/database"}},
		{"an IPv6 address without brackets", "root:s3cret@tcp(2001:db8::1:3306)/app", []string{"IPv6", "tcp([2001:db8::1]:3306)"}},
		{"no address at all", "root:s3cret@tcp(db:3306:3306)/app", []string{"brackets"}},
		{"a port that is no number", "root:s3cret@tcp(db:mysql)/app", []string{"port", "tcp(host:3306)"}},
		{"a port that is too large", "root:s3cret@tcp(db:33060000)/app", []string{"port"}},
		{"a port with a sign", "root:s3cret@tcp(db:+3306)/app", []string{"port"}},
		{"no host", "root:s3cret@tcp(:3306)/app", []string{"host is missing"}},
		{"brackets without an address", "root:s3cret@tcp([]:3306)/app", []string{"host is missing"}},
		{"a control character in the address", "root:s3cret@tcp(db\x01:3306)/app", []string{"control character"}},
		{"a control character in the zone of an address", "root:s3cret@tcp([fe80::1%\x7f]:3306)/app", []string{"control character"}},
		{"a zone that is no interface", "root:s3cret@tcp([fe80::1%a%b]:3306)/app", []string{"network interface", "tcp([fe80::1%eth0]:3306)"}},
		{"a zone of an address that has none", "root:s3cret@tcp([2001:db8::1%eth0]:3306)/app", []string{"network interface"}},
		{"a % in a name", "root:s3cret@tcp(db%20:3306)/app", []string{"network interface"}},
		{"without tcp()", "root:s3cret@db:3306/app", []string{form}},
		{"a byte order mark", "\ufeffroot:s3cret@tcp(db)/app", []string{"byte order mark"}},
		{"quotes", `"root:s3cret@tcp(db)/app"`, []string{"quotes"}},
		{"ssl-mode", "root:s3cret@tcp(db)/app?ssl-mode=REQUIRED", []string{`"ssl-mode"`, "tls=true"}},
		{"sslmode", "root:s3cret@tcp(db)/app?sslmode=require", []string{`"sslmode"`, "tls=true"}},
		{"useSSL", "root:s3cret@tcp(db)/app?useSSL=true", []string{`"useSSL"`, "tls=true"}},
		{"the driver's in another case", "root:s3cret@tcp(db)/app?TLS=true", []string{`"TLS"`, "write it as tls"}},
		{"serverTimezone", "root:s3cret@tcp(db)/app?serverTimezone=UTC", []string{`"serverTimezone"`, "time_zone"}},
		{"a password as a parameter", "tcp(db)/app?user=root&password=s3cret", []string{form}},
		{"a name that no variable has", "root:s3cret@tcp(db)/app?a-b=1", []string{`"a-b"`, "correct or remove"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := userstore.Config{DSN: test.dsn}
			wantError(t, cfg.Validate(), test.want...)
		})
	}
}

// TestParametersThatTheServerRejectsAreNamed asks a server. Its rejection isn't an
// outage: start_without doesn't help.
func TestParametersThatTheServerRejectsAreNamed(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, authUser, threeUsers)
	for _, test := range []struct{ parameter, name string }{
		{"foo=bar", "foo"},
		{"max_connections=5", "max_connections"},
		{"version=5", "version"},
		{"wait_timeout=soon", "wait_timeout"},
		{"sql_mode=WRONG", "sql_mode"},
		{"innodb_strict_mode=%27s3cret%27", "innodb_strict_mode"},
		{"wait_timeout=%27s3cret", "wait_timeout"},
		{"max_statement_time=1&bar=2", "bar"},
	} {
		t.Run(test.parameter, func(t *testing.T) {
			t.Parallel()
			cfg := userstore.Config{DSN: d.dsn() + "?" + test.parameter, StartWithout: true, QueryTimeout: caddy.Duration(20 * time.Second)}
			_, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{}, nil)
			wantError(t, err, `the parameter "`+test.name+`"`, "correct its name or value")
			if errors.Is(err, userstore.ErrUnavailable) {
				t.Error("it is called an outage")
			}
		})
	}
	_, err := userstore.Open(t.Context(), patient(userstore.Config{DSN: d.dsn() + "?tls=true", StartWithout: true}), userstore.Needs{}, nil)
	wantError(t, err, "TLS, which the server doesn't offer", "tls=true")
	if errors.Is(err, userstore.ErrUnavailable) {
		t.Error("a server without TLS is called an outage")
	}
}

// TestDSNFilesWithAByteOrderMarkAreNamed writes files as editors and shells of
// Windows do.
func TestDSNFilesWithAByteOrderMarkAreNamed(t *testing.T) {
	t.Parallel()
	for _, text := range map[string]string{
		"UTF-8 with a BOM": "\xef\xbb\xbfroot:s3cret@tcp(127.0.0.1:1)/app\r\n",
		"UTF-16":           "\xff\xfer\x00o\x00o\x00t\x00",
	} {
		file := filepath.Join(t.TempDir(), "dsn")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := userstore.Open(t.Context(), patient(userstore.Config{DSNFile: file}), userstore.Needs{}, nil)
		wantError(t, err, "dsn_file: "+file, "byte order mark")
	}
}
