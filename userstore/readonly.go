package userstore

import (
	"context"
	"errors"

	"go.uber.org/zap"
)

// OpenReadOnly is Open for programs that read users and consume nothing. If the
// table has last_login, it is read, because a token may depend on it, but the right
// to write it isn't needed. The column is required only if needs say so.
// Config.StartWithout has no effect.
func OpenReadOnly(ctx context.Context, cfg Config, needs Needs, logger *zap.Logger) (*MySQL, error) {
	cfg.HasRelations = cfg.HasRelations || needs.refer()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	required := needs.LastLogin
	needs.LastLogin, needs.AskSecondFactors = true, false
	s, err := newMySQL(cfg, needs, logger)
	if err != nil {
		return nil, err
	}
	p, err := s.checkReading(ctx)
	if errors.As(err, &misfit{}) && !required {
		s.needs.LastLogin = false
		p, err = s.checkReading(ctx)
	}
	if err != nil {
		if closeErr := s.Close(); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
		return nil, err
	}
	s.plan.Store(p)
	return s, nil
}

// checkReading is check without the statement that writes.
func (s *MySQL) checkReading(ctx context.Context) (*plan, error) {
	_, p, err := s.lookAtTable(ctx)
	if err != nil {
		return nil, err
	}
	p.writes = nil
	if err := s.prepareReading(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}
