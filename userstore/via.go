package userstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// errNoVia is a mistake in the calling code, not in the configuration.
var errNoVia = errors.New("the store was opened without this way in Needs.Vias")

// LookupVia reads the user of a key with a query to the primary server that is sent
// after the call. Its errors are those of Lookup, and of Via.Whose. Values that
// can't be in the column are not found.
func (s *MySQL) LookupVia(ctx context.Context, key Key) (*User, error) {
	if s.observe == nil {
		return s.lookupVia(ctx, key)
	}
	began := time.Now()
	user, err := s.lookupVia(ctx, key)
	s.observe(time.Since(began))
	return user, err
}

// lookupVia is LookupVia, which is observed.
func (s *MySQL) lookupVia(ctx context.Context, key Key) (*User, error) {
	const doing = "looking up a user"
	p, err := s.readable(ctx, doing)
	if err != nil {
		return nil, err
	}
	if key.via == nil {
		return p.primary.find(ctx, key.primary)
	}
	via, ok := p.vias[key.via]
	if !ok {
		return nil, unavailable(doing, errNoVia)
	}
	return via.user(ctx, key.value)
}

// LookupKeys is LookupMany for keys of any sort. The map lacks keys for which
// Via.Whose returned an error.
func (s *MySQL) LookupKeys(ctx context.Context, keys []Key) (map[Key]*User, error) {
	found, _, err := s.LookupEach(ctx, keys)
	return found, err
}

