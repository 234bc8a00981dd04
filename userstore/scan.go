package userstore

import (
	"database/sql"
	"strings"
	"sync"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// row is the memory that a row is scanned into. It is reused, so that a lookup
// doesn't allocate it.
type row struct {
	raw  []sql.RawBytes
	dest []any
}

func newRow(width int) *row {
	r := &row{raw: make([]sql.RawBytes, width), dest: make([]any, width)}
	for i := range r.raw {
		r.dest[i] = &r.raw[i]
	}
	return r
}

// rowPool has rows for as many columns.
type rowPool struct {
	width int
	pool  sync.Pool // of *row
}

func (p *rowPool) get() *row {
	if r, ok := p.pool.Get().(*row); ok {
		return r
	}
	return newRow(p.width)
}

func (p *rowPool) put(r *row) { p.pool.Put(r) }

// get returns a column's value until the next row; i may be -1 for a column
// that isn't read, which counts as NULL.
func (r *row) get(i int) sql.RawBytes {
	if i < 0 {
		return nil
	}
	return r.raw[i]
}

// texts are copies of a row's values, which are all parts of one string: one
// allocation for all of them.
type texts struct{ all strings.Builder }

// grow makes room for the values of columns.
func (t *texts) grow(columns []sql.RawBytes) {
	size := 0
	for _, raw := range columns {
		size += len(raw)
	}
	t.all.Grow(size)
}

// add copies a value.
func (t *texts) add(raw sql.RawBytes) string {
	start := t.all.Len()
	t.all.Write(raw)
	return t.all.String()[start:]
}

// user makes a user from a row that begins with the plan's columns.
func (p *plan) user(r *row, kind token.Kind) (*User, error) {
	key, err := p.key.parse(r.raw[0], kind)
	if err != nil {
		return nil, misfit{err}
	}
	u := &User{PrimaryKey: key, id: key.String(), plan: p}
	var copies texts
	copies.grow(r.raw[1:p.width])
	if err := u.readTokenValues(p, r, &copies); err != nil {
		return nil, err
	}
	u.IsActive = p.isActive < 0 || string(r.raw[p.isActive]) == "1"
	u.Username = copies.add(r.get(p.username))
	if err := u.readRights(p, r, &copies); err != nil {
		return nil, err
	}
	if err := u.readRevocations(p, r); err != nil {
		return nil, err
	}
	if extra := r.raw[p.extra:p.width]; len(extra) > 0 {
		u.extra = make([]nullable, len(extra))
		for i, raw := range extra {
			u.extra[i] = nullable{copies.add(raw), raw != nil}
		}
	}
	return u, nil
}

// readTokenValues reads the values that tokens depend on from a row.
func (u *User) readTokenValues(p *plan, r *row, copies *texts) error {
	if raw := r.get(p.password); raw != nil {
		u.values.password = copies.add(raw)
		u.Password = &u.values.password
	}
	if raw := r.get(p.email); raw != nil {
		u.values.email = copies.add(raw)
		u.Email = &u.values.email
	}
	raw := r.get(p.lastLogin)
	if raw == nil {
		return nil
	}
	u.lastLogin = nullable{copies.add(raw), true}
	at, ok, err := parseLastLogin(u.lastLogin.text)
	if err != nil {
		return misfit{err}
	}
	if ok {
		u.values.lastLogin = at
		u.LastLogin = &u.values.lastLogin
	}
	return nil
}
