package secondfactor

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Upgrade writes the better hash of the password that a login was begun with, after
// its code was right, and returns the user with that hash, so that the session which
// begins now depends on it. If writing fails, the login goes on with the former hash.
// The error rejects a login whose password has been changed meanwhile.
func (a *Asker) Upgrade(ctx context.Context, p *Pending, user *userstore.User) (*userstore.User, error) {
	if p.better == "" {
		return user, nil
	}
	err := a.env.Store().UpgradePassword(ctx, user, p.better)
	switch {
	case err == nil:
		upgraded := *user
		upgraded.Password = &p.better
		return &upgraded, nil
	case errors.Is(err, userstore.ErrChanged):
		return nil, authn.Reject(authn.Stale{Reason: codeNewPassword})
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	a.env.Logger.Warn("a better hash of a password could not be written", zap.Stringer("user", user.PrimaryKey), zap.Error(err))
	return user, nil
}
