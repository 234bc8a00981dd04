package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// The text of a Django session's row names the user, and MySQL can't read it.
// Session and user are read in one query all the same: the store remembers which
// user a value led to the last time, and reads that user's row with the session's.
// If the text names another user, a second query reads that user. A hint is never
// trusted.

// A textReader reads users by rows whose text names the user.
type textReader struct {
	reading[textRow]
	plan  *plan
	via   *Via
	led   *ledFrom
	whose byColumn // reads the users that the texts name
	at    int      // the position of the value, which is NULL in users' rows
	rows  rowPool
	hints hints
}

// textRow is a row, and the user that the value led to the last time. The user's
// Via is the row.
type textRow struct {
	row  *ViaRow
	hint token.PrimaryKey // in the column of whose; zero without a hint
	user *User            // may be nil
}

// chooseTold plans to read users by rows whose text names them.
func (s *MySQL) chooseTold(ctx context.Context, b *builder, via *Via) (viaReader, error) {
	p := b.plan
	whose, err := s.ownColumn(ctx, b, via, "")
	if err != nil {
		return nil, err
	}
	users := whose.reader
	t, err := s.viaTable(ctx, b, via, users.rows.width)
	if err != nil {
		return nil, err
	}
	v := &textReader{plan: p, via: via, led: t.led, whose: whose, at: users.rows.width, rows: rowPool{width: users.rows.width + len(t.columns)}, hints: newHints()}
	v.s, v.column, v.executor = s, t.value, v
	columns := p.selectSQL
	if users != p.primary {
		columns += ", " + quote(users.column.name)
	}
	ofUsers := "(" + columns + strings.Repeat(", NULL", len(t.columns)) + " FROM " + s.name.sql() + " WHERE " + quote(users.column.name)
	ofRows, inside := t.from()
	ofRows = ") UNION ALL (SELECT " + strings.Repeat("NULL, ", users.rows.width) + ofRows + " FROM " + inside
	v.sql = func(size int) string {
		return ofUsers + oneOf(size) + atMost(size) + ofRows + oneOf(size) + ") AS " + aliasVia + atMost(size) + ")"
	}
	p.readings = append(p.readings, planned{v, via})
	return v, nil
}

// user implements viaReader.
func (v *textReader) user(ctx context.Context, value string) (*User, error) {
	key, ok := v.column.keyOf(value, v.column.kind)
	if !ok {
		return nil, ErrNotFound
	}
	found, err := v.find(ctx, key)
	if err != nil {
		return nil, err
	}
	who, err := v.ask(found)
	if err != nil {
		return nil, err
	}
	if found.user != nil && who == found.hint {
		return found.user, nil
	}
	user, err := v.whose.reader.find(ctx, who)
	if err != nil {
		return nil, err
	}
	v.hints.put(value, who)
	return user.ledBy(found.row), nil
}

// ask asks Whose for the key of a row's user.
func (v *textReader) ask(found textRow) (token.PrimaryKey, error) {
	text, err := v.via.Whose(found.row)
	if err != nil {
		return token.PrimaryKey{}, err
	}
	who, ok := v.whose.key(text)
	if !ok {
		return who, ErrNotFound
	}
	return who, nil
}

// ledBy returns a copy of the user with the row that led to it. Another lookup may
// share the original.
func (u *User) ledBy(row *ViaRow) *User {
	led := *u
	led.via = row
	return &led
}

// users implements viaReader.
func (v *textReader) users(ctx context.Context, values []string, found func(string, *User, error)) error {
	keys := make([]token.PrimaryKey, 0, len(values))
	for _, value := range values {
		if key, ok := v.column.keyOf(value, v.column.kind); ok {
			keys = append(keys, key)
		}
	}
	rows, err := v.many(ctx, keys)
	if err != nil {
		return err
	}
	var missing []token.PrimaryKey
	users := make(map[token.PrimaryKey]token.PrimaryKey, len(rows))
	for key, row := range rows {
		who, err := v.ask(row)
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				found(key.Text(), nil, err)
			}
			continue
		}
		users[key] = who
		if row.user == nil || who != row.hint {
			missing = append(missing, who)
		}
	}
	more, err := v.whose.reader.many(ctx, missing)
	if err != nil {
		return err
	}
	for _, value := range values {
		key, _ := v.column.keyOf(value, v.column.kind)
		who, ok := users[key]
		if !ok {
			continue
		}
		if user := rows[key].user; user != nil && who == rows[key].hint {
			found(value, user, nil)
		} else if user = more[who]; user != nil {
			v.hints.put(value, who)
			found(value, user.ledBy(rows[key].row), nil)
		}
	}
	return nil
}

