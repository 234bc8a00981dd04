package userstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-sesame/caddy-sesame/internal/setting"
	"github.com/caddy-sesame/caddy-sesame/token"
)

// The errors of MySQL and MariaDB that have their own advice (MySQL, "Server
// Error Message Reference").
const (
	erDiskFull               = 1021
	erConnectionCount        = 1040
	erDatabaseAccessDenied   = 1044
	erAccessDenied           = 1045
	erUnknownDatabase        = 1049
	erUnknownColumn          = 1054
	erDuplicate              = 1062
	erRecordFileFull         = 1114
	erHostNotPrivileged      = 1130
	erTableAccessDenied      = 1142
	erColumnAccessDenied     = 1143
	erNoSuchTable            = 1146
	erUnknownSystemVariable  = 1193
	erLockWaitTimeout        = 1205
	erDeadlock               = 1213
	erIllegalMixOfCollations = 1267
	erVariableNotSettable    = 1231
	erWrongValueForVariable  = 1232
	erNonUpdatableView       = 1288
	erOptionPreventsWriting  = 1290
	erNonUpdatableColumn     = 1348
	erViewInvalid            = 1356
	erTruncatedValue         = 1292
	erAccessDeniedNoPassword = 1698
	erMustChangePassword     = 1820
	erPasswordExpired        = 1862
	erAccountLocked          = 3118
	erAccountLockedMariaDB   = 4151
	erTooManyStatements      = 1461
	erReadOnlyTransaction    = 1792
	erReadOnlyMode           = 1836
	erImpossibleConversion   = 3988
)

// advice has the remedy for an error's number. setup is true if nothing works
// before the configuration is changed.
func advice(number uint16) (text string, setup bool) {
	switch number {
	case erAccessDenied, erAccessDeniedNoPassword, erHostNotPrivileged:
		return "MySQL refuses the dsn's user: check user and password, from which hosts that user may connect, and whether the account asks for TLS (tls=true in the dsn)", true
	case erMustChangePassword, erPasswordExpired:
		return "the password of the dsn's user has expired: give the account a new one (ALTER USER … IDENTIFIED BY), and best one that doesn't expire (PASSWORD EXPIRE NEVER)", true
	case erAccountLocked, erAccountLockedMariaDB:
		return "the account of the dsn's user is locked: unlock it (ALTER USER … ACCOUNT UNLOCK)", true
	case erDatabaseAccessDenied:
		return "the dsn's user may not use the database, if it exists: grant it, make the role that has it a default one (SET DEFAULT ROLE), or correct its name in the dsn", true
	case erUnknownDatabase:
		return "the database doesn't exist: correct its name in the dsn or in the table option", true
	case erNoSuchTable:
		return "the table doesn't exist: name it with the table option, or make it with manage.py migrate", true
	case erTableAccessDenied:
		return "the dsn's user lacks a privilege on the table, or the table doesn't exist: " +
			"correct the table option, or grant SELECT, and UPDATE on last_login for one-time tokens and sessions (or set update_last_login off in session)", true
	case erColumnAccessDenied:
		return "the dsn's user lacks a privilege on a column: " +
			"grant it SELECT on every column that is read, and for one-time tokens UPDATE on last_login", true
	case erUnknownColumn:
		return "a column is gone since the table was checked: restore it, or correct the column options", true
	case erUnknownSystemVariable, erVariableNotSettable, erWrongValueForVariable:
		return "the server rejects a session variable that is needed", true
	case erNonUpdatableView, erNonUpdatableColumn:
		return "last_login of this view can't be written, which one-time tokens need: " +
			"make the view updatable, or name the table itself", true
	case erViewInvalid:
		return "the view is broken, or its definer lacks privileges: correct the view", true
	case erUnknownCommand:
		return "the server can't serve now; a node of a Galera cluster has no quorum, or isn't in sync yet: see SHOW STATUS LIKE 'wsrep_cluster_status' there, " +
			"and name the cluster's other nodes with further dsns", false
	case erOptionPreventsWriting, erReadOnlyTransaction, erReadOnlyMode, erInnoDBReadOnly:
		return "the server is read-only, but the gateway writes, as to consume one-time tokens: " +
			"give the dsn of the primary server", false
	case erLockWaitTimeout:
		return "the row or table is locked by another connection: see SHOW PROCESSLIST", false
	case erDeadlock:
		return "other connections lock rows in another order, again and again: see SHOW ENGINE INNODB STATUS", false
	case erConnectionCount:
		return "the server has no connection left: lower max_open_conns or raise the server's max_connections", false
	case erTruncatedValue:
		return "last_login can't store the time: change the column to DATETIME or TIMESTAMP", false
	default:
		return "", false
	}
}

