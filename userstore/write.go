package userstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
)

// written is a statement that writes. When the table of users is checked, the
// server checks that the DSN's user may execute the statement.
type written struct {
	doing     string // what preparing it is for
	instead   string // what can be done instead of granting the right
	sql       string
	needs     relatedColumns // of the table that it writes
	statement *sql.Stmt      // nil in a store that only reads
}

// writes adds a statement that writes to the plan.
func (b *builder) writes(doing, instead, statement string, needs relatedColumns) *written {
	w := &written{doing: doing, instead: instead, sql: statement, needs: needs}
	b.plan.writes = append(b.plan.writes, w)
	return w
}

// isReady reports whether the statement can be executed. w may be nil.
func (w *written) isReady() bool { return w != nil && w.statement != nil }

// exec executes the statement, and returns the number of rows that it changed.
// tx may be nil.
func (w *written) exec(ctx context.Context, tx *sql.Tx, args []any) (changed int64, err error) {
	statement := w.statement
	if tx != nil {
		statement = tx.StmtContext(ctx, statement) //nolint:sqlclosecheck // the end of the transaction closes it
	}
	result, err := statement.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// prepareWrites prepares the plan's statements that write. Preparing makes the
// server check the privileges.
func (s *MySQL) prepareWrites(ctx context.Context, p *plan) error {
	for _, w := range p.writes {
		statement, err := s.prepare(ctx, w.sql)
		if err != nil {
			return s.setupFailed("preparing to "+w.doing, s.lacksRight(ctx, w, err))
		}
		w.statement = statement
	}
	return nil
}

// lacksRight adds the grant to make to the error for a missing privilege.
func (s *MySQL) lacksRight(ctx context.Context, w *written, err error) error {
	number := numberOf(err)
	if number != erTableAccessDenied && number != erColumnAccessDenied {
		return err
	}
	return setting.Of("dsn", misfitf("the dsn's user lacks a privilege: execute %s, or %s (%w)", s.grantTo(ctx, w.needs), w.instead, err))
}

// How long a write waits before it is tried again: at first, and at most.
const (
	firstRetry   = time.Millisecond
	longestRetry = 50 * time.Millisecond
)

// write executes a statement that writes, by a limited number of connections at a
// time. If the server has undone it for the sake of other statements, it is
// repeated within the time of a query. A client that goes away doesn't end it:
// otherwise the client could have the server execute any number of statements in
// vain. Errors don't hold values that the server quotes.
func (s *MySQL) write(ctx context.Context, doing string, run func(context.Context) error) error {
	if err := s.available(doing); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return s.failed(ctx, doing, err)
	}
	before := s.pool.breaker.answers.Load()
	err := s.writeInTime(ctx, run)
	s.heard(ctx, before, err)
	if err == nil {
		return nil
	}
	return s.failed(ctx, doing, withoutValues(err))
}

func (s *MySQL) writeInTime(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadlineOf(ctx, s.timeout))
	defer cancel()
	end, err := s.pool.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	refused := false
	for pause := firstRetry; ; pause = min(2*pause, longestRetry) {
		err := run(ctx)
		again := isUndone(err)
		if cannotServe(err) || cannotWrite(err) {
			again = !refused // the name in the DSN may lead to another server by now
			refused = true
		}
		if !again {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err // it says more than that the time is over
		}
	}
}

// The errors of statements that the server has undone, or their transactions, because
// other statements were in their way. Those of Galera's certification are deadlocks,
// and so are those of Vitess's tablets.
const (
	erRolledBackAtCommit = 3101 // by Group Replication

	tidbNoRetryOfReads  = 8002
	tidbStaleWrite      = 8005
	tidbFailedCommit    = 8022
	tidbSchemaChanged   = 8028
	tidbUnresolvedLocks = 9004
	tidbWriteConflict   = 9007
)

var undone = []uint16{
	erDeadlock, erLockWaitTimeout, erRolledBackAtCommit,
	tidbNoRetryOfReads, tidbStaleWrite, tidbFailedCommit, tidbSchemaChanged, tidbUnresolvedLocks, tidbWriteConflict,
}

