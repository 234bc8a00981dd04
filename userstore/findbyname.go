package userstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// Field is a column with names that people use for users.
type Field string

// The fields.
const (
	Username Field = "username"
	Email    Field = "email"
)

// ErrNoField says that the table has no column for a Field, or that the
// configuration excludes it.
var ErrNoField = errors.New("the table has no such column")

// The sizes of FindMany's queries. Without an index on the column, and Django
// makes none for e-mail addresses, each query reads the whole table: few large
// ones are faster.
const (
	findBatch = 4096
	findSpare = 1024 // rows beyond one for each value, before values are asked for one by one
	findEach  = 64   // rows of one value
)

// FindMany reads the users who have one of the values in a column. The map has the
// users of each value that has any; two or more make the value ambiguous.
//
// A value matches if it is equal, or, in a collation that ignores case, equal but
// for the case of ASCII letters. A collation's other equalities would be dangerous:
// a link for mıke@example.com would go to the account of mike@example.com.
func (s *MySQL) FindMany(ctx context.Context, by Field, values []string) (map[string][]*User, error) {
	const doing = "looking for users"
	p, err := s.readable(ctx, doing)
	if err != nil {
		return nil, err
	}
	column, err := s.columnOf(p, by)
	if err != nil {
		return nil, err
	}
	found := make(map[string][]*User, len(values))
	values = distinct(values)
	for len(values) > 0 {
		n := min(len(values), findBatch)
		if err := s.findBatch(ctx, p, by, column, values[:n], found); err != nil {
			return nil, s.failed(ctx, doing, err)
		}
		values = values[n:]
	}
	return found, nil
}

// columnOf is the quoted name of a field's column.
func (s *MySQL) columnOf(p *plan, by Field) (string, error) {
	switch {
	case by == Username && p.schema.HasUsername:
		return quote(orDefault(s.cfg.Columns.Username, defaultUsername)), nil
	case by == Email && p.schema.HasEmail:
		return quote(orDefault(s.cfg.Columns.Email, defaultEmail)), nil
	default:
		return "", fmt.Errorf("%s: %w", by, ErrNoField)
	}
}

// distinct returns the distinct values that a row can have. Empty values find no
// user, because any number of users may have them.
func distinct(values []string) []string {
	seen := make(map[string]struct{}, len(values))
	all := make([]string, 0, len(values))
	for _, value := range values {
		if _, again := seen[value]; again || value == "" || !utf8.ValidString(value) {
			continue
		}
		seen[value] = struct{}{}
		all = append(all, value)
	}
	return all
}

// findBatch finds the users of values, at most findBatch.
func (s *MySQL) findBatch(ctx context.Context, p *plan, by Field, column string, values []string, found map[string][]*User) error {
	limit := len(values) + findSpare
	condition := column + " IN (?" + strings.Repeat(", ?", len(values)-1) + ")"
	users, err := s.find(ctx, p, condition, limit, values)
	if err == nil && len(users) < limit {
		assign(by, values, users, found)
		return nil
	}
	if err != nil && !isCharset(err) {
		return err
	}
	for _, value := range values {
		users, err := s.find(ctx, p, column+" = ?", findEach, []string{value})
		switch {
		case cantBeInColumn(token.StringKey(value), err):
		case err != nil:
			return err
		case len(users) == findEach:
			found[value] = users // too many users to be sure which one is meant
		default:
			assign(by, []string{value}, users, found)
		}
	}
	return nil
}

// find reads the rows that a condition selects, up to a limit.
func (s *MySQL) find(ctx context.Context, p *plan, condition string, limit int, values []string) ([]*User, error) {
	before := s.pool.breaker.answers.Load()
	users, err := s.findRows(ctx, p, condition, limit, values)
	s.heard(ctx, before, err)
	return users, err
}

func (s *MySQL) findRows(ctx context.Context, p *plan, condition string, limit int, values []string) ([]*User, error) {
	params := make([]any, len(values))
	for i, value := range values {
		params[i] = value
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	query := p.selectSQL + " FROM " + s.name.sql() + " WHERE " + condition + " LIMIT " + strconv.Itoa(limit)
	rows, err := s.pool.db.QueryContext(ctx, query, params...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return p.scanAll(rows)
}

func (p *plan) scanAll(rows *sql.Rows) ([]*User, error) {
	var users []*User
	for rows.Next() {
		user, _, err := p.primary.scan(rows, p.schema.Kind)
		if err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return users, rows.Err()
}

// assign assigns the users to the values that they were found by.
func assign(by Field, values []string, users []*User, found map[string][]*User) {
	exact := make(map[string][]*User, len(users))
	folded := make(map[string][]*User, len(users))
	for _, user := range users {
		value := user.Username
		if by == Email && user.Email != nil {
			value = *user.Email
		}
		exact[value] = append(exact[value], user)
		folded[FoldName(value)] = append(folded[FoldName(value)], user)
	}
	for _, value := range values {
		whose := exact[value]
		if len(whose) == 0 {
			whose = folded[FoldName(value)]
		}
		if len(whose) > 0 {
			found[value] = whose
		}
	}
}

// FoldName returns a value with its ASCII letters in lower case: values that are
// equal then are one name where the collation ignores case. A value without capital
// letters is returned as it is.
func FoldName(value string) string {
	isCapital := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	for i := range len(value) {
		if !isCapital(value[i]) {
			continue
		}
		folded := []byte(value)
		for j := i; j < len(folded); j++ {
			if isCapital(folded[j]) {
				folded[j] += 'a' - 'A'
			}
		}
		return string(folded)
	}
	return value
}
