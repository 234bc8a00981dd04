package userstore

import (
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// A kept row ends when one of the tables changes that it was read from. Most changes
// name the user: by the key in the users' table, by the key that other tables refer
// to, or by the value that a session or API token is found by. Any other change may
// concern all users.

// following says which tables a plan's rows are read from.
type following struct {
	tables []keyedTable

	// The users' column that other tables refer to, if it isn't the one that tokens
	// hold, and its position in a row; relationAt is -1 otherwise.
	relation   keyColumn
	relationAt int

	ways map[*Via]int // their numbers, from firstWay
}

// keyedTable is a table that rows are read from.
type keyedTable struct {
	tableName
	keys  []tableKey // none if a change may concern all users
	whose []string   // columns that say which user a row belongs to
}

// tableKey is a column whose values say which rows to drop.
type tableKey struct {
	column string
	of     int // what the values are of
	read   func(text string) (token.PrimaryKey, error)
	as     string // what read depends on
}

// keyIn is a column of a table with values of this one, of a kind.
func (k keyColumn) keyIn(column string, of int, kind token.Kind) tableKey {
	return tableKey{
		column: column, of: of, as: fmt.Sprintf("%+v as %v", k, kind),
		read: func(text string) (token.PrimaryKey, error) { return k.parse([]byte(text), kind) },
	}
}

// What keys of rows are of. Ways have the numbers from firstWay.
const (
	ofUser = iota + 1
	ofRelation
	firstWay
)

// tagSeed is one for all stores, because they share kept rows.
var tagSeed = maphash.MakeSeed()

// tagOf is the hash by which a row is found. Keys that a collation may take for equal
// have the same tag, so that a change drops each of them.
func tagOf(of int, key token.PrimaryKey) uint64 {
	switch key.Kind() {
	case token.KindString:
		if folded := strings.TrimRight(FoldName(key.Text()), " "); folded != key.Text() {
			key = token.StringKey(folded)
		}
	case token.KindBytes:
		if trimmed := strings.TrimRight(key.Text(), "\x00"); trimmed != key.Text() {
			key = token.BytesKey([]byte(trimmed))
		}
	}
	return maphash.Comparable(tagSeed, struct {
		of  int
		key token.PrimaryKey
	}{of, key})
}

// add notes that rows are read from a table. Without a key, any change of it may
// concern all users.
//
// whose is the column that says which user a row belongs to, or empty.
func (f *following) add(name tableName, key *tableKey, whose string) {
	if f == nil {
		return
	}
	i := slices.IndexFunc(f.tables, func(t keyedTable) bool { return t.tableName == name })
	if i >= 0 && whose != "" {
		f.tables[i].whose = append(f.tables[i].whose, whose)
	}
	switch {
	case i < 0:
		t := keyedTable{tableName: name}
		if key != nil {
			t.keys = []tableKey{*key}
		}
		if whose != "" {
			t.whose = []string{whose}
		}
		f.tables = append(f.tables, t)
	case key == nil:
		f.tables[i].keys = nil
	case len(f.tables[i].keys) > 0:
		f.tables[i].keys = append(f.tables[i].keys, *key)
	}
}

// follow begins to note the tables of a plan, whose key is known.
func (s *MySQL) follow(b *builder) {
	if s.cfg.Follow == nil {
		return
	}
	f := &following{relationAt: -1, ways: make(map[*Via]int)}
	for i, via := range s.needs.Vias {
		f.ways[via] = firstWay + i
	}
	b.plan.following = f
	key := b.plan.key.keyIn(b.plan.key.name, ofUser, b.plan.schema.Kind)
	f.add(tableName{b.table.schema, b.table.name}, &key, "")
}

// layout is a text of everything that the reading of kept rows depends on and that
// follows from the tables: after a change of them, new configurations may read rows
// that former ones can't.
func (p *plan) layout(vias []*Via) string {
	var text strings.Builder
	note := func(what any) { fmt.Fprintf(&text, "%+v\n", what) }
	note(p.schema)
	note(p.key)
	note(p.primary.sql(1))
	note(p.following.relation)
	note(p.following.relationAt)
	for _, t := range p.following.tables {
		note(t.tableName)
		note(t.whose)
		for _, key := range t.keys {
			note([]any{key.column, key.of})
		}
	}
	for _, via := range vias {
		switch v := p.vias[via].(type) {
		case byColumn:
			note([]any{v.kind, v.reader.column, v.reader.sql(1)})
		case *textReader:
			note([]any{v.column, v.sql(1), v.whose.kind, v.whose.reader.column})
		}
	}
	return text.String()
}

// followReferring notes a table that refers to users, with its column that does.
func (s *MySQL) followReferring(b *builder, t related, user column, to column) error {
	f := b.plan.following
	if f == nil {
		return nil
	}
	name := tableName{t.schema, t.name}
	if strings.EqualFold(to.name, b.plan.key.name) {
		key := b.plan.key.keyIn(user.name, ofUser, b.plan.schema.Kind)
		f.add(name, &key, user.name)
		return nil
	}
	if f.relationAt < 0 {
		relation, err := newKeyColumn(to)
		if err != nil {
			return err
		}
		f.relation, f.relationAt = relation, b.add(quote(to.name))
		key := relation.keyIn(to.name, ofRelation, relation.kind)
		f.add(tableName{b.table.schema, b.table.name}, &key, "")
	}
	key := f.relation.keyIn(user.name, ofRelation, f.relation.kind)
	f.add(name, &key, user.name)
	return nil
}

// followRelated notes a table any change of which may concern all users.
func (b *builder) followRelated(t related) {
	b.plan.following.add(tableName{t.schema, t.name}, nil, "")
}

// followVia notes a table whose rows lead to users.
func (b *builder) followVia(via *Via, t *viaTable) {
	if f := b.plan.following; f != nil {
		key := t.value.keyIn(t.value.name, f.ways[via], t.value.kind)
		f.add(t.led.table, &key, via.User)
	}
}

// followRevocations notes the table of ended tokens, which names users by text.
func (s *MySQL) followRevocations(b *builder, list tableName) {
	f := b.plan.following
	if f == nil {
		return
	}
	list.schema = orDefault(list.schema, s.pool.servers.current().config().DBName)
	of, kind := b.plan.key, b.plan.schema.Kind
	key := of.keyIn("user_key", ofUser, kind)
	if c, _ := b.table.find(of.name); c.isBinary() {
		ofBytes := key.read
		key.as += " in hexadecimal"
		key.read = func(text string) (token.PrimaryKey, error) {
			raw, err := hex.DecodeString(text)
			if err != nil {
				return token.PrimaryKey{}, of.unreadable(kind)
			}
			return ofBytes(string(raw))
		}
	}
	f.add(list, &key, "")
}