// erErrorDuringCommit is of a commit that a storage engine or plugin ends, with the number
// of its own error in the text: Group Replication has that of a deadlock where two members
// wrote one row at once. Other numbers are of disks.
const (
	erErrorDuringCommit = 1180
	deadlockAtCommit    = " 149 - '" // in each language
)

// isUndone reports whether the server has undone a statement, or its transaction,
// because other statements were in its way: repeating it may succeed.
func isUndone(err error) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (slices.Contains(undone, answer.Number) ||
		answer.Number == erErrorDuringCommit && strings.Contains(answer.Message, deadlockAtCommit))
}

// errorsWithoutValues are errors whose text has names of tables, columns and
// accounts, but no values of a statement.
var errorsWithoutValues = []uint16{
	erConnectionCount, erDatabaseAccessDenied, erUnknownColumn, erTableAccessDenied, erColumnAccessDenied, erNoSuchTable,
	erLockWaitTimeout, erDeadlock, erNonUpdatableView, erOptionPreventsWriting, erNonUpdatableColumn, erViewInvalid,
	erReadOnlyTransaction, erReadOnlyMode, erServerShutdown, erDiskFull, erRecordFileFull,
	erUnknownCommand, erConnectionKilled, erOfflineMode, erInnoDBReadOnly, erRunHook, erRolledBackAtCommit, erErrorDuringCommit,
	tidbNoAnswerOfPD, tidbNoAnswerOfTiKV, tidbBusyTiKV, tidbNoRegion, tidbFullTiKV,
}

// withoutValues removes the server's text from an error that may quote the written
// value: the key of a session, or the hash of a password.
func withoutValues(err error) error {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok || slices.Contains(errorsWithoutValues, answer.Number) {
		return err
	}
	const instead = "its text is left out, since it may quote what was to be written"
	return &mysql.MySQLError{Number: answer.Number, SQLState: answer.SQLState, Message: instead}
}

// errOnlyReads is a mistake in the calling code, not in the configuration.
var errOnlyReads = errors.New("the store was opened without the need for this write, or only to read")

// columnTime returns the clock reading of a zone at a time, as Django writes it
// into a column without a time zone. The result is called UTC.
func (s *MySQL) columnTime(at time.Time) time.Time {
	local := at.In(s.location)
	return time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC)
}

// timeText writes a time of columnTime in a column's precision. It is cut off,
// because servers differ in rounding.
func timeText(at time.Time, precision int) string {
	unit := time.Second
	for range precision {
		unit /= 10
	}
	form := microseconds
	if precision == 0 {
		form = wholeSeconds
	}
	return at.Truncate(unit).Format(form)
}

// microsecondDigits is how many digits of a second's fraction MySQL keeps at most.
const microsecondDigits = 6

// latestTime is the last time that a DATETIME holds, in whole seconds.
var latestTime = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// endText is timeText for a time in the future.
func endText(at time.Time, precision int) string {
	if at.After(latestTime) {
		at = latestTime
	}
	return timeText(at, precision)
}

// exactValue is the condition that a column of text or bytes equals a value byte
// for byte. A collation may find others; the first part lets it use an index.
type exactValue struct {
	sql     string
	isTwice bool
}

func exactly(c column) exactValue {
	if c.isBinary() {
		return exactValue{quote(c.name) + " = ?", false}
	}
	return exactValue{quote(c.name) + " = ? AND " + textBytes(quote(c.name)) + " = ?", true}
}

// args returns the parameters for a value. ok is false if no column can have the
// value.
func (e exactValue) args(value string) (args []any, ok bool) {
	for i := range len(value) {
		// Keys and digests are ASCII; of other characters, a comparison with a
		// column of another charset would be an error.
		if value[i] == 0 || value[i] > '~' {
			return nil, false
		}
	}
	if e.isTwice {
		return []any{value, []byte(value)}, true
	}
	return []any{[]byte(value)}, true
}
