package userstore

import (
	"context"
	"errors"

	"go.uber.org/zap"
)

// FollowedServer is what was found of a server that gateways may follow.
type FollowedServer struct {
	Address string // host:port, or the path of a socket
	FollowReport

	Err error // the server gave no answer
}

// Follow looks at what following the binlog needs on each server that may answer
// lookups: the replicas if there are any, or else all servers of the cluster. Call it
// after Table.
func (i *Inspector) Follow(ctx context.Context, follower Follower) ([]FollowedServer, error) {
	if i.plan == nil || i.plan.following == nil {
		return nil, errNoTable
	}
	var found []FollowedServer
	for _, cfg := range i.s.cfg.replicaConfigs() {
		replica, err := i.s.newReplica(cfg)
		if err != nil {
			return nil, err
		}
		found = append(found, replica.inspectFollowed(ctx, follower))
		if err := replica.Close(); err != nil {
			return nil, err
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	for _, c := range i.s.pool.servers.all {
		of := FollowedServer{Address: c.config().Addr}
		of.FollowReport, of.Err = i.s.inspectFollow(ctx, i.plan, c, follower)
		found = append(found, of)
	}
	return found, nil
}

// inspectFollowed is Inspector.Follow for a replica.
func (s *MySQL) inspectFollowed(ctx context.Context, follower Follower) FollowedServer {
	c := s.pool.servers.current()
	of := FollowedServer{Address: c.config().Addr}
	_, p, err := s.lookAtTable(ctx)
	if err != nil {
		of.Err = s.setupFailed("looking at the table of a replica", err)
		return of
	}
	of.FollowReport, of.Err = s.inspectFollow(ctx, p, c, follower)
	return of
}

// inspectFollow looks at one server. The error says that there was no answer.
func (s *MySQL) inspectFollow(ctx context.Context, p *plan, lookups *connector, follower Follower) (FollowReport, error) {
	server, err := s.cfg.Follow.server(lookups, s.isReplica || s.pool.servers.areSeveral())
	if err != nil {
		return FollowReport{}, err
	}
	var problems []string
	tables, err := lookAtFollowed(ctx, p.following.tables, server, s.timeout)
	if impossible, ok := errors.AsType[*Unfollowable](err); ok {
		problems, tables = append(problems, impossible.Error()), p.following.tables
	} else if err != nil {
		return FollowReport{}, err
	}
	report, err := follower.Inspect(ctx, FollowSource{
		Server: server, Identify: func(ServerIdentity) error { return nil }, IsReplica: s.isReplica,
		Timeout: s.timeout, Silence: leastSilence, Tables: followedTables(tables), Logger: zap.NewNop(),
	})
	if err != nil {
		return report, err
	}
	answers, isKnown := s.pool.leadsTo.current()
	isKnown = isKnown && lookups == s.pool.servers.current()
	if len(report.Problems) == 0 && isKnown && !answers.Is(report.Identity) {
		problems = append(problems, "the log is of the server "+report.Identity.String()+", but lookups are answered by "+answers.String()+
			": have the dsn of follow lead to the server of the dsn of userstore")
	}
	report.Problems = append(report.Problems, problems...)
	return report, nil
}
