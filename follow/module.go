// Package follow is a Caddy module that reads MySQL's binlog, as a replica does, and
// tells the user store which rows have changed. It is a Go module of its own, because
// what it depends on is large; ./xcaddy.sh build includes it.
package follow

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

func init() { caddy.RegisterModule(Follower{}) }

// Follower reads the binlog of a MySQL or MariaDB server, so that kept rows of users
// are dropped as soon as they change. It has no settings: the block follow in userstore
// has them.
type Follower struct{}

// CaddyModule implements caddy.Module.
func (Follower) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: userstore.FollowerModule, New: func() caddy.Module { return new(Follower) }}
}

// Follow implements userstore.Follower.
func (Follower) Follow(ctx context.Context, source userstore.FollowSource, feed userstore.Feed) (err error) {
	defer notPanicking(source.Logger, &err)
	positions, err := openPositions(ctx, source)
	if err != nil {
		return fmt.Errorf("preparing to follow the binlog: %w", err)
	}
	defer positions.close()
	s, err := openStream(ctx, source, positions)
	if err != nil {
		return fmt.Errorf("opening the stream of the binlog: %w", err)
	}
	defer s.close()
	if err := s.read(feed); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("reading the binlog: %w", err)
	}
	return errors.New("the server has ended the stream") // unreachable: read has an error
}

// notPanicking makes an error of a panic. This package doesn't panic, but the library
// that opens the connection may, on an answer that no server should give.
func notPanicking(logger *zap.Logger, err *error) {
	if caught := recover(); caught != nil {
		logger.Error("reading the binlog failed in a way that is a bug", zap.Any("panic", caught), zap.ByteString("stack", debug.Stack()))
		*err = errors.New("the stream has ended by a bug, which the log shows")
	}
}

// Interface guards
var (
	_ caddy.Module       = Follower{}
	_ userstore.Follower = Follower{}
)
