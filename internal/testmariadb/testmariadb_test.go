package testmariadb_test

import (
	"errors"
	"os"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testmariadb"
)

func TestServerKeepsItsDataOverACrash(t *testing.T) {
	t.Parallel()
	server, err := testmariadb.Start(t.TempDir())
	if errors.Is(err, testmariadb.ErrNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if err := server.CreateDatabase("odd `name"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("odd `name", "CREATE TABLE t (id int)", "FLUSH TABLES"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := server.Exec("odd `name", "SELECT * FROM t"); err == nil {
		t.Fatal("a killed server answered")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("odd `name", "SELECT * FROM t"); err != nil {
		t.Fatal(err)
	}
}
