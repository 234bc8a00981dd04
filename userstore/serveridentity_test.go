package userstore_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// identityOf reads the identity of a server.
func identityOf(t testing.TB, db *sql.DB) userstore.ServerIdentity {
	t.Helper()
	identity, err := userstore.IdentityOf(func(statement string, found func(name, value string)) error {
		rows, err := db.Query(statement)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name, value string
			if err := rows.Scan(&name, &value); err != nil {
				return err
			}
			found(name, value)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestIdentityDistinguishesServers(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	one, again := identityOf(t, d.db), identityOf(t, open(t, d.name))
	if !one.Is(again) || one.UUID == "" || one.Started.IsZero() {
		t.Errorf("%v and %v: want one server, with a UUID and the time of its start", one, again)
	}
	_, other := newServerDatabase(t)
	if is := identityOf(t, other.db); one.Is(is) {
		t.Errorf("%v and %v: want two servers", one, is)
	}
	restarted := one
	restarted.Started = one.Started.Add(time.Minute)
	if one.Is(restarted) {
		t.Errorf("%v is the server after a restart", restarted)
	}
}
