package userstore

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// MostUsersOfAddress is how many users with one e-mail address FindByAddress
// returns.
const MostUsersOfAddress = 8

// FoldAddress returns the form by which e-mail addresses are compared, as Django
// does it before it sends a link for a new password: the same for addresses that
// differ in case or in compatible characters alone (Unicode Technical Report 36,
// 2.11.2). Addresses with letters that only look alike stay different.
func FoldAddress(address string) string {
	return cases.Fold().String(norm.NFKC.String(address))
}

// FindByAddress reads the users who have one of the e-mail addresses, up to
// MostUsersOfAddress of each. The map has them under the address as given. A link
// must be sent to the address in the user's row, not to the given one.
//
// The collation of the column finds the rows, as with Django's iexact, and
// FoldAddress decides: a collation may take mıke@example.com for mike@example.com.
// Where it distinguishes the case of letters, the address in lower case is looked
// for as well.
func (s *MySQL) FindByAddress(ctx context.Context, addresses []string) (map[string][]*User, error) {
	const doing = "looking for users by address"
	p, err := s.readable(ctx, doing)
	if err != nil {
		return nil, err
	}
	column, err := s.columnOf(p, Email)
	if err != nil {
		return nil, err
	}
	addresses = distinct(addresses)
	found := make(map[string][]*User, len(addresses))
	if len(addresses) == 0 {
		return found, nil
	}
	s.counts.add(len(addresses))
	totals.add(len(addresses))
	if err := s.findAddresses(ctx, p, column, addresses, found); err != nil {
		return nil, s.failed(ctx, doing, err)
	}
	return found, nil
}

// findAddresses adds the users of addresses to found: of all by one query, unless
// one of the addresses has too many users, or characters that the column can't have.
func (s *MySQL) findAddresses(ctx context.Context, p *plan, column string, addresses []string, found map[string][]*User) error {
	var values []string
	for _, address := range addresses {
		values = append(values, address, FoldAddress(address))
	}
	values = distinct(values)
	limit := (MostUsersOfAddress + 1) * len(addresses)
	users, err := s.find(ctx, p, column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", limit, values)
	switch {
	case len(addresses) == 1 && cantBeInColumn(token.StringKey(addresses[0]), err):
		return nil
	case len(addresses) > 1 && (isCharset(err) || err == nil && len(users) == limit):
		for i := range addresses {
			if err := s.findAddresses(ctx, p, column, addresses[i:i+1], found); err != nil {
				return err
			}
		}
		return nil
	case err != nil:
		return err
	}
	for _, address := range addresses {
		whose := usersOfAddress(address, users)
		if len(whose) > 0 {
			found[address] = whose[:min(len(whose), MostUsersOfAddress)]
		}
	}
	return nil
}

// usersOfAddress are those of users who have an address.
func usersOfAddress(address string, users []*User) []*User {
	folded := FoldAddress(address)
	return slices.DeleteFunc(slices.Clone(users), func(user *User) bool {
		return user.Email == nil || FoldAddress(*user.Email) != folded
	})
}