// LookupEach is LookupKeys. refused has the errors of Via.Whose: such keys have a
// row, which distinguishes them from unknown keys.
func (s *MySQL) LookupEach(ctx context.Context, keys []Key) (found map[Key]*User, refused map[Key]error, err error) {
	const doing = "looking up users"
	if err := ctx.Err(); err != nil {
		return nil, nil, s.failed(ctx, doing, err)
	}
	p, err := s.readable(ctx, doing)
	if err != nil {
		return nil, nil, err
	}
	var primary []token.PrimaryKey
	byVia := make(map[*Via][]string)
	for _, key := range keys {
		if key.via == nil {
			primary = append(primary, key.primary)
		} else {
			byVia[key.via] = append(byVia[key.via], key.value)
		}
	}
	found = make(map[Key]*User, len(keys))
	users, err := p.primary.many(ctx, primary)
	if err != nil {
		return nil, nil, err
	}
	for pk, user := range users {
		found[ByPrimaryKey(pk)] = user
	}
	for via, values := range byVia {
		reader, ok := p.vias[via]
		if !ok {
			return nil, nil, unavailable(doing, errNoVia)
		}
		err := reader.users(ctx, values, func(value string, user *User, err error) {
			switch {
			case err == nil:
				found[via.Key(value)] = user
			case refused == nil:
				refused = map[Key]error{via.Key(value): err}
			default:
				refused[via.Key(value)] = err
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return found, refused, nil
}

// Resolve returns a key by primary key for a key of a Via that uses the same
// column. It returns other keys unchanged, and all keys until the table was
// checked.
func (s *MySQL) Resolve(key Key) Key {
	p := s.plan.Load()
	if key.via == nil || p == nil {
		return key
	}
	via, ok := p.vias[key.via].(byColumn)
	if !ok || via.reader != p.primary {
		return key
	}
	pk, ok := via.key(key.value)
	if !ok {
		return key
	}
	return ByPrimaryKey(pk)
}

// viaReader reads the users that the values of a Via lead to.
type viaReader interface {
	user(ctx context.Context, value string) (*User, error)

	// users calls found for each value that leads to a user, or to an error of
	// Via.Whose.
	users(ctx context.Context, values []string, found func(value string, user *User, err error)) error
}

// byColumn reads users by the text of a key.
type byColumn struct {
	reader *columnReader
	kind   token.Kind
}

func (v byColumn) key(text string) (token.PrimaryKey, bool) {
	return v.reader.column.keyOf(text, v.kind)
}

func (v byColumn) user(ctx context.Context, value string) (*User, error) {
	key, ok := v.key(value)
	if !ok {
		return nil, ErrNotFound
	}
	return v.reader.find(ctx, key)
}

func (v byColumn) users(ctx context.Context, values []string, found func(string, *User, error)) error {
	keys := make([]token.PrimaryKey, 0, len(values))
	for _, value := range values {
		if key, ok := v.key(value); ok {
			keys = append(keys, key)
		}
	}
	users, err := v.reader.many(ctx, keys)
	if err != nil {
		return err
	}
	for _, value := range values {
		if key, ok := v.key(value); ok && users[key] != nil {
			found(value, users[key], nil)
		}
	}
	return nil
}

// byName reads users by the names that they log in with.
type byName struct {
	s      *MySQL
	fields []Field
}

// user returns the user of the first field that has the value. If several users
// have the value there, it is ambiguous, and no other field is read.
func (v byName) user(ctx context.Context, value string) (*User, error) {
	for _, field := range v.fields {
		v.s.counts.add(1)
		totals.add(1)
		named, err := v.s.FindMany(ctx, field, []string{value})
		switch whose := named[value]; {
		case err != nil:
			return nil, err
		case len(whose) == 1:
			return whose[0], nil
		case len(whose) > 1:
			return nil, ErrNotFound
		}
	}
	return nil, ErrNotFound
}

func (v byName) users(ctx context.Context, values []string, found func(string, *User, error)) error {
	for _, field := range v.fields {
		if len(values) == 0 {
			return nil
		}
		named, err := v.s.FindMany(ctx, field, values)
		if err != nil {
			return err
		}
		var left []string
		for _, value := range values {
			switch whose := named[value]; len(whose) {
			case 0:
				left = append(left, value)
			case 1:
				found(value, whose[0], nil)
			}
		}
		values = left
	}
	return nil
}

// chooseVias plans the other ways to users' rows.
func (s *MySQL) chooseVias(ctx context.Context, b *builder) error {
	b.plan.vias = make(map[*Via]viaReader, len(s.needs.Vias))
	for _, via := range s.needs.Vias {
		reader, err := s.chooseVia(ctx, b, via)
		if err != nil {
			return via.about(err)
		}
		b.plan.vias[via] = reader
	}
	return nil
}

func (s *MySQL) chooseVia(ctx context.Context, b *builder, via *Via) (viaReader, error) {
	switch {
	case len(via.Fields) > 0:
		for _, field := range via.Fields {
			if _, err := s.columnOf(b.plan, field); err != nil {
				return nil, misfitf("users are to be found by %s, but %s has no column for it: name it with the %[1]s option of userstore (%[3]w)", field, b.table, err)
			}
		}
		return byName{s, via.Fields}, nil
	case via.Table == "":
		return s.ownColumn(ctx, b, via, via.Column)
	case via.User != "":
		return s.chooseJoin(ctx, b, via)
	default:
		return s.chooseTold(ctx, b, via)
	}
}

// ownColumn plans to read users by a column of their table; without a name, by the
// column that other tables refer to.
func (s *MySQL) ownColumn(ctx context.Context, b *builder, via *Via, name string) (byColumn, error) {
	c, err := s.relationKey(b)
	if name == "" {
		if err != nil {
			return byColumn{}, err
		}
		b.plan.relationKey = c.name
	} else {
		var ok bool
		if c, ok = b.table.find(name); !ok {
			return byColumn{}, b.table.lacks(name, "name the right one, or grant the dsn's user SELECT on it")
		}
	}
	if strings.EqualFold(c.name, b.plan.key.name) {
		return byColumn{b.plan.primary, b.plan.schema.Kind}, nil
	}
	for _, planned := range b.plan.readings {
		if known, ok := planned.statements.(*columnReader); ok && known.led == nil && known.column.name == c.name {
			return byColumn{known, known.column.kind}, nil
		}
	}
	column, err := s.valueColumn(ctx, b.table, c)
	if err != nil {
		return byColumn{}, err
	}
	b.plan.viaColumns = append(b.plan.viaColumns, Column{Option: via.Name, Name: c.name})
	p := b.plan
	w := s.newColumnReader(p, column, p.width, p.width+1)
	w.sql = func(size int) string {
		return p.selectSQL + ", " + quote(c.name) + " FROM " + s.name.sql() + " WHERE " + quote(c.name) + oneOf(size) + atMost(size)
	}
	p.readings = append(p.readings, planned{w, via})
	return byColumn{w, column.kind}, nil
}

// valueColumn classifies a column that users are found by. It must be unique:
// otherwise a value could belong to several users.
func (s *MySQL) valueColumn(ctx context.Context, t table, c column) (keyColumn, error) {
	k, err := newKeyColumn(c)
	if err != nil {
		return k, misfitf("column %q of %s is of type %s: users can be found by text, binary strings, integers and UUIDs only; name another column",
			c.name, t, c.columnType)
	}
	if t.view {
		return k, nil
	}
	unique, err := s.isUnique(ctx, t, c)
	if err != nil {
		return k, fmt.Errorf("looking for a unique index on column %q: %w", c.name, err)
	}
	if !unique {
		return k, misfitf("column %q of %s isn't unique, so that a value could be of several users: "+
			"name a column with a unique index of its own, or make one for it", c.name, t)
	}
	return k, nil
}

// The names in the queries for rows of another table that lead to users.
const (
	aliasVia  = "`sesame via`"
	viaUser   = "`sesame user`"
	viaValue  = "`sesame value`"
	viaPrefix = "sesame "
)

// ledFrom has the columns that are read from a table whose rows lead to users. It
// doesn't point to their Via: kept rows point here, and may outlive the configuration
// whose Via that is.
type ledFrom struct {
	table    tableName
	reads    []string // Via.Reads
	at       int      // where a row has the first of them
	until    int      // where it has its end, or -1
	ends     string   // Via.Until
	location *time.Location
}

// viaTable is the table of a Via while the store is being opened.
type viaTable struct {
	related
	led     *ledFrom
	value   keyColumn
	columns []string // expressions: of the value, of via.Reads, and of via.Until
}

// viaTable checks the table of a Via. Its columns follow the first width columns of
// a row.
func (s *MySQL) viaTable(ctx context.Context, b *builder, via *Via, width int) (*viaTable, error) {
	t, err := s.lookAtRelated(ctx, b, via.Table)
	if err != nil {
		return nil, err
	}
	of := &viaTable{related: t, led: &ledFrom{
		table: tableName{t.schema, t.name}, reads: slices.Clone(via.Reads), at: width + 1, until: -1, ends: via.Until, location: s.location,
	}}
	value, err := t.column(b, via.Column)
	if err != nil {
		return nil, err
	}
	if of.value, err = s.valueColumn(ctx, t.table, value); err != nil {
		return nil, err
	}
	if of.value.class == keyText {
		of.value.kind = token.KindString // whatever kind Django gives such a column
	}
	of.columns = []string{quote(value.name)}
	b.followVia(via, of)
	for _, name := range via.Reads {
		c, err := t.column(b, name)
		if err != nil {
			return nil, err
		}
		of.columns = append(of.columns, readText(c))
	}
	if via.Until == "" {
		return of, nil
	}
	until, err := t.column(b, via.Until)
	if err != nil {
		return nil, err
	}
	if !until.isTime() {
		return nil, misfitf("column %q of %s is of type %s: it must be DATETIME or TIMESTAMP; name the right one",
			until.name, t.table, until.columnType)
	}
	of.led.until = width + len(of.columns)
	of.columns = append(of.columns, readText(until))
	return of, nil
}

// read reads the columns of a Via's table from a row. It returns ErrNotFound if the
// row's time has passed.
func (l *ledFrom) read(r *row) (*ViaRow, error) {
	if l.until >= 0 {
		passed, err := hasPassed(r.raw[l.until], time.Now(), l.location)
		if err != nil {
			return nil, misfitf("column %q of table %s: %w", l.ends, l.table.sql(), err)
		}
		if passed {
			return nil, ErrNotFound
		}
	}
	raw := r.raw[l.at : l.at+len(l.reads)]
	var copies texts
	copies.grow(raw)
	found := &ViaRow{led: l}
	if l.until >= 0 && r.raw[l.until] != nil {
		found.until = nullable{string(r.raw[l.until]), true}
	}
	if found.values = found.few[:]; len(raw) > len(found.few) {
		found.values = make([]nullable, len(raw))
	}
	for i := range raw {
		found.values[i] = nullable{copies.add(raw[i]), raw[i] != nil}
	}
	return found, nil
}

// hasPassed reports whether a column's time, in a time zone, is not after now. NULL
// never passes; a value that Django reads as NULL, but MySQL doesn't, has passed.
func hasPassed(text []byte, now time.Time, location *time.Location) (bool, error) {
	if text == nil {
		return false, nil
	}
	at, ok, err := parseLastLogin(string(text))
	if err != nil {
		return false, errors.New("it isn't a date and time")
	}
	// Like Django, this compares clock readings: the column has no time zone.
	local := now.In(location)
	shown := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC)
	return !ok || !at.After(shown), nil
}

// from returns the columns of the table for a SELECT, and the subquery that they
// come from, up to the number of values. The columns of the users' table are read
// by their bare names, so this table's columns get aliases that no column has. The
// condition is inside the subquery, so that no server reads the whole table first.
// And in a UNION without a query inside, go-mysql-server takes one row of a table
// for all rows.
func (t *viaTable) from(more ...string) (columns, inside string) {
	all := append(more, t.columns[0]+" AS "+viaValue)
	columns = aliasVia + "." + viaValue
	for i, expression := range t.columns[1:] {
		name := quote(viaPrefix + strconv.Itoa(i))
		all = append(all, expression+" AS "+name)
		columns += ", " + aliasVia + "." + name
	}
	return columns, "(SELECT " + strings.Join(all, ", ") + " FROM " + t.led.table.sql() + " WHERE " + quote(t.value.name)
}

// chooseJoin plans to read users by the rows of a table that refers to them.
func (s *MySQL) chooseJoin(ctx context.Context, b *builder, via *Via) (viaReader, error) {
	p := b.plan
	t, err := s.viaTable(ctx, b, via, p.width)
	if err != nil {
		return nil, err
	}
	user, err := t.column(b, via.User)
	if err != nil {
		return nil, err
	}
	to, err := s.ownColumn(ctx, b, via, "")
	if err != nil {
		return nil, err
	}
	target, _ := b.table.find(to.reader.column.name)
	if _, err := sameKey(t.table, user, aliasVia, b.table, target, s.name.sql()); err != nil {
		return nil, err
	}
	before, inside := t.from(quote(user.name) + " AS " + viaUser)
	before = p.selectSQL + ", " + before + " FROM " + s.name.sql() + " JOIN " + inside
	after := ") AS " + aliasVia + " ON " + refersTo(aliasVia+"."+viaUser, user, s.name.sql()+"."+quote(target.name), target)
	w := s.newColumnReader(p, t.value, p.width, p.width+len(t.columns))
	w.led = t.led
	w.sql = func(size int) string { return before + oneOf(size) + after + atMost(size) }
	p.readings = append(p.readings, planned{w, via})
	return byColumn{w, t.value.kind}, nil
}

// refersTo is the condition that a column refers to another of the same type. Texts
// of different collations can't be compared, so the value is converted to the other
// column's collation, whose index is to be used.
func refersTo(value string, c column, targetValue string, target column) string {
	if !c.isText() {
		return targetValue + " = " + value
	}
	converted := value
	if c.collation != target.collation && target.collation != "" {
		converted = "CONVERT(" + value + " USING " + target.charset + ") COLLATE " + target.collation
	}
	return targetValue + " = " + converted + " AND " + textBytes(targetValue) + " = " + textBytes(value)
}
