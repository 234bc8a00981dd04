package userstore

import (
	"context"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
)

// FollowerModule is the ID of the Caddy module that implements Follower. It is a
// Go module of its own (follow/), because what it depends on is large.
const FollowerModule = "http.handlers.sesame.followers.mysql"

// A Follower reads a server's log of changes, the binlog, as a replica does. Later
// configurations that share its stream go on to use it after its own has ended.
type Follower interface {
	// Follow connects to the server, begins at the present end of its log, and reports
	// changes until ctx ends or the stream is interrupted. It never resumes: the error
	// says why it ended, and is never nil. Errors that say that the server can't be
	// followed with this configuration are an *Unfollowable.
	Follow(ctx context.Context, source FollowSource, feed Feed) error

	// Inspect looks at what following needs, without following: the log and its
	// format, the account's privileges, a free server ID. The error says what to
	// change, or that there was no answer.
	Inspect(ctx context.Context, source FollowSource) (FollowReport, error)
}

// FollowSource is what to follow.
type FollowSource struct {
	// Server is the account, and the server, which must be the one that answers
	// lookups.
	Server *mysql.Config

	// Identify is called with what identifies the server that the stream comes from.
	// Its error ends the stream: lookups are answered by another server.
	Identify func(ServerIdentity) error

	// IsReplica says that the server is configured as a replica, whether or not it is one
	// now: what it receives must be in its own log.
	IsReplica bool

	// ServerID is the replica's ID that the stream uses, or 0 for a random one.
	ServerID uint32

	// Timeout is how long the server may take for the connection, and for each
	// answer. A stream that is silent for longer than Silence is interrupted; the
	// server sends heartbeats at a third of it.
	Timeout, Silence time.Duration

	// Tables are those whose changes matter.
	Tables []FollowedTable

	Logger *zap.Logger
}

// FollowedTable is a table whose changes matter.
type FollowedTable struct {
	Schema, Name string

	// Keys are the columns whose values are reported for each changed row. Empty means
	// that it matters only whether the table has changed.
	Keys []string
}

// ServerIdentity distinguishes servers: two connections are to one server process with
// one log if Is reports true. IdentityOf reads it.
type ServerIdentity struct {
	ServerID uint32
	UUID     string // MySQL's server_uuid, MariaDB's server_uid or what stands for it
	Hostname string
	Port     int
	Started  time.Time // to the second, if the server tells
}

// LogPosition is a place in a server's log. Of two positions of one stream, the
// later one is greater.
type LogPosition struct {
	File   uint64 // the number at the end of the file's name
	Offset uint64
}

// Before reports whether p is earlier than q.
func (p LogPosition) Before(q LogPosition) bool {
	return p.File < q.File || p.File == q.File && p.Offset < q.Offset
}

// Feed is told what a Follower reads. All methods but those of Positions are called
// by one goroutine, in the order of the log, and return quickly.
//
// A server sends an event before the change is visible to queries: the log is
// written before the storage engine commits, and with semi-synchronous replication
// long before. So a row that a query reads after the event may be the former one.
// Such a row may be kept only if the query began after Positions.Committed has
// reached the event's position.
type Feed interface {
	// Began is called once, first: changes after a position will be reported, those
	// before it won't be. positions is asked until Follow returns. Changes before the
	// position may still become visible: as with an event, a row may be kept only if
	// its query began after Positions.Committed has reached the position.
	Began(at LogPosition, positions Positions)

	// Changed reports rows of a table (an index into FollowSource.Tables), each with
	// the values of its Keys before the change and, if that is in the log, after it.
	// A value is the text that a query returns for the column; nil means NULL. at is
	// the event's end.
	Changed(at LogPosition, table int, keys [][]*string)

	// ChangedTable reports that any rows of a table may have changed.
	ChangedTable(at LogPosition, table int)

	// ChangedAll reports that anything may have changed, rows, tables and columns:
	// statements instead of rows, changes of tables, all that isn't recognized.
	// isStructure says that a table's definition may have changed.
	ChangedAll(at LogPosition, isStructure bool, why string)

	// Reached reports that all changes up to a position have been reported. It is
	// called after each event, heartbeats included.
	//
	// It doesn't tell how late the stream is: behind a large transaction, a slow
	// network or a pause of this process, events arrive long after they were written,
	// one shortly after the other. How old rows can be is known only by reaching a
	// position that Positions.Written has returned: then they are as fresh as when
	// Written was called.
	Reached(at LogPosition)
}

// Positions asks the server for positions in its log, by a connection of its own.
// It is safe for concurrent use. Any error means that the stream can't be relied
// on, and interrupts it.
type Positions interface {
	// Written returns the end of the log. A change that was acknowledged to its writer
	// before the call is before it.
	Written(ctx context.Context) (LogPosition, error)

	// SameLog returns an error unless the server's log, from when the stream began until
	// the call, has been the one that the stream is of. Positions don't tell: a log that
	// was reset, and written to again, may end where the former one did.
	SameLog(ctx context.Context) error

	// Committed returns a position up to which all changes are visible to queries that
	// begin after the call. ok is false if the server can't tell.
	Committed(ctx context.Context) (at LogPosition, ok bool, err error)
}

// FollowReport is what Inspect found.
type FollowReport struct {
	Identity ServerIdentity
	Version  string

	// Problems prevent following; each says what to change. Warnings don't: they say
	// what costs speed, or which changes can't be seen.
	Problems, Warnings []string
}

// Unfollowable says that a server can't be followed until its settings, the
// account's privileges, or the configuration change.
type Unfollowable struct{ Err error }

// Error implements error.
func (u *Unfollowable) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unfollowable) Unwrap() error { return u.Err }
