package userstore

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A server keeps at most max_prepared_stmt_count prepared statements for all its
// clients together. When there is no room for another, the store sends statements
// as text, with the values in it.

// unprepared is a statement that is sent as text.
type unprepared struct {
	conn  *connection
	text  string
	parts []string // of the text, with a parameter between each two
}

func newUnprepared(conn *connection, text string) *unprepared {
	return &unprepared{conn, text, cutAtParameters(text)}
}

// cutAtParameters cuts a statement at its question marks, except those in quoted
// names and in strings. The statements of this package have no comments, and no
// backslashes in strings.
func cutAtParameters(text string) []string {
	var parts []string
	var quote byte // that the text at i is in
	begin := 0
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			// A doubled quote ends them and begins them again.
			if c == quote {
				quote = 0
			}
		case c == '`' || c == '\'':
			quote = c
		case c == '?':
			parts = append(parts, text[begin:i])
			begin = i + 1
		}
	}
	return append(parts, text[begin:])
}

// fill writes the values in place of the parameters.
func (u *unprepared) fill(args []driver.NamedValue) (string, error) {
	if len(args) != u.NumInput() {
		return "", fmt.Errorf("a statement with %d parameters got %d", u.NumInput(), len(args))
	}
	var b strings.Builder
	for i, part := range u.parts {
		b.WriteString(part)
		if i == len(args) {
			break
		}
		literal, err := literal(args[i].Value)
		if err != nil {
			return "", err
		}
		b.WriteString(literal)
	}
	return b.String(), nil
}

// literal writes a value for a statement. Text is written in hexadecimal digits:
// then no character of it can end the literal, whatever the server's sql_mode
// and the charset are.
func literal(value driver.Value) (string, error) {
	switch v := value.(type) {
	case nil:
		return "NULL", nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case string:
		return "_utf8mb4 X'" + hex.EncodeToString([]byte(v)) + "'", nil
	case []byte:
		if v == nil {
			return "NULL", nil
		}
		return "X'" + hex.EncodeToString(v) + "'", nil
	default:
		return "", fmt.Errorf("a parameter is of type %T, which can't be sent as text", value)
	}
}

// NumInput implements driver.Stmt.
func (u *unprepared) NumInput() int { return len(u.parts) - 1 }

// CheckNamedValue implements driver.NamedValueChecker.
func (u *unprepared) CheckNamedValue(value *driver.NamedValue) error {
	return u.conn.CheckNamedValue(value)
}

// ExecContext implements driver.StmtExecContext.
func (u *unprepared) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	text, err := u.fill(args)
	if err != nil {
		return nil, err
	}
	return u.conn.ExecContext(ctx, text, nil)
}

// QueryContext implements driver.StmtQueryContext.
func (u *unprepared) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	text, err := u.fill(args)
	if err != nil {
		return nil, err
	}
	return u.conn.QueryContext(ctx, text, nil)
}

// errNoContext is the error of methods that database/sql doesn't call.
var errNoContext = errors.New("a context is needed")

// Exec implements driver.Stmt.
func (u *unprepared) Exec([]driver.Value) (driver.Result, error) { return nil, errNoContext }

// Query implements driver.Stmt.
func (u *unprepared) Query([]driver.Value) (driver.Rows, error) { return nil, errNoContext }

// Close implements driver.Stmt.
func (u *unprepared) Close() error { return nil }
