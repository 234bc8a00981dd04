package userstore

import (
	"context"
	"errors"

	"go.uber.org/zap"
)

// Follow looks at what following the server's binlog needs. Call it after Table. The
// error says that there was no answer.
func (i *Inspector) Follow(ctx context.Context, follower Follower) (FollowReport, error) {
	if i.plan == nil || i.plan.following == nil {
		return FollowReport{}, errNoTable
	}
	servers := i.s.pool.servers
	server, err := i.s.cfg.Follow.server(servers.current(), servers.areSeveral())
	if err != nil {
		return FollowReport{}, err
	}
	var problems []string
	tables, err := i.plan.following.look(ctx, server, i.s.timeout)
	if impossible, ok := errors.AsType[*Unfollowable](err); ok {
		problems, tables = append(problems, impossible.Error()), i.plan.following.tables
	} else if err != nil {
		return FollowReport{}, err
	}
	report, err := follower.Inspect(ctx, FollowSource{
		Server: server, Identify: func(ServerIdentity) error { return nil }, Timeout: i.s.timeout, Silence: leastSilence,
		Tables: followedTables(tables), Logger: zap.NewNop(),
	})
	if err != nil {
		return report, err
	}
	if answers, isKnown := i.s.pool.leadsTo.current(); len(report.Problems) == 0 && isKnown && !answers.Is(report.Identity) {
		problems = append(problems, "the log is of the server "+report.Identity.String()+", but lookups are answered by "+answers.String()+
			": have the dsn of follow lead to the server of the dsn of userstore")
	}
	report.Problems = append(report.Problems, problems...)
	return report, nil
}
