package userstore

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// A Key says which user a lookup is for: by the primary key that tokens hold, or by
// a value that leads to the user's row. Equal keys lead to the same row. The value
// may be a secret, such as a session's key, so a Key has no text.
type Key struct {
	primary token.PrimaryKey
	via     *Via
	value   string
}

// ByPrimaryKey is the key of the user with a primary key.
func ByPrimaryKey(pk token.PrimaryKey) Key { return Key{primary: pk} }

// PrimaryKey returns the primary key, unless another value leads to the user.
func (k Key) PrimaryKey() (pk token.PrimaryKey, ok bool) { return k.primary, k.via == nil }

// Via returns the way to the user and the value, or nil for a primary key.
func (k Key) Via() (via *Via, value string) { return k.via, k.value }

// A Via is a way to users' rows by another value than the primary key that tokens
// hold. A store knows the Vias in its Needs; they aren't changed after Open.
type Via struct {
	// Name is the way's name in logs: "django_session", for example.
	Name string

	// Option is the option that names Table, Column or Fields, by its path in the
	// whole configuration: "django_session: table", for example. Errors are about it.
	// Default: Name.
	Option string

	// Fields are the columns of the users' table that may have the user's name, in
	// order. Nothing else is set then.
	Fields []Field

	// Table is the table with the value, in the database of the users' table unless
	// the name has another. Empty means the users' table.
	Table string

	// Column is the column of Table with the value, which is compared byte for
	// byte. Empty, in the users' table, is the column that other tables refer to:
	// the value is then a key as Django writes it.
	Column string

	// User is the column of Table that refers to the user. Empty: Whose tells.
	User string

	// Whose returns the user's key, as Django writes it, from a row of a table
	// without User. Its error ends the lookup unchanged.
	Whose func(row *ViaRow) (user string, err error)

	// Reads are additional columns of Table, for User.Via and Whose.
	Reads []string

	// Until is a column of Table with a time. Once the time has passed, the row
	// counts as missing. NULL never passes. Empty: rows don't end.
	Until string

	// Extends: Until is written, too, by MySQL.Extend. Then Reads should have it.
	Extends bool
}

// Key returns the key of the user that a value leads to.
func (v *Via) Key(value string) Key { return Key{via: v, value: value} }

// about returns an error of preparing the way, about the option that names it.
func (v *Via) about(err error) error { return setting.Elsewhere(cmp.Or(v.Option, v.Name), err) }

// ViaRow is a row that has led to a user.
type ViaRow struct {
	led    *ledFrom
	values []nullable  // of Reads
	few    [3]nullable // memory for values if that is enough
	until  nullable    // the row's time, if it has one

	kept atomic.Value
}

// Keep keeps a value that Via.Whose has read from the row, for the callers that get
// the user. Simultaneous requests share the row, and each calls Whose: all of them
// must keep values of the same type.
func (r *ViaRow) Keep(read any) { r.kept.Store(read) }

// Kept returns the value that Via.Whose has kept, or nil.
func (r *ViaRow) Kept() any {
	if r == nil {
		return nil
	}
	return r.kept.Load()
}

// Value returns the text of one of the columns that a Via reads. ok is false for
// NULL, and for a column that isn't read.
func (r *ViaRow) Value(column string) (text string, ok bool) {
	if r == nil {
		return "", false
	}
	for i, name := range r.led.reads {
		if name == column {
			return r.values[i].text, r.values[i].valid
		}
	}
	return "", false
}

// Time returns the time in one of the columns that a Via reads, in UTC. The row has
// it in the store's time zone, like last_login. ok is false for NULL, for MySQL's
// zero date, and for a column that isn't read or has no date and time.
func (r *ViaRow) Time(column string) (t time.Time, ok bool) {
	text, ok := r.Value(column)
	if !ok {
		return time.Time{}, false
	}
	at, ok, err := parseLastLogin(text)
	if !ok || err != nil {
		return time.Time{}, false
	}
	return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), r.led.location).UTC(), true
}

// Via returns the row that has led to this user, or nil where the key was a
// primary key or a value of the users' own table.
func (u *User) Via() *ViaRow { return u.via }
