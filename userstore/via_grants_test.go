package userstore_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestViasNeedTheirColumnsOnly opens a store with an account that has exactly the
// privileges that Privileges lists, and with one that lacks some.
func TestViasNeedTheirColumnsOnly(t *testing.T) {
	t.Parallel()
	server, d := newServerDatabase(t)
	d.exec(authUser, threeUsers, sessionTable, apiTokenTable, "INSERT INTO django_session VALUES ('a', '1', '9999-01-01')",
		"INSERT INTO authtoken_token VALUES ('a', '2024-01-01', 2)", "CREATE USER gateway@'%' IDENTIFIED BY 's3cret'")
	vias := []*userstore.Via{sessions(), apiTokens(), {Name: "simplejwt", Column: "username"}}
	dsn := strings.Replace(server.DSN("django"), server.DSN("")[:strings.Index(server.DSN(""), "@")], "gateway:s3cret", 1)
	inspector, err := userstore.NewInspector(userstore.Config{DSN: server.DSN("django")}, userstore.Needs{Vias: vias})
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	table, err := inspector.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, related := range []string{"django.django_session (session_key, session_data, expire_date)", "django.authtoken_token (key, created, user_id)"} {
		if !slices.Contains(table.Related, related) {
			t.Errorf("what is read is %q, without %q", table.Related, related)
		}
	}
	if err := inspector.Needed(t.Context()); err != nil {
		t.Error(err)
	}
	granted, err := inspector.Privileges(t.Context(), "gateway@%")
	if err != nil {
		t.Fatal(err)
	}
	d.exec(granted.Least...)
	s := openStore(t, userstore.Config{DSN: dsn}, userstore.Needs{Vias: vias})
	wantVia(t, s, vias[0], "a", "alice")
	wantVia(t, s, vias[1], "a", "bob")
	wantVia(t, s, vias[2], "Zoë", "Zoë")

	d.exec("REVOKE SELECT (session_data) ON django.django_session FROM gateway@'%'")
	_, err = userstore.Open(t.Context(), patient(userstore.Config{DSN: dsn}), userstore.Needs{Vias: vias}, nil)
	wantError(t, err, "django_session", `no column "session_data"`, "grant the dsn's user SELECT")
	d.exec("REVOKE ALL PRIVILEGES, GRANT OPTION FROM gateway@'%'", granted.Least[0])
	_, err = userstore.Open(t.Context(), patient(userstore.Config{DSN: dsn}), userstore.Needs{Vias: vias}, nil)
	wantError(t, err, "django_session", "may not read table", "execute GRANT SELECT")
}
