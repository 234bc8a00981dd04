// Package userstore reads the users of a Django app from its database: the row
// that a token names, and the one write that makes a token one-time.
//
// A store answers with the row as it is now, or says that it got no answer. It
// never guesses: ErrUnavailable is neither "no such user" nor "any user".
//
// Where to look: config.go and caddyfile.go have the options; mysql.go opens a store,
// schema.go and plan.go look at the table and prepare the statements. Rows are read by
// columnreader.go and textreader.go, in batches of batcher.go, over connections of
// pool.go and connector.go. errors.go says what each error of MySQL means, and
// breaker.go when the server isn't asked. finder.go chooses between current rows, those
// of replicas (replica.go), of the cache (cache.go) and of a followed binlog
// (following.go).
//
// A store of another kind, such as LDAP, would be a type beside MySQL with the methods
// that Finder.Store has, and another value of the option userstore, which Option reads
// in caddyfile.go.
package userstore

import (
	"errors"

	"github.com/caddy-sesame/caddy-sesame/token"
)

var (
	// ErrNotFound says that no row has the primary key.
	ErrNotFound = errors.New("no such user")

	// ErrConsumed says that the row has changed since it was read: another request
	// logged the user in, or the user was changed. Only one of these can use a
	// one-time token.
	ErrConsumed = errors.New("the user changed since the row was read")

	// ErrUnavailable is in every error that says nothing about the user,
	// because MySQL gave no usable answer in time.
	ErrUnavailable = errors.New("the user store is unavailable")

	// ErrAmbiguous says that several rows have the primary key, which is possible
	// only in a view. It comes with ErrUnavailable: none of the rows is an answer.
	ErrAmbiguous = errors.New("several rows have one primary key")
)

// User is a row.
type User struct {
	// Password and LastLogin are the values that tokens depend on. LastLogin is
	// read only with Needs.LastLogin, Email whenever the table has it.
	token.User

	// PrimaryKey is the row's key. It may differ from the token's: 'Alice' for
	// 'alice' if the collation ignores case. The row's key identifies the user.
	PrimaryKey token.PrimaryKey

	id string // PrimaryKey's text

	// IsActive is true where the table has no such column. NULL isn't active.
	IsActive bool

	// Username is empty where it is NULL or the table has no such column.
	Username string

	// The targets of token.User's pointers, so that a user is one allocation and
	// not four.
	values tokenValues

	// lastLogin is the column's text to the last digit, for Consume to compare.
	lastLogin nullable

	extra []nullable
	plan  *plan
	via   *ViaRow // see Via

	revocations string // see IsRevoked

	// IsStaff and IsSuperuser are Django's, and false where they aren't read.
	IsStaff, IsSuperuser bool

	hasSecondFactor bool

	groups                        nameList
	permissions, groupPermissions hexNames

	texts keptTexts // for keeping the row; empty where none are kept
}

// nullable is a column's text or NULL.
type nullable struct {
	text  string
	valid bool
}

// param is the value as a parameter of a statement.
func (n nullable) param() any {
	if !n.valid {
		return nil
	}
	return n.text
}

// ID returns PrimaryKey as people write it.
func (u *User) ID() string {
	if u.plan == nil {
		return u.PrimaryKey.String() // no store has read it
	}
	return u.id
}

// DisplayName is the name by which people know the user.
func (u *User) DisplayName() string {
	for _, column := range []string{"username", "email"} {
		if name, _ := u.Column(column); name != "" {
			return name
		}
	}
	return u.PrimaryKey.String()
}

// Column returns the value of a column that was read for this user: each extra
// column by the name that the configuration or the table has for it, the
// user name and the e-mail address by theirs or as "username" and "email". NULL
// is the empty string. Where they are read, "is_staff" and "is_superuser" are 1
// or 0, "groups" is GroupList, and "permissions" PermissionList. ok is false for
// a column that isn't read, which always includes the password.
func (u *User) Column(name string) (value string, ok bool) {
	if u.plan == nil {
		return "", false
	}
	index, ok := u.plan.names[name]
	switch {
	case !ok:
		return "", false
	case index == nameUsername:
		return u.Username, true
	case index == nameEmail:
		if u.Email == nil {
			return "", true
		}
		return *u.Email, true
	case index == nameIsStaff:
		return flag(u.IsStaff), true
	case index == nameIsSuperuser:
		return flag(u.IsSuperuser), true
	case index == nameGroups:
		return u.groups.text, true
	case index == namePermissions:
		return u.PermissionList(), true
	default:
		return u.extra[index].text, true
	}
}
