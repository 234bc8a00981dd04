package userstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// The gateway's own sessions are in signed cookies. A table of them, beside the
// users', lets users see where they are logged in, and ends a session on the server.
// Its row is read with the user, in one query: see SessionListVia.

// The columns of the table.
const (
	listedID       = "id"
	listedUser     = "user_id"
	listedCreated  = "created"
	listedSeen     = "seen"
	listedExpires  = "expires"
	listedBrowser  = "browser"
	listedPlatform = "platform"
	listedAddress  = "address"
	listedSite     = "site"
)

// listedTexts are the columns with texts, and how many characters they hold.
var listedTexts = []struct {
	name   string
	length int
}{{listedBrowser, 40}, {listedPlatform, 40}, {listedAddress, 49}, {listedSite, 255}}

// listedIDLength is the length of the text of a session.ID.
const listedIDLength = 26

// SessionList is the statement that makes the table of the gateway's sessions. Call
// it after Table.
//
// user_id refers to the users' table as tables of Django's do: it is of the same
// type, without a foreign key, so that nothing keeps users from being deleted. Times
// are in UTC, by the gateways' clocks.
func (i *Inspector) SessionList(name string) (string, error) {
	if i.plan == nil {
		return "", errNoTable
	}
	list, err := parseTable(name)
	if err != nil {
		return "", err
	}
	user, err := i.s.relationKey(&builder{plan: i.plan, table: i.table})
	if err != nil {
		return "", err
	}
	kind := user.columnType
	if user.charset != "" {
		kind += " CHARACTER SET " + user.charset + " COLLATE " + user.collation
	}
	statement := "CREATE TABLE " + list.sql() + " (\n" +
		"  " + listedID + " char(26) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,\n" +
		"  " + listedUser + " " + kind + " NOT NULL,\n"
	for _, column := range []string{listedCreated, listedSeen, listedExpires} {
		statement += "  " + column + " datetime NOT NULL,\n"
	}
	for _, column := range listedTexts {
		statement += fmt.Sprintf("  %s varchar(%d) CHARACTER SET ascii NOT NULL,\n", column.name, column.length)
	}
	return statement + "  KEY (" + listedUser + ", " + listedExpires + "),\n  KEY (" + listedExpires + ")\n);", nil
}

// SessionListVia is the way to users by the IDs of their sessions in the table.
func SessionListVia(table string) *Via {
	return &Via{Name: "session", Option: "session: table", Table: table, Column: listedID, User: listedUser, Reads: []string{listedSeen}}
}

// SessionRowVia is SessionListVia for callers that need the whole row: see
// User.ListedSession.
func SessionRowVia(table string) *Via {
	via := SessionListVia(table)
	via.Reads = []string{listedSeen, listedCreated, listedExpires, listedBrowser, listedPlatform, listedAddress, listedSite}
	return via
}

// ListedSession is a row of the table.
type ListedSession struct {
	ID                     string
	Created, Seen, Expires time.Time
	Browser, Platform      string
	Address, Site          string
}

// sessionList are the statements for the table.
type sessionList struct {
	id exactValue

	create, see, end, endOwn, endOthers, tidy, limit *written
	list                                             string
}

