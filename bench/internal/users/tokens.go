package users

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// MaxAge of tokens is longer than any run.
const MaxAge = 24 * time.Hour

// User is a row of the table, and a token for it.
type User struct {
	ID    int64
	Name  string
	Token string

	password string // the column
}

// NewSecretKey makes a SECRET_KEY.
func NewSecretKey() string { return rand.Text() + rand.Text() }

// Spread reads n users, at equal distances from the first row of a table to the
// last, and makes a token for each.
func (d *Database) Spread(ctx context.Context, table, secretKey string, n, rows int) ([]User, error) {
	n = min(n, rows)
	tokens, err := token.New(token.Settings{SecretKey: secretKey, MaxAge: new(MaxAge), Encoding: token.LongPacker})
	if err != nil {
		return nil, err
	}
	read, err := d.PrepareContext(ctx, "SELECT username, password FROM `"+table+"` WHERE id = ?")
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	defer read.Close()
	now := time.Now()
	all := make([]User, n)
	for i := range all {
		u := User{ID: 1 + int64(i)*int64(rows)/int64(n)}
		if err := read.QueryRowContext(ctx, u.ID).Scan(&u.Name, &u.password); err != nil {
			return nil, fmt.Errorf("reading user %d of table %s: %w", u.ID, table, err)
		}
		if u.Token, err = tokens.Create(token.IntKey(u.ID), token.User{Password: &u.password}, "", now); err != nil {
			return nil, fmt.Errorf("making the token of user %d: %w", u.ID, err)
		}
		all[i] = u
	}
	return all, nil
}
