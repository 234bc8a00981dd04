package userstore

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// DefaultSessionTable is what Django calls the table of sessions.
const DefaultSessionTable = "django_session"

// The columns of Django's sessions (django.contrib.sessions.base_session).
const (
	sessionKey    = "session_key"
	sessionData   = "session_data"
	sessionExpiry = "expire_date"
)

// sessionKeyLength is the length of the keys that Django makes.
const sessionKeyLength = 32

var (
	// ErrExists says that a session with the key exists already: the caller makes
	// another key, as Django's SessionStore.create does.
	ErrExists = errors.New("there is a session with this key")

	// ErrGone says that the session to be written no longer exists, like Django's
	// UpdateError.
	ErrGone = errors.New("the session has ended")
)

// SessionRow is a row of Django's table of sessions.
type SessionRow struct {
	Key  string        // which is a secret
	Data string        // signed
	Age  time.Duration // from the time of writing until it expires
}

// sessionStatements are the statements that write Django's sessions.
type sessionStatements struct {
	key       exactValue
	precision int // of the expiry

	create, save, remove *written
	find                 string
}

// chooseSessions prepares for writing Django's sessions.
func (s *MySQL) chooseSessions(ctx context.Context, b *builder) error {
	name := s.needs.SessionTable
	if name == "" {
		return nil
	}
	sessions, err := s.lookAtRelated(ctx, b, name)
	if err != nil {
		return setting.Elsewhere("django_session: table", err)
	}
	columns := make([]column, 3)
	for i, name := range []string{sessionKey, sessionData, sessionExpiry} {
		if columns[i], err = sessions.column(b, name); err != nil {
			return setting.Elsewhere("django_session: table", err)
		}
	}
	key, data, expiry := columns[0], columns[1], columns[2]
	if err := s.checkSessions(ctx, sessions.table, key, data, expiry); err != nil {
		return setting.Elsewhere("django_session: table", err)
	}
	needs := sessions.access(b)
	needs.inserted = []string{key.name, data.name, expiry.name}
	needs.updated = []string{data.name, expiry.name}
	needs.deletes = true

	of, is := tableName{sessions.schema, sessions.name}.sql(), exactly(key)
	const doing, instead = "write Django's sessions, which django_session asks for with write on", "set write off there"
	b.plan.sessions = &sessionStatements{
		key:       is,
		precision: expiry.precision,
		create:    b.writes(doing, instead, "INSERT INTO "+of+" ("+quoteAll(needs.inserted)+") VALUES (?, ?, ?)", *needs),
		save:      b.writes(doing, instead, "UPDATE "+of+" SET "+quote(data.name)+" = ?, "+quote(expiry.name)+" = ? WHERE "+is.sql, *needs),
		remove:    b.writes(doing, instead, "DELETE FROM "+of+" WHERE "+is.sql, *needs),
		find:      "SELECT 1 FROM " + of + " WHERE " + is.sql,
	}
	return nil
}

// checkSessions makes sure that a table can hold Django's sessions.
func (s *MySQL) checkSessions(ctx context.Context, t table, key, data, expiry column) error {
	for _, c := range []struct {
		column
		fits bool
		want string
	}{
		{key, (key.isText() || key.isBinary()) && key.length >= sessionKeyLength, "VARCHAR(40)"},
		{data, data.isText() || data.isBinary(), "LONGTEXT"},
		{expiry, expiry.isTime(), "DATETIME(6)"},
	} {
		if !c.fits {
			return misfitf("column %q of %s is of type %s: Django's sessions have it as %s", c.name, t, c.columnType, c.want)
		}
	}
	if t.view {
		return nil
	}
	unique, err := s.isUnique(ctx, t, key)
	if err == nil && !unique {
		err = misfitf("column %q of %s isn't unique, so that two sessions could have one key: make it the primary key, as Django does", key.name, t)
	}
	return err
}