// chooseSessionList prepares for the table of sessions.
func (s *MySQL) chooseSessionList(ctx context.Context, b *builder) error {
	name := s.needs.SessionList
	if name == "" {
		return nil
	}
	t, err := s.lookAtSessionList(ctx, b, name)
	if err != nil {
		return setting.Elsewhere("session: table", err)
	}
	user, err := s.relationKey(b)
	if err != nil {
		return err
	}
	id, _ := t.find(listedID)
	all := []string{listedID, listedUser, listedCreated, listedSeen, listedExpires, listedBrowser, listedPlatform, listedAddress, listedSite}
	needs := t.access(b)
	needs.columns, needs.inserted, needs.updated, needs.deletes = all, all, []string{listedSeen, listedExpires}, true

	of, is := tableName{t.schema, t.name}.sql(), exactly(id)
	who := strings.Join(s.keyConditions(b.plan), " AND ")
	ofUser := quote(listedUser) + " = (SELECT " + quote(user.name) + " FROM " + s.name.sql() + " WHERE " + who + ")"
	const doing, instead = "write the table of sessions", "remove table from session"
	writes := func(statement string) *written { return b.writes(doing, instead, statement, *needs) }
	b.plan.sessionList = &sessionList{
		id: is,
		create: writes("INSERT INTO " + of + " (" + quoteAll(all) + ") SELECT ?, " + quote(user.name) + ", ?, ?, ?, ?, ?, ?, ? FROM " +
			s.name.sql() + " WHERE " + who),
		see:       writes("UPDATE " + of + " SET " + listedSeen + " = ?, " + listedExpires + " = ? WHERE " + is.sql + " AND " + listedSeen + " < ?"),
		end:       writes("DELETE FROM " + of + " WHERE " + is.sql),
		endOwn:    writes("DELETE FROM " + of + " WHERE " + is.sql + " AND " + ofUser),
		endOthers: writes("DELETE FROM " + of + " WHERE " + ofUser + " AND " + quote(listedID) + " <> ?"),
		tidy:      writes("DELETE FROM " + of + " WHERE " + ofUser + " AND " + listedExpires + " < ? LIMIT 1000"),
		limit:     writes("DELETE FROM " + of + " WHERE " + ofUser + " AND " + listedSeen + " < ? LIMIT 1000"),
		list: "SELECT " + quote(listedID) + ", CAST(" + listedCreated + " AS CHAR), CAST(" + listedSeen + " AS CHAR), CAST(" + listedExpires + " AS CHAR), " +
			quoteAll([]string{listedBrowser, listedPlatform, listedAddress, listedSite}) + " FROM " + of + " WHERE " + ofUser +
			" AND " + listedExpires + " > ? ORDER BY " + listedSeen + " DESC, " + listedCreated + " DESC, " + quote(listedID) + " LIMIT " + strconv.Itoa(MostSessions),
	}
	return nil
}

// howToMakeSessionList is the remedy if the table is missing, or another one.
const howToMakeSessionList = "make it with the statement that `caddy sesame check --create` prints"

// lookAtSessionList checks the table.
func (s *MySQL) lookAtSessionList(ctx context.Context, b *builder, name string) (related, error) {
	t, err := s.lookAtRelated(ctx, b, name)
	if answer, ok := errors.AsType[*mysql.MySQLError](err); ok && (answer.Number == erNoSuchTable || answer.Number == erUnknownDatabase) {
		return t, misfitf("the table %s for sessions doesn't exist: %s (%w)", name, howToMakeSessionList, answer)
	}
	if err != nil {
		return t, err
	}
	id, ok := t.find(listedID)
	if !ok || !id.isText() && !id.isBinary() || id.length < listedIDLength {
		return t, misfitf("%s isn't one for sessions: %s", t.table, howToMakeSessionList)
	}
	if _, ok := t.find(listedUser); !ok {
		return t, misfitf("%s has no column %s: %s", t.table, listedUser, howToMakeSessionList)
	}
	for _, name := range []string{listedCreated, listedSeen, listedExpires} {
		if c, ok := t.find(name); !ok || !c.isTime() {
			return t, misfitf("%s has no column %s of the type DATETIME: %s", t.table, name, howToMakeSessionList)
		}
	}
	for _, text := range listedTexts {
		if c, ok := t.find(text.name); !ok || !c.isText() || c.length < int64(text.length) {
			return t, misfitf("%s has no column %s of the type VARCHAR(%d): %s", t.table, text.name, text.length, howToMakeSessionList)
		}
	}
	return t, nil
}

