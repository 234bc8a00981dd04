package userstore_test

import (
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestLastLoginIsNotShifted reads with a server whose zone is far from UTC:
// DATETIME as it stands, and TIMESTAMP, which is a point in time, in UTC.
func TestLastLoginIsNotShifted(t *testing.T) {
	t.Parallel()
	const written = "2024-03-31 02:30:00.123456" // doesn't exist in Paris
	off := false
	tests := []struct {
		columnType string
		want       time.Time
	}{
		{"datetime(6)", time.Date(2024, 3, 31, 2, 30, 0, 123456000, time.UTC)},
		{"datetime(3)", time.Date(2024, 3, 31, 2, 30, 0, 123000000, time.UTC)},
		{"datetime", time.Date(2024, 3, 31, 2, 30, 0, 0, time.UTC)},
		{"varchar(26)", time.Date(2024, 3, 31, 2, 30, 0, 123456000, time.UTC)},
		{"text", time.Date(2024, 3, 31, 2, 30, 0, 123456000, time.UTC)},
		// Written through a session at -09:30.
		{"timestamp(6) NULL", time.Date(2024, 3, 31, 12, 0, 0, 123456000, time.UTC)},
	}
	for _, test := range tests {
		t.Run(test.columnType, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, last_login "+test.columnType+")",
				"SET STATEMENT sql_mode = '', time_zone = '-09:30' FOR INSERT INTO auth_user VALUES (1, 'x', '"+written+"')",
				"CREATE VIEW plain AS SELECT * FROM auth_user")
			for _, cfg := range []userstore.Config{
				{DSN: d.dsn()},
				{DSN: d.dsn(), Table: "plain"},
				{DSN: d.dsn(), UseTZ: &off, TimeZone: "Europe/Paris"},
			} {
				s := openStore(t, cfg, userstore.Needs{LastLogin: true})
				u, err := s.Lookup(t.Context(), token.IntKey(1))
				if err != nil {
					t.Fatal(err)
				}
				if u.LastLogin == nil || !u.LastLogin.Equal(test.want) || u.LastLogin.Location() != time.UTC {
					t.Errorf("read %v, want %v", u.LastLogin, test.want)
				}
			}
		})
	}
}

func TestLastLoginThatIsNoTime(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "CREATE TABLE auth_user (id int PRIMARY KEY, password text, last_login varchar(40))",
		"INSERT INTO auth_user VALUES (1, 'x', 'yesterday'), (2, 'x', ''), (3, 'x', '2024-03-31 02:30:00+02:00')")
	s := openStore(t, userstore.Config{DSN: d.dsn()}, userstore.Needs{LastLogin: true})
	for id := range 3 {
		_, err := s.Lookup(t.Context(), token.IntKey(int64(id+1)))
		wantError(t, err, userstore.ErrUnavailable.Error(), "last_login isn't a date and time")
	}
}
