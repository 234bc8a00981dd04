package userstore

import (
	"context"
	"slices"
	"time"
)

// Extension says how much later the end of a row is set, and when that is written.
type Extension struct {
	// By is how long from now the row ends.
	By time.Duration

	// Latest is the latest allowed end, in the row's precision; the zero time is no
	// limit.
	Latest time.Time

	// AtLeast is the minimum by which the end must move, which limits how often the
	// row is written.
	AtLeast time.Duration
}

// extension is the statement that extends rows of a Via.
type extension struct {
	*written
	is        exactValue
	precision int
}

// chooseExtensions prepares for extending the rows that lead to users.
func (s *MySQL) chooseExtensions(ctx context.Context, b *builder) error {
	for _, via := range s.needs.Vias {
		if !via.Extends {
			continue
		}
		e, err := s.chooseExtension(ctx, b, via)
		if err != nil {
			return via.about(err)
		}
		if b.plan.extensions == nil {
			b.plan.extensions = make(map[*Via]extension)
		}
		b.plan.extensions[via] = e
	}
	return nil
}

func (s *MySQL) chooseExtension(ctx context.Context, b *builder, via *Via) (extension, error) {
	t, err := s.lookAtRelated(ctx, b, via.Table)
	if err != nil {
		return extension{}, err
	}
	value, err := t.column(b, via.Column)
	if err != nil {
		return extension{}, err
	}
	until, err := t.column(b, via.Until)
	if err != nil {
		return extension{}, err
	}
	if !value.isText() && !value.isBinary() || !until.isTime() {
		return extension{}, misfitf("columns %q and %q of %s are of the types %s and %s, but must be VARCHAR and DATETIME(6)",
			value.name, until.name, t.table, value.columnType, until.columnType)
	}
	needs := t.access(b)
	if !slices.Contains(needs.updated, until.name) {
		needs.updated = append(needs.updated, until.name)
	}
	is, column := exactly(value), quote(until.name)
	return extension{
		written: b.writes("write "+until.name+", which extends what "+via.Name+" reads", "have "+via.Name+" extend nothing",
			"UPDATE "+tableName{t.schema, t.name}.sql()+" SET "+column+" = ? WHERE "+is.sql+
				" AND "+column+" > ? AND "+column+" < ?", *needs),
		is:        is,
		precision: until.precision,
	}, nil
}

// Extend moves the end of a key's row, if the row exists, hasn't ended, and gains
// at least the minimum by it. u is the user that the key led to: the row's values
// then are checked first, so that most calls write nothing. Of all requests, over
// any number of gateways, one writes. extended reports whether this call did. A row
// without an end is left alone.
func (s *MySQL) Extend(ctx context.Context, key Key, u *User, now time.Time, by Extension) (extended bool, err error) {
	const doing = "extending a session or token"
	p, err := s.ready(ctx)
	if err != nil {
		return false, err
	}
	via, value := key.Via()
	e := p.extensions[via]
	if !e.isReady() {
		return false, unavailable(doing, errOnlyReads)
	}
	clock := s.columnTime(now)
	until := clock.Add(by.By)
	if !by.Latest.IsZero() && until.After(by.Latest) {
		until = by.Latest
	}
	before := until.Add(-by.AtLeast)
	if text, ok := u.Via().Value(via.Until); ok {
		ends, ok, err := parseLastLogin(text)
		if err != nil || !ok || !ends.Before(before) {
			return false, nil //nolint:nilerr // what isn't a time has no end
		}
	}
	is, ok := e.is.args(value)
	if !ok {
		return false, nil
	}
	args := append([]any{endText(until, e.precision)}, is...)
	args = append(args, timeText(clock, microsecondDigits), endText(before, microsecondDigits))
	err = s.write(ctx, doing, func(ctx context.Context) error {
		changed, err := e.exec(ctx, nil, args)
		extended = changed > 0
		return err
	})
	return extended && err == nil, err
}