// BeginSession writes the row of a session that a user's login begins, and deletes those
// of the sessions that it replaces, in one transaction. After an error, the session
// may or may not be in the table.
func (s *MySQL) BeginSession(ctx context.Context, u *User, row ListedSession, replaced []string) error {
	const doing = "writing a session"
	list, key, err := s.sessionListOf(ctx, u, doing)
	if err != nil {
		return err
	}
	args := append([]any{row.ID, listedTime(row.Created), listedTime(row.Seen), listedTime(row.Expires)},
		listedText(row.Browser, 40), listedText(row.Platform, 40), listedText(row.Address, 49), listedText(row.Site, 255))
	args = append(args, key...)
	var begun int64
	err = s.write(ctx, doing, func(ctx context.Context) error {
		tx, err := s.pool.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // it is over, or the error is known
		for _, id := range replaced {
			if is, ok := list.id.args(id); ok {
				if _, err := list.end.exec(ctx, tx, is); err != nil {
					return err
				}
			}
		}
		if begun, err = list.create.exec(ctx, tx, args); err != nil {
			return err
		}
		return tx.Commit()
	})
	if err == nil && begun == 0 {
		return unavailable(doing, ErrNotFound) // the user was deleted at the same time
	}
	return err
}

// MostSessions is how many sessions of a user are listed, and about how many a user
// can have: a program that keeps no cookies begins one with each link that it opens.
const MostSessions = 100

// TidySessions deletes rows of a user's sessions that have expired, and of those that
// weren't used for longest where there are more than MostSessions.
func (s *MySQL) TidySessions(ctx context.Context, u *User, now time.Time) error {
	const doing = "deleting expired sessions"
	list, key, err := s.sessionListOf(ctx, u, doing)
	if err != nil {
		return err
	}
	remove := func(w *written, before time.Time) error {
		return s.write(ctx, doing, func(ctx context.Context) error {
			_, err := w.exec(ctx, nil, append(key, listedTime(before)))
			return err
		})
	}
	if err := remove(list.tidy, now.Add(-forgetMargin)); err != nil {
		return err
	}
	all, err := s.SessionsOf(ctx, u, now)
	if err != nil || len(all) < MostSessions {
		return err
	}
	return remove(list.limit, all[MostSessions-1].Seen)
}

// SeeSession notes that a session is in use, unless that was noted after a time.
func (s *MySQL) SeeSession(ctx context.Context, row ListedSession, after time.Time) error {
	const doing = "noting the use of a session"
	list, err := s.sessionList(ctx, doing)
	if err != nil {
		return err
	}
	is, ok := list.id.args(row.ID)
	if !ok {
		return nil
	}
	args := append([]any{listedTime(row.Seen), listedTime(row.Expires)}, is...)
	return s.write(ctx, doing, func(ctx context.Context) error {
		_, err := list.see.exec(ctx, nil, append(args, listedTime(after)))
		return err
	})
}

// SessionsOf returns the sessions of a user that haven't expired, up to MostSessions,
// those that were used last first.
func (s *MySQL) SessionsOf(ctx context.Context, u *User, now time.Time) ([]ListedSession, error) {
	const doing = "listing sessions"
	list, key, err := s.sessionListOf(ctx, u, doing)
	if err != nil {
		return nil, err
	}
	if err := s.mayRead(doing); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, s.failed(ctx, doing, err)
	}
	before := s.pool.breaker.answers.Load()
	all, err := asking(ctx, s, func(ctx context.Context) ([]ListedSession, error) {
		return s.readSessions(ctx, list.list, append(key, listedTime(now)))
	})
	s.heard(ctx, before, err)
	if err != nil {
		return nil, s.failed(ctx, doing, err)
	}
	return all, nil
}

func (s *MySQL) readSessions(ctx context.Context, query string, args []any) (all []ListedSession, err error) {
	rows, err := s.pool.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var row ListedSession
		var created, seen, expires string
		if err := rows.Scan(&row.ID, &created, &seen, &expires, &row.Browser, &row.Platform, &row.Address, &row.Site); err != nil {
			return nil, fmt.Errorf("reading a session: %w", err)
		}
		row.Created, row.Seen, row.Expires = readListedTime(created), readListedTime(seen), readListedTime(expires)
		all = append(all, row)
	}
	return all, rows.Err()
}

