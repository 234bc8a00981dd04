package testmysql_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
)

func TestServerKeepsItsDataOverACrash(t *testing.T) {
	t.Parallel()
	server, err := testmysql.Start(t.TempDir())
	if errors.Is(err, testmysql.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	db, err := sql.Open("mysql", server.DSN(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var version string
	if err := db.QueryRow("SELECT VERSION()").Scan(&version); err != nil || strings.Contains(version, "MariaDB") {
		t.Fatalf("it is %s, %v", version, err)
	}
	if err := server.CreateDatabase("d"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("d", "CREATE TABLE t (id int)", "FLUSH TABLES"); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := server.Exec("d", "SELECT * FROM t"); err == nil {
		t.Fatal("a killed server answered")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("d", "SELECT * FROM t"); err != nil {
		t.Fatal(err)
	}
}