// optionOf returns the option that most probably caused an error.
func optionOf(number uint16) string {
	if number == erNoSuchTable || number == erTableAccessDenied {
		return "table"
	}
	return "dsn"
}

// numberOf returns the number of a server's error, or 0.
func numberOf(err error) uint16 {
	var answer *mysql.MySQLError
	if !errors.As(err, &answer) {
		return 0
	}
	return answer.Number
}

// cantBeInColumn reports whether MySQL refused to compare a key with the
// column because the column's charset lacks one of its characters. Then no row
// has the key. Every charset has ASCII, so for an ASCII key the error means
// something else.
func cantBeInColumn(key token.PrimaryKey, err error) bool {
	var answer *mysql.MySQLError
	if key.Kind() != token.KindString || !errors.As(err, &answer) {
		return false
	}
	if answer.Number != erIllegalMixOfCollations && answer.Number != erImpossibleConversion {
		return false
	}
	return strings.ContainsFunc(key.Text(), func(r rune) bool { return r >= utf8.RuneSelf })
}

// available returns an error while the server is known not to answer.
func (s *MySQL) available(doing string) error {
	if err := s.pool.breaker.refusal(); err != nil {
		return unavailable(doing, err)
	}
	return nil
}

// mayRead is available for reads, which may be stalled, too.
func (s *MySQL) mayRead(doing string) error {
	if err := s.available(doing); err != nil {
		return err
	}
	if err := s.pool.stalledReads(); err != nil {
		return unavailable(doing, err)
	}
	return nil
}

// heard tells the breaker how a query ended. before is the number of answers
// when it began. If the caller no longer waits, the end isn't known.
func (s *MySQL) heard(ctx context.Context, before uint64, err error) {
	if endOf(ctx) == nil {
		s.pool.breaker.heard(before, err)
	}
}

// endOf returns the context's error, or nil before its end. The deadline may
// have been enforced elsewhere before the context itself ends.
func endOf(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// unavailable returns an error that wraps ErrUnavailable and says why.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

// failed turns an error of database/sql into one of this package. ctx is the
// caller's context: if it has ended, the error says nothing about MySQL.
func (s *MySQL) failed(ctx context.Context, doing string, err error) error {
	if ended := endOf(ctx); ended != nil {
		return fmt.Errorf("%s: %w", doing, ended)
	}
	return unavailable(doing, s.explain(err))
}

// setupFailed is failed for the check of the table. An unsuitable table is no
// outage: its error isn't ErrUnavailable, so that the store doesn't open in spite
// of start_without.
func (s *MySQL) setupFailed(doing string, err error) error {
	err = s.explain(err)
	if errors.As(err, &misfit{}) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return unavailable(doing, err)
}

func (s *MySQL) explain(err error) error { return explain(err, s.timeout) }

// explain adds the remedy to an error. limit is how long an answer may take.
func explain(err error, limit time.Duration) error {
	// The store's own limit isn't returned as a context's error, so that
	// callers can distinguish it from a client that went away.
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer of MySQL within %s: "+
			"check that it runs and can be reached, or raise query_timeout", limit)
	}
	// The driver has no error of its own for a timeout.
	if errors.Is(err, mysql.ErrInvalidConn) {
		return fmt.Errorf("the connection to MySQL ended, or nothing came within %s: "+
			"check that it runs and can be reached, or raise query_timeout: %w", limit, err)
	}
	if errors.As(err, &misfit{}) || errors.As(err, &errStalled{}) {
		return err
	}
	if errors.Is(err, mysql.ErrNoTLS) {
		return setting.Errorf("dsn", "%w", misfitf("the dsn or the tls options ask for TLS, which the server doesn't offer: set up TLS there (ssl_cert, ssl_key), "+
			"or remove tls=true from the dsn, and the tls options, if the network between is trusted"))
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return fmt.Errorf("%w: check that the server's certificate is for the host in the dsn, is valid today, "+
			"and from an authority that is trusted here, or named with tls_ca", err)
	}
	var answer *mysql.MySQLError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: check that MySQL runs, and that the dsn has the right address", err)
	}
	text, setup := advice(answer.Number)
	if text == "" && cannotServe(err) {
		text = "the server says that it can't serve now: check its state and that of its cluster"
	}
	switch {
	case setup:
		return setting.Of(optionOf(answer.Number), misfitf("%s: %w", text, err))
	case text != "":
		return fmt.Errorf("%s: %w", text, err)
	default:
		return err
	}
}
