package userstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Some servers accept connections and answer, but only with the error that they can't
// serve now: a Galera node without quorum, a server that is shutting down, a former
// primary. Such an answer counts as none. The connection isn't used again, since a
// new one may lead to another server, and neither are the pool's other connections
// from before the error.

// The errors of servers that can't serve any statement on a table now.
const (
	erUnknownCommand     = 1047 // of a Galera node without quorum, or not in sync yet
	erServerShutdown     = 1053
	erConnectionKilled   = 1927 // of MariaDB
	erOfflineMode        = 3032
	erServerNotAvailable = 3168
	erGroupMemberOffline = 3796 // with read_after_write, of a server that is no member of its group now
	erGroupWait          = 3797 // with read_after_write, of a member that doesn't get what the others have
	erIdleTooLong        = 4031

	tidbSchemaOutdated = 8027
	tidbNoTimestamp    = 8120
	tidbNoAnswerOfPD   = 9001
	tidbNoAnswerOfTiKV = 9002
	tidbBusyTiKV       = 9003
	tidbNoRegion       = 9005
	tidbFullTiKV       = 9008
)

var outOfService = []uint16{
	erUnknownCommand, erServerShutdown, erConnectionKilled, erOfflineMode, erServerNotAvailable, erGroupMemberOffline, erGroupWait, erIdleTooLong,
	tidbSchemaOutdated, tidbNoTimestamp, tidbNoAnswerOfPD, tidbNoAnswerOfTiKV, tidbBusyTiKV, tidbNoRegion, tidbFullTiKV,
}

// The errors of servers that can't write now, but may be read.
const (
	erRunHook        = 3100 // of Group Replication, before a commit
	erInnoDBReadOnly = 1874
)

var outOfWriting = []uint16{erOptionPreventsWriting, erReadOnlyTransaction, erReadOnlyMode, erInnoDBReadOnly, erRunHook}

// erUnknown is the number of errors that have none of their own. Vitess has this for
// tablets that can't serve, with one of the texts.
const erUnknown = 1105

var vitessOutOfService = []string{
	"is not serving", "reparent operation", "no healthy tablet", "Code: UNAVAILABLE", "code = Unavailable", "Code: CLUSTER_EVENT",
}

// cannotServe reports whether an error says that the server can't serve any statement
// on a table now.
func cannotServe(err error) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return false
	}
	if answer.Number == erUnknown {
		return slices.ContainsFunc(vitessOutOfService, func(text string) bool { return strings.Contains(answer.Message, text) })
	}
	return slices.Contains(outOfService, answer.Number)
}

// cannotWrite reports whether an error says that the server can't write now.
func cannotWrite(err error) bool { return slices.Contains(outOfWriting, numberOf(err)) }

// learn notes an error of a statement if it says that the server can't serve or write
// now. It returns the error.
func (c *connection) learn(err error) error {
	if err == nil || !cannotServe(err) && !cannotWrite(err) {
		return err
	}
	c.isRefused = true
	// Connections that were made since the error became known may lead elsewhere.
	if c.from != nil && c.from.generation.CompareAndSwap(c.generation, c.generation+1) {
		c.from.refused(err)
	}
	return err
}

// longestFirst is how long a read waits for the first of several servers.
const longestFirst = time.Second

// asking executes a statement that reads, and once more if the server says that it
// can't serve now: the name in the DSN may lead to another server. If there are several
// servers, one that doesn't answer within half of the time, or longestFirst, is left for
// another one.
func asking[R any](ctx context.Context, s *MySQL, ask func(context.Context) (R, error)) (R, error) {
	began, servers := time.Now(), s.pool.servers
	limit, used := s.timeout, servers.current()
	if servers.areSeveral() {
		limit = min(limit/2, longestFirst)
	}
	found, err := askWithin(ctx, s, limit, ask)
	isSilent := servers.areSeveral() && isSilence(err)
	if !isSilent && !cannotServe(err) || ctx.Err() != nil {
		return found, err
	}
	if isSilent && !cannotServe(err) {
		limited, cancel := context.WithDeadline(context.WithoutCancel(ctx), began.Add(s.timeout))
		defer cancel()
		s.pool.failOver(limited, used)
	}
	if limit = s.timeout - time.Since(began); limit <= 0 {
		return found, err
	}
	return askWithin(ctx, s, limit, ask)
}

func askWithin[R any](ctx context.Context, s *MySQL, limit time.Duration, ask func(context.Context) (R, error)) (R, error) {
	ctx, cancel := s.limit(ctx, limit)
	defer cancel()
	return ask(ctx)
}
