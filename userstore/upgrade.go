package userstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// ErrChanged says that the password has changed since the row was read, so that no
// new hash of the old one may be written.
var ErrChanged = errors.New("the password changed since the row was read")

// chooseUpgrade prepares for writing another hash of a password.
func (s *MySQL) chooseUpgrade(b *builder) error {
	if !s.needs.UpgradePassword {
		return nil
	}
	if b.plan.password < 0 {
		return setting.Of("password", misfitf("upgrade_hash writes passwords, but columns.password is -: name the column, or set upgrade_hash off"))
	}
	c, _ := b.table.find(orDefault(s.cfg.Columns.Password, defaultPassword)) // choosePassword has found it
	conditions := append(s.keyConditions(b.plan), sameText(c))
	b.plan.upgrade = b.writes("write passwords, which upgrade_hash asks for", "set upgrade_hash off",
		"UPDATE "+s.name.sql()+" SET "+quote(c.name)+" = ? WHERE "+strings.Join(conditions, " AND "),
		relatedColumns{tableName: tableName{b.table.schema, b.table.name}, columns: []string{b.plan.key.name, c.name}, updated: []string{c.name}})
	return nil
}

// keyConditions are the conditions that select a row by its key. keyParams has
// their parameters.
func (s *MySQL) keyConditions(p *plan) []string {
	conditions := []string{quote(p.key.name) + " = ?"}
	if exact := p.key.exactCondition(); exact != "" {
		conditions = append(conditions, exact)
	}
	return conditions
}

// keyParams are the parameters for the user's key. ok is false if the column can't
// have the key.
func (p *plan) keyParams(u *User) (params []any, ok bool) {
	key, ok := p.key.param(u.PrimaryKey)
	params = []any{key}
	if p.key.class == keyText {
		params = append(params, exactParam(u.PrimaryKey))
	}
	return params, ok
}

// UpgradePassword writes another hash of the password that u was read with. If the
// row has another password by now, the error is ErrChanged. The new hash ends the
// user's sessions and tokens, which depend on the old hash.
func (s *MySQL) UpgradePassword(ctx context.Context, u *User, hash string) error {
	const doing = "writing another hash of a password"
	p, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if u.plan == nil || !p.upgrade.isReady() {
		return unavailable(doing, errOnlyReads)
	}
	key, ok := p.keyParams(u)
	switch {
	case !ok:
		return unavailable(doing, p.key.check(u.PrimaryKey.Kind()))
	case u.Password == nil:
		return ErrChanged // no password was checked
	case *u.Password == hash:
		return nil
	}
	var changed int64
	err = s.write(ctx, doing, func(ctx context.Context) (err error) {
		changed, err = p.upgrade.exec(ctx, nil, append(append([]any{hash}, key...), []byte(*u.Password)))
		return err
	})
	switch {
	case err != nil:
		return err
	case changed == 0:
		return ErrChanged
	case changed > 1:
		return unavailable(doing, fmt.Errorf("%w: %d rows changed", ErrAmbiguous, changed))
	}
	return nil
}
