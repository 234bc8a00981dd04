package userstore

import (
	"context"
	"errors"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// Blacklist names the tables of rest_framework_simplejwt.token_blacklist.
type Blacklist struct {
	// The table of tokens that were issued. Default:
	// `token_blacklist_outstandingtoken`.
	Outstanding string `json:"outstanding,omitempty"`

	// The table of blacklisted tokens. Default: `token_blacklist_blacklistedtoken`.
	Blacklisted string `json:"blacklisted,omitempty"`
}

// blacklistQuery asks whether a token is in a Blacklist.
type blacklistQuery struct {
	sql string
	is  exactValue
}

// errNoBlacklist is a mistake in the calling code, not in the configuration.
var errNoBlacklist = errors.New("the store was opened without this list in Needs.Blacklists")

// chooseBlacklists makes the queries for the blacklists of tokens.
func (s *MySQL) chooseBlacklists(ctx context.Context, b *builder) error {
	for _, list := range s.needs.Blacklists {
		query, err := s.chooseBlacklist(ctx, b, list)
		if err != nil {
			return setting.Elsewhere("api_token: simplejwt: blacklist", err)
		}
		if b.plan.blacklists == nil {
			b.plan.blacklists = make(map[*Blacklist]blacklistQuery)
		}
		b.plan.blacklists[list] = query
	}
	return nil
}

// chooseBlacklist makes the query of one blacklist: rest_framework_simplejwt's
// BlacklistedToken refers to an OutstandingToken, which has the token's ID.
func (s *MySQL) chooseBlacklist(ctx context.Context, b *builder, list *Blacklist) (blacklistQuery, error) {
	outstanding, err := s.lookAtRelated(ctx, b, orDefault(list.Outstanding, "token_blacklist_outstandingtoken"))
	if err != nil {
		return blacklistQuery{}, err
	}
	blacklisted, err := s.lookAtRelated(ctx, b, orDefault(list.Blacklisted, "token_blacklist_blacklistedtoken"))
	if err != nil {
		return blacklistQuery{}, err
	}
	id, err := outstanding.column(b, "id")
	if err != nil {
		return blacklistQuery{}, err
	}
	jti, err := outstanding.column(b, "jti")
	if err != nil {
		return blacklistQuery{}, err
	}
	token, err := blacklisted.column(b, "token_id")
	if err != nil {
		return blacklistQuery{}, err
	}
	if !jti.isText() && !jti.isBinary() {
		return blacklistQuery{}, misfitf("column %q of %s is of type %s, but must be VARCHAR", jti.name, outstanding.table, jti.columnType)
	}
	refers, err := sameKey(blacklisted.table, token, "b", outstanding.table, id, "o")
	if err != nil {
		return blacklistQuery{}, err
	}
	is := exactly(jti)
	return blacklistQuery{
		sql: "SELECT EXISTS (SELECT 1 FROM " + outstanding.sql("o") + " JOIN " + blacklisted.sql("b") + " ON " + refers + " WHERE " + is.sql + ")",
		is:  is,
	}, nil
}

// IsBlacklisted reports whether the primary server has a token's ID, its jti, in a
// blacklist of Needs.Blacklists. The error is of the same sorts as Lookup's. An ID
// that can't be compared with those in the list counts as listed.
func (s *MySQL) IsBlacklisted(ctx context.Context, list *Blacklist, id string) (isListed bool, err error) {
	const doing = "looking for a token in the blacklist"
	p, err := s.ready(ctx)
	if err != nil {
		return false, err
	}
	query, ok := p.blacklists[list]
	if !ok {
		return false, unavailable(doing, errNoBlacklist)
	}
	args, ok := query.is.args(id)
	if !ok {
		return true, nil
	}
	if err := s.mayRead(doing); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, s.failed(ctx, doing, err)
	}
	before := s.pool.breaker.answers.Load()
	isListed, err = asking(ctx, s, func(ctx context.Context) (isListed bool, err error) {
		err = s.pool.db.QueryRowContext(ctx, query.sql, args...).Scan(&isListed)
		return isListed, err
	})
	s.heard(ctx, before, err)
	if err != nil {
		return false, s.failed(ctx, doing, err)
	}
	return isListed, nil
}
