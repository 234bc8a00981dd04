package testpeer

import (
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/testserver"
)

// NewDatabase makes a database for a test, which is dropped after the test, and
// returns its DSN.
func NewDatabase(t testing.TB, server *testserver.Server, name string) (dsn string) {
	t.Helper()
	if err := server.CreateDatabase(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Exec("", "DROP DATABASE "+name); err != nil {
			t.Error(err)
		}
	})
	return server.DSN(name)
}

// DjangoDatabase describes the database of a DSN as an entry of Django's DATABASES.
func DjangoDatabase(t testing.TB, dsn string) map[string]any {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(cfg.Addr, ":")
	return map[string]any{
		"ENGINE": "django.db.backends.mysql", "NAME": cfg.DBName,
		"USER": cfg.User, "PASSWORD": cfg.Passwd, "HOST": host, "PORT": port,
	}
}
