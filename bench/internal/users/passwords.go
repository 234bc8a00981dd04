package users

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/caddy-sesame/caddy-sesame/django/password"
)

// SetPasswords gives all users of a table the same password, which it returns,
// with a hash of few iterations: what is measured are verdicts that are known.
func (d *Database) SetPasswords(ctx context.Context, table string) (string, error) {
	hashers, err := password.New(password.Settings{Parameters: password.Parameters{PBKDF2Iterations: 1000}})
	if err != nil {
		return "", err
	}
	chosen := rand.Text()
	hash, err := hashers.Make(chosen)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	if _, err := d.ExecContext(ctx, "UPDATE `"+table+"` SET password = ?", hash); err != nil {
		return "", fmt.Errorf("setting the passwords of table %s: %w", table, err)
	}
	return chosen, nil
}
