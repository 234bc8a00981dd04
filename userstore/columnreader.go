package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// A columnReader reads users by the values of a column: of the users' table, or of a table
// that refers to it.
type columnReader struct {
	reading[*User]
	plan *plan
	at   int      // where a row has the column's value; at 0 is the primary key
	led  *ledFrom // the row of the other table; nil for none
	rows rowPool
}

// newColumnReader makes a reader without its statement.
func (s *MySQL) newColumnReader(p *plan, column keyColumn, at, width int) *columnReader {
	c := &columnReader{plan: p, at: at, rows: rowPool{width: width}}
	c.s, c.column, c.executor = s, column, c
	return c
}

// readOne implements executor.
func (c *columnReader) readOne(ctx context.Context, statement *sql.Stmt, of asked) (*User, error) {
	rows, err := statement.QueryContext(ctx, of.param)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, err
		}
		return nil, ErrNotFound
	}
	user, value, err := c.scan(rows, of.key.Kind())
	switch {
	case c.isOther(err):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	case rows.Next():
		return nil, c.ambiguous()
	case !c.isSame(of.key, value):
		return nil, ErrNotFound
	}
	return user, rows.Err()
}

// readMany implements executor.
func (c *columnReader) readMany(ctx context.Context, statement *sql.Stmt, size int, of []asked) (map[token.PrimaryKey]*User, error) {
	params := make([]any, size)
	for i := range params {
		params[i] = of[min(i, len(of)-1)].param
	}
	rows, err := statement.QueryContext(ctx, params...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[token.PrimaryKey]*User, len(of))
	for number := 0; rows.Next(); number++ {
		user, value, err := c.scan(rows, of[0].key.Kind())
		if c.isOther(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// If there are more rows than values, one value has two rows at least, even
		// if all are spelled differently.
		if _, twice := found[value]; twice || number == len(of) {
			return nil, c.ambiguous()
		}
		found[value] = user
	}
	return found, rows.Err()
}

// unsure implements executor. Only a text column can have a key that is equal but
// not identical: 'Alice' for 'alice', if the collation says so. A query for that
// key alone tells whether it is the primary key in another form.
func (c *columnReader) unsure(of []asked, found map[token.PrimaryKey]*User) []asked {
	if c.at != 0 || of[0].key.Kind() != token.KindString || c.column.class != keyText || len(found) == 0 {
		return nil
	}
	var missing []asked
	for _, a := range of {
		if _, ok := found[a.key]; !ok {
			missing = append(missing, a)
		}
	}
	if c.plan.schema.View && len(of)-len(missing) < len(found) {
		// A row with a key that wasn't asked for may be the second row of any key,
		// since nothing makes keys unique in a view.
		return of
	}
	return missing
}

// scan makes a user from the current row of rows, and returns the value that the
// user was found by. kind is the kind of the values that were asked for.
func (c *columnReader) scan(rows *sql.Rows, kind token.Kind) (user *User, value token.PrimaryKey, err error) {
	r := c.rows.get()
	defer c.rows.put(r)
	if err := rows.Scan(r.dest...); err != nil {
		return nil, value, fmt.Errorf("reading the user's row: %w", err)
	}
	return c.read(r, kind)
}

// read is scan with the row's values.
func (c *columnReader) read(r *row, kind token.Kind) (user *User, value token.PrimaryKey, err error) {
	if c.at == 0 {
		if user, err = c.plan.user(r, kind); err != nil {
			return nil, value, err
		}
		user.texts = c.plan.textsOf(r)
		return user, user.PrimaryKey, nil
	}
	if value, err = c.column.parse(r.raw[c.at], kind); err != nil {
		return nil, value, misfit{err}
	}
	if user, err = c.plan.user(r, c.plan.schema.Kind); err != nil {
		return nil, value, err
	}
	user.texts = c.plan.textsOf(r)
	if c.led == nil {
		return user, value, nil
	}
	user.via, err = c.led.read(r)
	return user, value, err
}

// isSame reports whether the value of a row is the one that was asked for.
func (c *columnReader) isSame(asked, found token.PrimaryKey) bool {
	return isSame(asked, found, c.at == 0 && c.s.needs.HexKeys)
}

// isOther reports whether an error of scan says that a row hasn't the value that
// was asked for, or has a user that no token could belong to.
func (c *columnReader) isOther(err error) bool {
	return c.column.isOther(err) || c.plan.key.isOther(err) || errors.Is(err, ErrNotFound)
}

func (c *columnReader) ambiguous() error {
	in := c.s.name
	if c.led != nil {
		in = c.led.table
	}
	return misfitf("%w: make %s unique in %s", ErrAmbiguous, c.column.name, in.sql())
}
