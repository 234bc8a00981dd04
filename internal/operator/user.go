package operator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// nameKind is the sort of name by which a command finds a user.
type nameKind string

// The kinds. Of namedByAny all are tried.
const (
	namedByAny        nameKind = ""
	namedByPrimaryKey nameKind = "pk"
	namedByUsername   nameKind = "username"
	namedByEmail      nameKind = "email"
)

// validate checks what an operator gave.
func (k nameKind) validate() error {
	switch k {
	case namedByAny, namedByPrimaryKey, namedByUsername, namedByEmail:
		return nil
	}
	return fmt.Errorf("users can't be named by %q: it must be %s, %s or %s", string(k), namedByPrimaryKey, namedByUsername, namedByEmail)
}

// Why a name isn't a user's.
var (
	errNobody    = errors.New("no such user")
	errAmbiguous = errors.New("it isn't clear who is meant")
	errInactive  = errors.New("the user is inactive, and the gateway refuses their tokens")
)

// namedUser is the user of a name, or the reason that there is none.
type namedUser struct {
	user *userstore.User
	err  error
}

// candidates are the users whom one name may mean, by sort of name.
type candidates struct {
	byKey             *userstore.User
	byUsername, email []*userstore.User
	malformed         error // why the name isn't a primary key
}

// named finds the users with the given names. The error of one name is in its
// namedUser; the returned error is the store's.
//
// If no flag says what sort a name is, every possible sort is tried. If more than
// one user is found, the name is ambiguous: otherwise a user could choose another
// user's number or e-mail address as a name.
func (i *issuer) named(ctx context.Context, by nameKind, names []string) ([]namedUser, error) {
	all := make([]candidates, len(names))
	if by == namedByAny || by == namedByPrimaryKey {
		if err := i.findByKey(ctx, names, all); err != nil {
			return nil, err
		}
	}
	if by == namedByAny || by == namedByUsername {
		found, err := i.users.FindMany(ctx, userstore.Username, names)
		if err != nil && !(by == namedByAny && errors.Is(err, userstore.ErrNoField)) {
			return nil, err
		}
		for j, name := range names {
			all[j].byUsername = found[name]
		}
	}
	if by == namedByAny || by == namedByEmail {
		addresses := names
		if by == namedByAny {
			addresses = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(name, "@") })
		}
		if len(addresses) > 0 {
			found, err := i.users.FindMany(ctx, userstore.Email, addresses)
			if err != nil && !(by == namedByAny && errors.Is(err, userstore.ErrNoField)) {
				return nil, err
			}
			for j, name := range names {
				all[j].email = found[name]
			}
		}
	}
	users := make([]namedUser, len(names))
	for j := range all {
		users[j].user, users[j].err = all[j].one(by)
	}
	return users, nil
}

// findByKey finds the users whose primary key is one of the names.
func (i *issuer) findByKey(ctx context.Context, names []string, all []candidates) error {
	kind := i.tokens.Settings().Encoding.Kind()
	keys := make([]token.PrimaryKey, 0, len(names))
	keyOf := make([]token.PrimaryKey, len(names))
	for j, name := range names {
		key, err := parseKey(kind, name)
		if err != nil {
			all[j].malformed = err
			continue
		}
		keyOf[j] = key
		keys = append(keys, key)
	}
	users, err := i.users.LookupMany(ctx, keys)
	if err != nil {
		return err
	}
	for j, key := range keyOf {
		// As userstore.FindMany compares.
		if user := users[key]; user != nil && (user.PrimaryKey == key || strings.EqualFold(user.ID(), names[j]) && isASCII(names[j])) {
			all[j].byKey = user
		}
	}
	return nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// one is the user that all candidates are.
func (c *candidates) one(by nameKind) (*userstore.User, error) {
	users := slices.Concat(c.byUsername, c.email)
	if c.byKey != nil {
		users = append(users, c.byKey)
	}
	if len(users) == 0 {
		if by == namedByPrimaryKey && c.malformed != nil {
			return nil, fmt.Errorf("%w: %w", errNobody, c.malformed)
		}
		return nil, errNobody
	}
	for _, user := range users {
		if user.PrimaryKey != users[0].PrimaryKey {
			return nil, fmt.Errorf("%w: %s", errAmbiguous, c.describe())
		}
	}
	return users[0], nil
}

// describe lists the users whom the name may mean.
func (c *candidates) describe() string {
	var parts []string
	if c.byKey != nil {
		parts = append(parts, "the primary key of "+c.byKey.ID())
	}
	add := func(what string, users []*userstore.User) {
		const most = 3
		var ids []string
		for _, user := range users[:min(len(users), most)] {
			ids = append(ids, user.ID())
		}
		if len(users) > most {
			ids = append(ids, "…")
		}
		if len(ids) > 0 {
			parts = append(parts, what+" of "+strings.Join(ids, ", "))
		}
	}
	add("the user name", c.byUsername)
	add("the e-mail address", c.email)
	advice := "name the user by the primary key"
	if len(parts) > 1 {
		advice = "say what it is, or " + advice
	}
	return "it is " + strings.Join(parts, ", and ") + "; " + advice
}

// parseKey reads a primary key as people write it.
func parseKey(kind token.Kind, text string) (token.PrimaryKey, error) {
	switch kind {
	case token.KindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return token.PrimaryKey{}, errors.New("a primary key is a whole number here")
		}
		return token.IntKey(n), nil
	case token.KindUint:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return token.PrimaryKey{}, errors.New("a primary key is a whole number here, and not negative")
		}
		return token.UintKey(n), nil
	case token.KindUUID:
		id, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		if err != nil || len(id) != 16 {
			return token.PrimaryKey{}, errors.New("a primary key is a UUID here")
		}
		return token.UUIDKey([16]byte(id)), nil
	case token.KindBytes:
		key, err := hex.DecodeString(text)
		if err != nil {
			return token.PrimaryKey{}, errors.New("a primary key is bytes here, which are written in hexadecimal")
		}
		return token.BytesKey(key), nil
	default:
		if text == "" {
			return token.PrimaryKey{}, errors.New("it is empty")
		}
		return token.StringKey(text), nil
	}
}