// readOne implements executor.
func (v *textReader) readOne(ctx context.Context, statement *sql.Stmt, of asked) (found textRow, err error) {
	var param any // the hinted key; without a hint NULL, which no user has
	if hint, ok := v.hints.get(of.key.Text()); ok {
		if param, ok = v.whose.reader.column.param(hint); ok {
			found.hint = hint
		}
	}
	rows, err := statement.QueryContext(ctx, param, of.param)
	if err != nil {
		return found, err
	}
	defer rows.Close()
	for number := 0; rows.Next(); {
		read, err := v.scan(rows)
		switch {
		case err != nil:
			return found, err
		case !read.isUser:
			if number++; number > 1 {
				return found, v.ambiguous()
			}
			if read.key == of.key {
				found.row = read.row
			}
		case read.user != nil && read.key == found.hint:
			found.user = read.user
		}
	}
	if err := rows.Err(); err != nil {
		return found, err
	}
	if found.row == nil {
		return found, ErrNotFound
	}
	if found.user != nil {
		found.user.via = found.row
	}
	return found, nil
}

// readMany implements executor.
func (v *textReader) readMany(ctx context.Context, statement *sql.Stmt, size int, of []asked) (map[token.PrimaryKey]textRow, error) {
	hinted := make([]token.PrimaryKey, len(of))
	rows, err := statement.QueryContext(ctx, v.params(size, of, hinted)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[token.PrimaryKey]textRow, len(of))
	users := make(map[token.PrimaryKey]*User, len(of))
	for number := 0; rows.Next(); {
		read, err := v.scan(rows)
		switch {
		case err != nil:
			return nil, err
		case read.isUser:
			if read.user != nil {
				users[read.key] = read.user
			}
			continue
		}
		if number++; number > len(of) {
			return nil, v.ambiguous()
		}
		if _, twice := found[read.key]; twice {
			return nil, v.ambiguous()
		}
		if read.row != nil {
			found[read.key] = textRow{row: read.row}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i, a := range of {
		row, ok := found[a.key]
		user := users[hinted[i]]
		if !ok || user == nil {
			continue
		}
		if user.via == nil {
			user.via = row.row
		} else {
			user = user.ledBy(row.row) // another row's user, too
		}
		row.hint, row.user = hinted[i], user
		found[a.key] = row
	}
	return found, nil
}

// params are the parameters of a statement: the keys of the users that values led
// to the last time, which hinted gets, and the values.
func (v *textReader) params(size int, of []asked, hinted []token.PrimaryKey) []any {
	params := make([]any, 2*size)
	var some any // of the hints, for places without one
	for i, a := range of {
		hint, ok := v.hints.get(a.key.Text())
		if !ok {
			continue
		}
		if param, ok := v.whose.reader.column.param(hint); ok {
			hinted[i], params[i], some = hint, param, param
		}
	}
	for i := range size {
		if params[i] == nil {
			params[i] = some
		}
		params[size+i] = of[min(i, len(of)-1)].param
	}
	return params
}

// textPart is a row of a result: a user, or a row whose text names one.
type textPart struct {
	isUser bool
	key    token.PrimaryKey // the user's key in the column of whose, or the row's value
	user   *User            // nil if no token could belong to the user
	row    *ViaRow          // nil if the row's time has passed
}

// scan takes the row that rows is at.
func (v *textReader) scan(rows *sql.Rows) (read textPart, err error) {
	r := v.rows.get()
	defer v.rows.put(r)
	if err := rows.Scan(r.dest...); err != nil {
		return read, fmt.Errorf("reading the row: %w", err)
	}
	if r.raw[v.at] == nil {
		read.isUser = true
		read.user, read.key, err = v.whose.reader.read(r, v.whose.kind)
		if v.whose.reader.isOther(err) {
			return textPart{isUser: true}, nil
		}
		return read, err
	}
	if read.key, err = v.column.parse(r.raw[v.at], v.column.kind); err != nil {
		return read, misfit{err}
	}
	if read.row, err = v.led.read(r); errors.Is(err, ErrNotFound) {
		return textPart{key: read.key}, nil
	}
	return read, err
}

func (v *textReader) ambiguous() error {
	return misfitf("%w: make %s unique in %s", ErrAmbiguous, v.column.name, v.led.table.sql())
}

// unsure implements executor. A row has a value byte for byte, or not at all.
func (v *textReader) unsure([]asked, map[token.PrimaryKey]textRow) []asked { return nil }