// EndSessions deletes the rows of sessions by their IDs. Missing ones are no error.
func (s *MySQL) EndSessions(ctx context.Context, ids []string) (ended int64, err error) {
	const doing = "ending sessions"
	list, err := s.sessionList(ctx, doing)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		is, ok := list.id.args(id)
		if !ok {
			continue
		}
		err := s.write(ctx, doing, func(ctx context.Context) error {
			changed, err := list.end.exec(ctx, nil, is)
			ended += changed
			return err
		})
		if err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// EndSessionOf deletes the row of a session by its ID, if it is the user's. isEnded is
// false if there was no such row.
func (s *MySQL) EndSessionOf(ctx context.Context, u *User, id string) (isEnded bool, err error) {
	const doing = "ending a session"
	list, key, err := s.sessionListOf(ctx, u, doing)
	if err != nil {
		return false, err
	}
	is, ok := list.id.args(id)
	if !ok {
		return false, nil
	}
	err = s.write(ctx, doing, func(ctx context.Context) error {
		deleted, err := list.endOwn.exec(ctx, nil, append(is, key...))
		isEnded = deleted > 0
		return err
	})
	return isEnded, err
}

// EndOtherSessions deletes the rows of all of a user's sessions but one, whose ID may
// be empty.
func (s *MySQL) EndOtherSessions(ctx context.Context, u *User, id string) (ended int64, err error) {
	const doing = "ending a user's other sessions"
	list, key, err := s.sessionListOf(ctx, u, doing)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, doing, func(ctx context.Context) (err error) {
		ended, err = list.endOthers.exec(ctx, nil, append(key, id))
		return err
	})
	return ended, err
}

// sessionList returns the plan's statements, or an error if the store has no table
// of sessions.
func (s *MySQL) sessionList(ctx context.Context, doing string) (*sessionList, error) {
	p, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	if p.sessionList == nil || !p.sessionList.create.isReady() {
		return nil, unavailable(doing, errOnlyReads)
	}
	return p.sessionList, nil
}

// sessionListOf is sessionList with the parameters for a user's key.
func (s *MySQL) sessionListOf(ctx context.Context, u *User, doing string) (list *sessionList, key []any, err error) {
	if list, err = s.sessionList(ctx, doing); err != nil {
		return nil, nil, err
	}
	p := s.plan.Load()
	key, ok := p.keyParams(u)
	if !ok {
		return nil, nil, unavailable(doing, p.key.check(u.PrimaryKey.Kind()))
	}
	return list, key, nil
}

// SessionSeen returns when the use of the session was last noted that has led to
// this user. ok is false for users who were found in another way.
func (u *User) SessionSeen() (seen time.Time, ok bool) {
	text, ok := u.via.Value(listedSeen)
	return readListedTime(text), ok
}

// ListedSession returns the row, without its ID, of the session that has led to this
// user. ok is false for users who weren't found by SessionRowVia.
func (u *User) ListedSession() (row ListedSession, ok bool) {
	text := func(column string) string {
		value, isRead := u.via.Value(column)
		ok = isRead
		return value
	}
	row = ListedSession{
		Created: readListedTime(text(listedCreated)), Seen: readListedTime(text(listedSeen)), Expires: readListedTime(text(listedExpires)),
		Browser: text(listedBrowser), Platform: text(listedPlatform), Address: text(listedAddress), Site: text(listedSite),
	}
	return row, ok
}

// listedTime writes a time for the table.
func listedTime(at time.Time) string { return at.UTC().Format(wholeSeconds) }

// readListedTime reads a time of the table. What isn't one is the zero time.
func readListedTime(text string) time.Time {
	at, _, _ := parseLastLogin(text)
	return at
}

// listedText writes a text for the table: as much of it as the column holds, with a
// question mark for what isn't visible ASCII.
func listedText(text string, length int) string {
	ascii := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
	return ascii[:min(len(ascii), length)]
}
