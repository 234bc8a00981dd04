package sesame_test

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// noLog is the module that reads binlogs, on servers that have none: the real one is
// in a Go module of its own, which has its own tests of following.
type noLog struct{}

func init() { caddy.RegisterModule(noLog{}) }

// CaddyModule implements caddy.Module.
func (noLog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: userstore.FollowerModule, New: func() caddy.Module { return noLog{} }}
}

var errNoLog = &userstore.Unfollowable{Err: errors.New("log_bin is off: set it, and restart the server")}

// Follow implements userstore.Follower.
func (noLog) Follow(context.Context, userstore.FollowSource, userstore.Feed) error { return errNoLog }

// Inspect implements userstore.Follower.
func (noLog) Inspect(context.Context, userstore.FollowSource) (userstore.FollowReport, error) {
	return userstore.FollowReport{Problems: []string{errNoLog.Error()}}, nil
}
