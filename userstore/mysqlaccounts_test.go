package userstore_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/testmysql"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestMySQLWithUnusualSettings has settings by which texts in SQL mean something else,
// names of tables are in lower case, and lists are cut after a few bytes.
func TestMySQLWithUnusualSettings(t *testing.T) {
	t.Parallel()
	server := newMySQL(t, "--lower-case-table-names=1",
		"--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE",
		"--group-concat-max-len=64", "--character-set-server=latin1", "--partial-revokes=ON")
	t.Run("engine", func(t *testing.T) { testEngine(t, engine{dsns: []string{server.DSN("")}}) })
	if err := server.CreateDatabase("Django"); err != nil {
		t.Fatal(err)
	}
	if err := server.Exec("Django", authUser, threeUsers); err != nil {
		t.Fatal(err)
	}
	t.Run("accounts", func(t *testing.T) { testMySQLAccounts(t, server) })
}

// testMySQLAccounts opens a store with accounts that only MySQL has in these states.
func testMySQLAccounts(t *testing.T, server *testmysql.Server) {
	const needed = "GRANT SELECT (id, username, email, password, is_active, last_login), UPDATE (last_login) ON django.auth_user TO "
	for _, test := range []struct {
		name       string // of the account
		statements []string
		says       []string // of the error; none without
	}{
		{"plain", []string{needed + "plain"}, nil},
		{"in_role", []string{"CREATE ROLE r1", needed + "r1", "GRANT r1 TO in_role", "SET DEFAULT ROLE r1 TO in_role"}, nil},
		{"idle_role", []string{"CREATE ROLE r2", needed + "r2", "GRANT r2 TO idle_role"}, []string{"SET DEFAULT ROLE"}},
		{"of_all_but_mysql", []string{"GRANT SELECT, UPDATE ON *.* TO of_all_but_mysql", "REVOKE SELECT ON mysql.* FROM of_all_but_mysql"}, nil},
		{
			"of_all_but_django",
			[]string{"GRANT SELECT, UPDATE ON *.* TO of_all_but_django", "REVOKE UPDATE ON django.* FROM of_all_but_django"},
			[]string{"UPDATE (`last_login`) ON `django`.`auth_user`"},
		},
		{"over_tls", []string{needed + "over_tls", "ALTER USER over_tls REQUIRE SSL"}, []string{"asks for TLS"}},
		{"expired", []string{needed + "expired", "ALTER USER expired PASSWORD EXPIRE"}, []string{"has expired", "ALTER USER"}},
		{"locked", []string{needed + "locked", "ALTER USER locked ACCOUNT LOCK"}, []string{"is locked", "ACCOUNT UNLOCK"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := server.Exec("", slices.Concat([]string{"CREATE USER " + test.name + " IDENTIFIED BY 's3cret'"}, test.statements)...); err != nil {
				t.Fatal(err)
			}
			cfg := userstore.Config{DSN: server.UserDSN(test.name, "s3cret", "django"), StartWithout: true}
			s, err := userstore.Open(t.Context(), patient(cfg), userstore.Needs{LastLogin: true}, nil)
			if err == nil {
				defer s.Close() //nolint:errcheck // there is nothing to close after an error
			}
			switch {
			case len(test.says) > 0:
				wantError(t, err, test.says...)
				if errors.Is(err, userstore.ErrUnavailable) {
					t.Error("it is called an outage")
				}
			case err != nil:
				t.Error(err)
			}
		})
	}
}
