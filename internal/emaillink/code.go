package emaillink

import (
	"context"
	"crypto/subtle"
	"errors"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Errors of codes.
var (
	ErrWrongCode = errors.New("the code is wrong, or its link has been used")
	ErrNoneLeft  = errors.New("too many codes were tried for the link")
)

// A Try is a code that a user has typed for a link.
type Try struct {
	links         *Links
	tokens        *token.Tokens // set by Whose
	pending       *Pending
	first, second string

	// Left is how many more codes may be tried.
	Left int
}

// Try counts a code that was typed for a link. Each gateway counts by itself. The
// error is ErrNoneLeft, or ErrWrongCode for what can't be a code, which isn't counted.
func (l *Links) Try(p *Pending, typed string) (*Try, error) {
	first, second, ok := readCode(typed)
	if !ok {
		return nil, ErrWrongCode
	}
	left, ok := l.counts.attempts.take(p.ID, l.env.Now(), l.ends(p))
	if !ok {
		return nil, ErrNoneLeft
	}
	return &Try{links: l, pending: p, first: first, second: second, Left: left}, nil
}

// Guess identifies the code among all that were tried.
func (t *Try) Guess() string { return t.pending.ID + t.first + t.second }

// Whose finds the user whom the code is for. Without the first half, the table of
// users isn't looked at. The error is ErrWrongCode, or the store's.
func (t *Try) Whose(ctx context.Context) (token.PrimaryKey, error) {
	if subtle.ConstantTimeCompare([]byte(t.first), []byte(t.links.firstHalf(t.pending))) != 1 {
		return token.PrimaryKey{}, ErrWrongCode
	}
	var err error
	if t.tokens, err = t.links.Tokens(ctx); err != nil {
		return token.PrimaryKey{}, err
	}
	found, err := t.links.env.Users().FindByAddress(ctx, []string{t.pending.Address})
	if err != nil {
		return token.PrimaryKey{}, err
	}
	for _, user := range found[t.pending.Address] {
		if t.IsFor(user) {
			return user.PrimaryKey, nil
		}
	}
	return token.PrimaryKey{}, ErrWrongCode
}

// IsFor reports whether the code is for a user, after Whose, and nothing has ended it
// since the mail was written.
func (t *Try) IsFor(user *userstore.User) bool {
	if t.tokens == nil || t.pending.User != "" && user.PrimaryKey.String() != t.pending.User {
		return false
	}
	second, err := t.links.secondHalf(t.tokens, t.pending, user)
	return err == nil && subtle.ConstantTimeCompare([]byte(t.second), []byte(second)) == 1
}
