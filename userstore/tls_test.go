package userstore_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// newTLSServer is a server with TLS, whose certificate is from a private
// authority for localhost and 127.0.0.1.
func newTLSServer(t *testing.T) (*testmariadb.Server, *testmariadb.Authority, string) {
	t.Helper()
	dir := t.TempDir()
	authority, err := testmariadb.NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	options, err := authority.ServerOptions(time.Now().Add(time.Hour), "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server, err := testmariadb.Start(t.TempDir(), options...)
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if err := server.CreateDatabase("django"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("django", authUser, threeUsers,
		"CREATE USER plain@'%' IDENTIFIED BY 's3cret'", "GRANT SELECT ON django.* TO plain@'%'",
		"CREATE USER tls@'%' IDENTIFIED BY 's3cret' REQUIRE SSL", "GRANT SELECT ON django.* TO tls@'%'",
		"CREATE USER x509@'%' IDENTIFIED BY 's3cret' REQUIRE X509", "GRANT SELECT ON django.* TO x509@'%'"); err != nil {
		t.Fatal(err)
	}
	return server, authority, dir
}

func TestTLSModesConnectOrRefuse(t *testing.T) {
	t.Parallel()
	server, authority, dir := newTLSServer(t)
	cert, key, err := authority.Issue("client", time.Now().Add(time.Hour), "gateway")
	if err != nil {
		t.Fatal(err)
	}
	another, err := testmariadb.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	notPEM := filepath.Join(dir, "not.pem")
	write(t, notPEM, "s3cret")
	dsn := func(user, host, params string) string {
		cfg, err := mysql.ParseDSN(server.UserDSN(user, "s3cret", "django"))
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(cfg.Addr)
		if err != nil {
			t.Fatal(err)
		}
		return user + ":s3cret@tcp(" + host + ":" + port + ")/django" + params
	}
	ours := authority.File()
	tests := []struct {
		name string
		cfg  userstore.Config
		want string // in the error; empty for none
	}{
		{"authority", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: ours}, ""},
		{"authority and tls=true", userstore.Config{DSN: dsn("tls", "localhost", "?tls=true"), TLSCA: ours}, ""},
		{"name", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: ours, TLSServerName: "localhost"}, ""},
		{"client's certificate", userstore.Config{DSN: dsn("x509", "127.0.0.1", ""), TLSCA: ours, TLSCert: cert, TLSKey: key}, ""},
		{"not encrypted", userstore.Config{DSN: dsn("tls", "127.0.0.1", "")}, "Access denied"},
		{"unknown authority", userstore.Config{DSN: dsn("tls", "127.0.0.1", "?tls=true")}, "tls_ca"},
		{"another authority", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: another.File()}, "from an authority that is trusted here"},
		{"the system's authorities", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSServerName: "localhost"}, "tls_ca"},
		{"another name", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: ours, TLSServerName: "db.example.com"}, "db.example.com"},
		{"no client's certificate", userstore.Config{DSN: dsn("x509", "127.0.0.1", ""), TLSCA: ours}, "Access denied"},
		{"contradiction", userstore.Config{DSN: dsn("tls", "127.0.0.1", "?tls=skip-verify"), TLSCA: ours}, "tls=skip-verify"},
		{"contradiction", userstore.Config{DSN: dsn("tls", "127.0.0.1", "?tls=preferred"), TLSServerName: "localhost"}, "tls=preferred"},
		{"no file", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: filepath.Join(dir, "none")}, "tls_ca: open"},
		{"no certificate", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: notPEM}, "has no certificate in PEM"},
		{"no key", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: ours, TLSCert: cert}, "tls_cert and tls_key need each other"},
		{"another's key", userstore.Config{DSN: dsn("tls", "127.0.0.1", ""), TLSCA: ours, TLSCert: cert, TLSKey: ours}, "tls_cert and tls_key"},
		{"socket", userstore.Config{DSN: "u:s3cret@unix(/nowhere)/django", TLSCA: ours}, "tls_server_name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.cfg.QueryTimeout = caddy.Duration(20 * time.Second)
			s, err := userstore.Open(t.Context(), test.cfg, userstore.Needs{}, zap.NewNop())
			if test.want != "" {
				wantError(t, err, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
				t.Error(err)
			}
			inspector, err := userstore.NewInspector(test.cfg, userstore.Needs{})
			if err != nil {
				t.Fatal(err)
			}
			defer inspector.Close()
			if found, err := inspector.Server(t.Context()); err != nil || found.TLS == "" || !found.Verified {
				t.Errorf("the connection is said to be %+v, %v", found, err)
			}
		})
	}
}

// TestCertificateThatExpires while the gateway runs: open connections stay in use,
// new connections fail, and a new certificate fixes that.
func TestCertificateThatExpires(t *testing.T) {
	t.Parallel()
	server, authority, _ := newTLSServer(t)
	s, logs := openLogged(t, userstore.Config{
		DSN: server.UserDSN("tls", "s3cret", "django"), TLSCA: authority.File(), QueryTimeout: caddy.Duration(20 * time.Second),
	}, userstore.Needs{})
	if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
		t.Fatal(err)
	}
	renew := func(until time.Time, names ...string) {
		t.Helper()
		if _, err := authority.ServerOptions(until, names...); err != nil {
			t.Fatal(err)
		}
		if err := server.Exec("", "FLUSH SSL"); err != nil {
			t.Fatal(err)
		}
	}
	for name, broken := range map[string]func(){
		"expired":     func() { renew(time.Now().Add(-time.Minute), "localhost", "127.0.0.1") },
		"other names": func() { renew(time.Now().Add(time.Hour), "db.example.com") },
	} {
		broken()
		if err := server.Exec("", "KILL USER tls"); err != nil {
			t.Fatal(err)
		}
		var refused error
		eventually(t, func() error {
			_, refused = s.Lookup(t.Context(), token.IntKey(1))
			return hasLogged(refused != nil)
		})
		if !errors.Is(refused, userstore.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, refused)
		}
		eventually(t, func() error {
			_, _ = s.Lookup(t.Context(), token.IntKey(1))
			return hasLogged(!s.Servers()[0].Silent.IsZero())
		})
		_, err := s.Lookup(t.Context(), token.IntKey(1))
		wantError(t, err, "check that the server's certificate is for the host in the dsn")
		renew(time.Now().Add(time.Hour), "localhost", "127.0.0.1")
		awaitSilence(t, s, false)
		if _, err := s.Lookup(t.Context(), token.IntKey(1)); err != nil {
			t.Errorf("%s: with a new certificate: %v", name, err)
		}
	}
	if logs.FilterMessageSnippet("MySQL doesn't answer").Len() != 2 {
		t.Errorf("the log is %v", logs.All())
	}
}