// CreateSession writes a new session of Django's. The error is ErrExists if another
// session has the key. After ErrUnavailable the session may or may not exist.
func (s *MySQL) CreateSession(ctx context.Context, row SessionRow, now time.Time) error {
	const doing = "creating a session of Django's"
	statements, err := s.sessionStatements(ctx, doing)
	if err != nil {
		return err
	}
	exists := false
	err = s.write(ctx, doing, func(ctx context.Context) (err error) {
		_, err = statements.create.exec(ctx, nil, statements.values(s, row, now))
		exists = numberOf(err) == erDuplicate
		return unlessDuplicate(err)
	})
	if err == nil && exists {
		return ErrExists
	}
	return err
}

// ReplaceSession writes a new session of Django's and deletes the former one,
// whether it still exists or not. The errors are those of CreateSession; after an
// error, the former session goes on.
func (s *MySQL) ReplaceSession(ctx context.Context, former string, row SessionRow, now time.Time) error {
	const doing = "replacing a session of Django's"
	statements, err := s.sessionStatements(ctx, doing)
	if err != nil {
		return err
	}
	key, ok := statements.key.args(former)
	if !ok {
		return s.CreateSession(ctx, row, now)
	}
	exists := false
	err = s.write(ctx, doing, func(ctx context.Context) error {
		tx, err := s.pool.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it is over, or the error is known
		if _, err = statements.create.exec(ctx, tx, statements.values(s, row, now)); err != nil {
			exists = numberOf(err) == erDuplicate
			return unlessDuplicate(err)
		}
		if _, err = statements.remove.exec(ctx, tx, key); err != nil {
			return err
		}
		return tx.Commit()
	})
	if err == nil && exists {
		return ErrExists
	}
	return err
}

// unlessDuplicate replaces the error for a duplicate key, which quotes the key.
func unlessDuplicate(err error) error {
	if numberOf(err) == erDuplicate {
		return nil
	}
	return err
}

// SaveSession writes data and expiry of an existing session of Django's. If it
// doesn't exist, the error is ErrGone.
func (s *MySQL) SaveSession(ctx context.Context, row SessionRow, now time.Time) error {
	const doing = "saving a session of Django's"
	statements, err := s.sessionStatements(ctx, doing)
	if err != nil {
		return err
	}
	key, ok := statements.key.args(row.Key)
	if !ok {
		return ErrGone
	}
	isThere := false
	err = s.write(ctx, doing, func(ctx context.Context) error {
		changed, err := statements.save.exec(ctx, nil, append(statements.values(s, row, now)[1:], key...))
		if err != nil || changed > 0 {
			isThere = changed > 0
			return err
		}
		// No row changes that already has these values.
		rows, err := s.pool.db.QueryContext(ctx, statements.find, key...)
		if err != nil {
			return err
		}
		defer rows.Close()
		isThere = rows.Next()
		return rows.Err()
	})
	if err == nil && !isThere {
		return ErrGone
	}
	return err
}

// DeleteSession ends a session of Django's. A missing session is no error.
func (s *MySQL) DeleteSession(ctx context.Context, key string) error {
	const doing = "ending a session of Django's"
	statements, err := s.sessionStatements(ctx, doing)
	if err != nil {
		return err
	}
	args, ok := statements.key.args(key)
	if !ok {
		return nil
	}
	return s.write(ctx, doing, func(ctx context.Context) error {
		_, err := statements.remove.exec(ctx, nil, args)
		return err
	})
}

// sessionStatements returns the plan's statements, or an error if the store doesn't
// write sessions.
func (s *MySQL) sessionStatements(ctx context.Context, doing string) (*sessionStatements, error) {
	p, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	if p.sessions == nil || !p.sessions.create.isReady() {
		return nil, unavailable(doing, errOnlyReads)
	}
	return p.sessions, nil
}

// values are the parameters for a row, in the order of the table's columns.
func (t *sessionStatements) values(s *MySQL, row SessionRow, now time.Time) []any {
	return []any{row.Key, row.Data, endText(s.columnTime(now).Add(row.Age), t.precision)}
}
