package users

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/django/session"
)

// sessionTable is Django's, as "manage.py migrate" makes it on MariaDB.
const sessionTable = `CREATE TABLE IF NOT EXISTS django_session (
	session_key varchar(40) NOT NULL PRIMARY KEY,
	session_data longtext NOT NULL,
	expire_date datetime(6) NOT NULL,
	KEY django_session_expire_date (expire_date)
)`

// sessionsAtOnce are inserted by one statement.
const sessionsAtOnce = 500

// CreateSessions logs each user in as Django does, and returns the values of the
// cookies, in the order of the users.
func (d *Database) CreateSessions(ctx context.Context, secretKey string, all []User) ([]string, error) {
	sessions, err := session.New(session.Settings{SecretKey: secretKey})
	if err != nil {
		return nil, err
	}
	if _, err := d.ExecContext(ctx, sessionTable); err != nil {
		return nil, fmt.Errorf("creating the table of sessions: %w", err)
	}
	now := time.Now()
	keys := make([]string, 0, len(all))
	for first := 0; first < len(all); first += sessionsAtOnce {
		some := all[first:min(first+sessionsAtOnce, len(all))]
		rows := make([]any, 0, 3*len(some))
		for _, u := range some {
			data, _ := sessions.Login(session.Data{}, fmt.Sprint(u.ID), session.ModelBackend, session.User{Password: &u.password, IsActive: true})
			key := session.NewKey()
			keys = append(keys, key)
			rows = append(rows, key, sessions.Encode(data, now), now.UTC().Add(MaxAge))
		}
		insert := "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (?, ?, ?)" + strings.Repeat(", (?, ?, ?)", len(some)-1)
		if _, err := d.ExecContext(ctx, insert, rows...); err != nil {
			return nil, fmt.Errorf("filling the table of sessions: %w", err)
		}
	}
	return keys, nil
}
