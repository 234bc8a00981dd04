// Package secondfactor asks users for the code of a second factor, after their
// password or an e-mailed link: those that Django applications keep with django-otp or
// allauth. A login that lacks the code is a Pending, which no other code takes for a
// user.
package secondfactor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/django/otp"
	"github.com/caddy-sesame/caddy-sesame/internal/authn"
	"github.com/caddy-sesame/caddy-sesame/internal/seal"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// A Store reads and writes second factors; see userstore.MySQL.
type Store interface {
	Factors(ctx context.Context, user token.PrimaryKey) ([]*userstore.Factor, error)
	UseFactors(ctx context.Context, user token.PrimaryKey, use func(factors []*userstore.Factor)) error
	UpgradePassword(ctx context.Context, user *userstore.User, hash string) error
}

// Environment has what an Asker is made with.
type Environment struct {
	// Store returns the store, once requests come.
	Store func() Store

	// Settings are those of the libraries.
	Settings authn.FactorSettings

	Now    func() time.Time
	Logger *zap.Logger

	// Key seals a Pending.
	Key []byte

	// Users identifies the configured table of users, for the count of wrong codes,
	// which outlives a reload.
	Users string
}

// Asker asks for codes.
type Asker struct {
	env    Environment
	sealer *seal.Sealer // of Pendings
	warned atomic.Int64 // when the log was told last of a row that can't be read
}

// New makes an Asker.
func New(env Environment) *Asker {
	return &Asker{env: env, sealer: seal.New(env.Key, "second factor/2")}
}

// Kinds says which codes a user can be asked for.
type Kinds struct {
	App      bool // the code of an app, which changes with the time
	Recovery bool // codes that are good for one use
}

// Kinds returns which codes the user can be asked for. There may be none, as for a
// user whose second factor is a security key.
func (a *Asker) Kinds(ctx context.Context, p *Pending) (Kinds, error) {
	factors, err := a.env.Store().Factors(ctx, p.user)
	if err != nil && !errors.Is(err, userstore.ErrNotFound) {
		return Kinds{}, err
	}
	var kinds Kinds
	for _, f := range factors {
		switch f.Kind {
		case userstore.TOTP:
			kinds.App = true
		case userstore.StaticTokens:
			kinds.Recovery = kinds.Recovery || len(f.Tokens) > 0
		case userstore.AllauthTOTP:
			_, err := a.env.Settings.Allauth.VerifyTOTP(f.Data, "", a.env.Now())
			kinds.App = kinds.App || !a.isBroken(p, err)
		case userstore.AllauthRecovery:
			_, err := a.env.Settings.Allauth.UseRecoveryCode(f.Data, "")
			kinds.Recovery = kinds.Recovery || !a.isBroken(p, err)
		}
	}
	return kinds, nil
}

// warnInterval is the least time between two warnings of rows that can't be read.
const warnInterval = time.Minute

// isBroken reports whether an error says that a factor's row can't be read. It warns
// of that, once in a while.
func (a *Asker) isBroken(p *Pending, err error) bool {
	if !errors.Is(err, otp.ErrRow) {
		return false
	}
	now := a.env.Now().UnixNano()
	if last := a.warned.Load(); now-last >= int64(warnInterval) && a.warned.CompareAndSwap(last, now) {
		a.env.Logger.Warn("a user's second factor can't be read, and its codes are rejected: if MFA_ADAPTER of allauth encrypts secrets, the gateway can't ask for their codes",
			zap.Stringer("user", p.user))
	}
	return true
}
